"""Analysis of trajectories and of second derivatives.

Of trajectories: averages, drift, radial distribution functions, times to failure, and statistics of
charges (:mod:`muse_lr.analysis.charge_statistics`). Of second derivatives: the comparison with
reference Hessians (:mod:`muse_lr.analysis.hessian`).

The functions take arrays or structures and return numbers. They do not depend on who ran the
dynamics.
"""

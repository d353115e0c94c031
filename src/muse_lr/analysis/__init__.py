"""Analysis of trajectories: averages, drift, radial distribution functions, times to failure.

The functions take arrays or structures and return numbers. They do not depend on who ran the
dynamics.
"""

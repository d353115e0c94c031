"""Molecular dynamics of models: batches of copies, restart, failures, reports.

:func:`muse_lr.simulate.run.simulate` runs the copies of one or several structures in one batch. The
modules contain the settings, the potential with its neighbor list, the integrators, the criteria of
a failure, the files of a run and its report.
"""

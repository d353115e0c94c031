"""The physics exam of this package's models and of potentials from other packages.

    python -m benchmarks.exam --out runs/exam [--only ours peers NAME ...] [--quick]

:mod:`.roster` has the potentials that sit the exam, :mod:`.potentials` makes those of others,
:mod:`.execute` runs ``muse-lr audit`` for one of them in a process of its own, :mod:`.table` writes
the results, and :mod:`.promises` has what the documents of others promise.
"""

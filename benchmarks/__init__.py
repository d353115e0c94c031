"""Scripts that measure accuracy and cost, and their results in ``results``.

Each script runs as a module from the root of the repository, for example
``python -m benchmarks.electrostatics --help``. The package is not installed with ``muse_lr``.
"""

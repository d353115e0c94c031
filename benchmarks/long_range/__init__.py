"""Parts of :mod:`benchmarks.electrostatics`, :mod:`benchmarks.heads` and other timings."""

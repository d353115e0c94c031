"""Parts of benchmarks/electrostatics.py."""

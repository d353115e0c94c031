"""Scripts that compute and check the data sets in ``muse_lr.datasets``."""

"""``muse-lr study``: measure steps on this machine and propose a study that fits the time."""

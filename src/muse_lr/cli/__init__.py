"""The command-line interface ``muse-lr``.

Each verb (``init``, ``data``, ``train``, ``evaluate``, ``ablate``, ``info``, ``coarse``,
``doctor``) is one module with ``HELP``, ``add_arguments`` and ``run``. :mod:`muse_lr.cli.main`
collects them. The modules import torch and ase inside ``run`` only, so that ``--help`` is fast.
"""

"""The MACE backbone, built from the blocks of mace-torch.

``config`` has the hyperparameters, ``blocks`` the layers, ``product`` the product basis and
``backbone`` the forward pass. ``files`` (with ``hyperparameters``, ``weights`` and ``reference``)
converts models saved by mace-torch and checks the result. Only ``imports`` imports mace-torch,
which is optional.
"""

"""The SO3krates backbone, built from the blocks of so3krates-torch.

``config`` has the hyperparameters, ``blocks`` the layers, ``backbone`` the forward pass and
``terms`` the physical terms of SO3LR. ``files`` converts models saved by so3krates-torch. Only
``imports`` imports so3krates-torch, which is optional.
"""

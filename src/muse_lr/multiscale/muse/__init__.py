"""The hierarchy of coarse nodes.

``config`` has the options, ``hierarchy`` builds the levels and ``level`` is one of them. Its steps
are in ``thinning`` (choice of the nodes), ``assignment`` (shares of the atoms), ``pooling`` and
``moments`` (features of the nodes and back), ``edges`` (neighbor lists of the nodes) and ``coarse``
(messages between nodes). ``tensors`` has the products of scalars, vectors and matrices.
"""

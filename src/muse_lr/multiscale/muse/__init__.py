"""The hierarchy of coarse nodes.

``config`` has the options, ``hierarchy`` builds the levels and ``level`` is one of them. Its steps
are in ``choices`` and ``thinning`` (choice of the nodes), ``assignment`` (shares of the atoms),
``pooling``, ``moments`` and ``unpooling`` (features of the nodes and back), ``edges`` (neighbor
lists of the nodes), ``coarse`` (messages between nodes) and ``bridge`` (interaction modules).
``tensors`` has the products of scalars, vectors and matrices.
"""

"""Smooth particle-mesh Ewald (PME) in plain torch.

``pme`` is the solver. ``splines`` assigns charges to the mesh with B-splines, ``mesh_sums``
computes the reciprocal sum with Fourier transforms, and ``mesh`` selects the mesh spacing for a
given accuracy. ``mesh_batches`` groups graphs with equal mesh sizes.
"""

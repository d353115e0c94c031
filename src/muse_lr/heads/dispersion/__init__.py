"""Dispersion heads: pairwise C6, D3 with Becke-Johnson damping, and many-body dispersion.

``c6`` and ``mbd`` use learned volume ratios (``volumes``) and data of free atoms (``free_atoms``);
``d3`` takes its reference data from tad-dftd3 (``d3_data``). ``lattice_sum`` sums r^-6 and r^-8
over all periodic images. ``dipoles`` and ``matrix_root`` provide the dipole tensors and the
differentiable matrix square root of ``mbd``.
"""

"""Solvers for charges that interact, differentiable to any order.

``linear_solve`` minimizes a quadratic energy at fixed total charges. ``interaction`` is the energy
of interacting charges, with ``conjugate_gradients`` for large structures. ``fixed_point`` solves
nonlinear self-consistent equations by the iteration in ``anderson``.
"""

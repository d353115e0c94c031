"""Errors by element, subset, size, charge and boundary, worst frames, and their scale."""

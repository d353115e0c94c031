"""Mathematical functions without dependence on a model or a structure.

The modules contain solid harmonics and their conversion to the conventions of e3nn, multipole
moments and their translation, radial basis functions, and smooth switching functions. They only
depend on torch.
"""

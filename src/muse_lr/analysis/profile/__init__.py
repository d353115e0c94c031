"""Energies of models along a path: dissociations, scans, foldings, reaction paths."""

"""Comparisons with other codes; see README.md in this directory."""

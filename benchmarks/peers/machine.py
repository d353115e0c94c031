"""What a table of results says about where it was made."""

from __future__ import annotations

import importlib.metadata
import os
import sys


def describe_machine(*packages: str) -> str:
    """Cores and versions, for the head of a table."""
    names = ("torch", "numpy", *packages)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {versions}"

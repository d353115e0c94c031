"""Utilities for files, devices and memory.

The modules contain atomic writing of files, the selection of a torch device by name, and settings
of the memory allocator of the C library. They do not depend on models or structures.
"""

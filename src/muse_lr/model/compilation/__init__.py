"""Models whose energies, forces and virials are one compiled program.

``inputs`` makes all tables of a batch and names the inputs of the program, ``program`` traces and
compiles it from the same equations that are evaluated without compilation, ``called`` calls the
heads that it does not contain, ``cache`` keeps programs on disk, and ``compiled_model`` uses them.
"""

"""The energy model: composition of the parts, derivatives, responses and model files.

``energy_model`` composes the parts that ``assembly`` builds from a ``config`` section, and returns
a ``ModelOutput``. ``derivatives`` computes forces and stress; ``response`` and ``born_charges``
compute what follows from the charge density. ``validation`` checks a batch, ``serialization``
reads and writes model files, ``build`` creates models and ``describe`` summarizes them.
"""

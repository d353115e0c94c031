"""Interfaces to other simulation packages.

:mod:`.ase` has the ASE calculator, which is also available as ``muse_lr.Calculator``. It computes
energies, forces, stress, charges, dipoles, Born effective charges and dielectric tensors.

The engines share :class:`.fixed_atoms.FixedAtoms`, a model on copies of one structure.
:mod:`.ipi_driver` is the driver of i-PI in its process, and :mod:`.ipi_socket` the one behind a
socket, which ``muse-lr ipi`` runs. :mod:`.openmm_force` makes a force of OpenMM and
:mod:`.lammps_fix` computes the forces of a LAMMPS instance. :mod:`.torch_sim`
moves many systems at once. The engines are optional packages.
"""

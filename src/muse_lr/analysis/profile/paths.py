"""Read files of paths: frames in the order of a coordinate, with reference energies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.build.rotate import minimize_rotation_and_translation
from ase.geometry import find_mic
from numpy.typing import NDArray

from muse_lr.analysis.profile.settings import FRAME, LENGTH, ProfileOptions
from muse_lr.data.dimers import REFERENCE_INTERACTION, has_fragments
from muse_lr.data.labels import LABELS
from muse_lr.data.reading import Frame, read_frames
from muse_lr.errors import InputError, nearest
from muse_lr.structures.state import STATE_KEYS, finite_number

Array = NDArray[np.float64]

#: Info key that divides a file into paths, where all frames have it.
SCAN = "scan"
#: Values of a coordinate are the same if they differ by less than this, relative to the length of
#: the path.
SAME = 1e-6
#: Units of usual coordinates.
UNITS = dict.fromkeys(("distance", "height", "lateral", LENGTH), "Å") | dict.fromkeys(
    ("torsion", "dihedral", "angle"), "°"
)
#: Info keys that are no coordinates, and the beginnings of keys of results.
NO_COORDINATES = {*STATE_KEYS, "size_first"} | {k for label in LABELS.values() for k in label.keys}
RESULTS = ("REF_", "muse_")


@dataclass(frozen=True)
class EnergyPath:
    """Frames along a coordinate.

    Attributes
    ----------
    name : str
    coordinate : str
        Name of the coordinate: an info key, ``frame`` or ``path``.
    values : ndarray
        (n,) values of the coordinate, in ascending order.
    frames : list of ase.Atoms
    sources : list of str
        ``"file.xyz, frame 12"`` of each frame.
    reference : ndarray
        (n,) reference energy, eV; with fragments, the interaction energy. NaN where there is none.
    """

    name: str
    coordinate: str
    values: Array
    frames: list[Atoms]
    sources: list[str]
    reference: Array

    @property
    def label(self) -> str:
        """Name of the coordinate with its unit."""
        return coordinate_label(self.coordinate)

    @property
    def labeled(self) -> bool:
        """Whether a frame has a reference energy."""
        return bool(np.isfinite(self.reference).any())

    def zero_frame(self, zero: str | float, energies: Array | None = None) -> int | None:
        """Index of the frame whose energy is subtracted.

        Parameters
        ----------
        zero : str or float
            ``first``, ``last``, ``min``, ``none`` or a value of the coordinate.
        energies : ndarray, optional
            (n,) energies of a model, for ``min`` of a path without reference energies.

        Raises
        ------
        InputError
            If no frame has this value, or if the frame has no reference energy but others have.
        """
        if zero == "none":
            return None
        if zero == "min":
            lowest = self.reference if self.labeled else energies
            return None if lowest is None else int(np.nanargmin(lowest))
        ends = {"first": 0, "last": len(self.values) - 1}
        index = ends[zero] if isinstance(zero, str) else self._nearest(zero)
        if self.labeled and not np.isfinite(self.reference[index]):
            raise InputError(
                f"{self.sources[index]}: it has no reference energy, but others on the path "
                f"{self.name!r} have: choose a zero that has one"
            )
        return index

    def _nearest(self, value: float) -> int:
        """Index of the frame with a value of the coordinate."""
        distances = np.abs(self.values - value)
        index = int(distances.argmin())
        if distances[index] > SAME * max(float(np.ptp(self.values)), 1.0):
            raise InputError(
                f"no frame of the path {self.name!r} has the {self.coordinate} {value:g}; the "
                f"nearest one has {self.values[index]:g}, of {self.values[0]:g} to "
                f"{self.values[-1]:g}: choose another zero"
            )
        return index


def coordinate_label(coordinate: str) -> str:
    """Name of a coordinate with its unit, if it is known."""
    name = {FRAME: "frame", LENGTH: "length of the path"}.get(coordinate, coordinate)
    return f"{name} ({UNITS[coordinate]})" if coordinate in UNITS else name


def read_paths(
    sources: Mapping[str, str], options: ProfileOptions, elements: Sequence[str] | None = None
) -> list[EnergyPath]:
    """Read the paths of files.

    Parameters
    ----------
    sources : mapping
        Name -> file, possibly with a selection of frames.
    options : ProfileOptions
    elements : sequence of str, optional
        Elements of the models; others are refused.

    Raises
    ------
    InputError
        If a file cannot be read, if it is not clear what the coordinate is, if the frames of a path
        are not of the same atoms, or if there is no frame for the zero.
    """
    paths = []
    for name, source in sources.items():
        frames = read_frames(source, options.keys, partial=tuple(LABELS), elements=elements)
        groups = _groups(frames, options.by)
        # The numbers of one path may agree by chance: the key must fit all of them.
        coordinate = options.coordinate
        if coordinate is None:
            results = {*NO_COORDINATES, *options.keys.values()}
            coordinate = _only_coordinate(list(groups.values()), results, source)
        for value, members in groups.items():
            own = ": ".join(filter(None, (name if len(sources) > 1 else "", value))) or name
            paths.append(_path(own, members, coordinate, options.fragments))
    for path in paths:
        path.zero_frame(options.chosen_zero)  # refuses a zero that is not there
    return paths


def _groups(frames: Sequence[Frame], by: Sequence[str] | None) -> dict[str, list[Frame]]:
    """Frames of each path, by the values of info keys."""
    if by is None:
        by = (SCAN,) if all(SCAN in frame.atoms.info for frame in frames) else ()
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        for key in by:
            if key not in frame.atoms.info:
                known = sorted(map(str, frame.atoms.info))
                raise InputError(
                    f"{frame.source}: no info key {key!r} to divide by{nearest(key, known)}; its "
                    f"keys: {', '.join(known) or 'none'}"
                )
        name = ", ".join(str(frame.atoms.info[key]) for key in by)
        found.setdefault(name, []).append(frame)
    return found


def _only_coordinate(
    groups: Sequence[Sequence[Frame]], others: Collection[str], source: str
) -> str:
    """The info key whose number varies along every path; the index of the frame if none does.

    Keys in ``others`` are left out.
    """
    first = groups[0][0].atoms.info
    columns: dict[tuple[float, ...], str] = {}
    for key in first:
        if key in others or str(key).startswith(RESULTS):
            continue
        values = [[finite_number(frame.atoms.info.get(key)) for frame in group] for group in groups]
        varies = all(None not in group and len(set(group)) > 1 for group in values)
        if varies:
            # Keys with the same numbers are the same coordinate.
            columns.setdefault(tuple(v for group in values for v in group if v is not None), key)
    if len(columns) > 1:
        raise InputError(
            f"{source}: several info keys vary along the path: {', '.join(columns.values())}; "
            f"choose one, as in --coordinate {next(iter(columns.values()))}"
        )
    return next(iter(columns.values()), FRAME)


def _path(name: str, frames: Sequence[Frame], coordinate: str, dimers: bool) -> EnergyPath:
    """Sort the frames of one path and collect their reference energies."""
    if len(frames) < 2:
        raise InputError(
            f"{frames[0].source}: the path {name!r} has one frame, at least 2 are needed"
        )
    first = frames[0]
    for frame in frames:
        if sorted(frame.atoms.numbers) != sorted(first.atoms.numbers):
            raise InputError(
                f"{frame.source}: other atoms than {first.source} on the path {name!r}, so that "
                "their energies cannot be compared: divide the frames into paths by an info key"
            )
    values = _values(frames, coordinate)
    order = np.argsort(values, kind="stable")
    ordered = [frames[i] for i in order]
    return EnergyPath(
        name=name,
        coordinate=coordinate,
        values=values[order],
        frames=[frame.atoms for frame in ordered],
        sources=[frame.source for frame in ordered],
        reference=np.array([_reference(frame, dimers) for frame in ordered]),
    )


def _reference(frame: Frame, dimers: bool) -> float:
    """Reference energy of a frame, or its interaction energy; NaN if it has none."""
    if not dimers:
        return float(frame.labels["energy"]) if "energy" in frame.labels else np.nan
    if not has_fragments(frame.atoms):
        raise InputError(
            f"{frame.source}: its fragments are not known: set info['size_first'] to the number of "
            "atoms of the first one, and fragment_total_charges if they are charged"
        )
    value = finite_number(frame.atoms.info.get(REFERENCE_INTERACTION))
    return np.nan if value is None else value


def _values(frames: Sequence[Frame], coordinate: str) -> Array:
    """(n,) values of the coordinate."""
    if coordinate == FRAME:
        return np.arange(len(frames), dtype=np.float64)
    if coordinate == LENGTH:
        steps = [_step(a.atoms, b.atoms) for a, b in pairwise(frames)]
        return np.concatenate([[0.0], np.cumsum(steps)])
    values = [finite_number(frame.atoms.info.get(coordinate)) for frame in frames]
    for frame, value in zip(frames, values, strict=True):
        if value is None:
            known = sorted(
                str(key)
                for key in frame.atoms.info
                if finite_number(frame.atoms.info.get(key)) is not None
            )
            raise InputError(
                f"{frame.source}: no number under the coordinate {coordinate!r}"
                f"{nearest(coordinate, known)}; numbers: {', '.join(known) or 'none'}"
            )
    return np.array(values, dtype=np.float64)


def _step(first: Atoms, second: Atoms) -> float:
    """Norm of the displacement of all atoms, A.

    To the nearest images in a periodic structure, and without translation and rotation in others.
    """
    if first.pbc.any():
        moves = find_mic(second.positions - first.positions, second.cell, second.pbc)[0]
        return float(np.linalg.norm(moves))
    moved = Atoms(second.numbers, second.positions)
    minimize_rotation_and_translation(Atoms(first.numbers, first.positions), moved)
    return float(np.linalg.norm(moved.positions - first.positions))

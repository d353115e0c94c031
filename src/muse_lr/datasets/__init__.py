"""The data that ships with the package; ``README.md`` beside it says what it is."""

from __future__ import annotations

from pathlib import Path

from muse_lr.errors import InputError, nearest

SUFFIX = ".xyz.xz"


def directory() -> Path:
    """The folder that holds the shipped files; ``${MUSE_LR_DATASETS}`` in configurations."""
    return Path(__file__).resolve().parent


def names() -> list[str]:
    """Names of the shipped files, without suffix, sorted."""
    return sorted(file.name.removesuffix(SUFFIX) for file in directory().glob(f"*{SUFFIX}"))


def path(name: str) -> Path:
    """The shipped file of a name such as ``ion_pairs_train``.

    Raises
    ------
    InputError
        If no such file ships.
    """
    known = names()
    if name not in known:
        raise InputError(
            f"no shipped data set is called {name!r}{nearest(name, known)}; "
            f"there are: {', '.join(known)}"
        )
    return directory() / f"{name}{SUFFIX}"

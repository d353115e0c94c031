"""Small data sets that ship with the package, as compressed extended XYZ files.

:func:`names` lists them and :func:`path` returns the file of one. Configurations refer to the
folder as ``${MUSE_LR_DATASETS}``. ``README.md`` in the same folder describes the contents, the
level of theory and the license.
"""

from __future__ import annotations

from pathlib import Path

from muse_lr.errors import InputError, nearest

SUFFIX = ".xyz.xz"


def directory() -> Path:
    """Folder of the shipped files; ``${MUSE_LR_DATASETS}`` in configurations."""
    return Path(__file__).resolve().parent


def names() -> list[str]:
    """Sorted names of the shipped files, without suffix."""
    return sorted(file.name.removesuffix(SUFFIX) for file in directory().glob(f"*{SUFFIX}"))


def path(name: str) -> Path:
    """Return the path of a shipped file, given its name, e.g. ``ion_pairs_train``.

    Raises
    ------
    InputError
        If there is no file with this name.
    """
    known = names()
    if name not in known:
        raise InputError(
            f"no data set of the package is named {name!r}{nearest(name, known)}; "
            f"available: {', '.join(known)}"
        )
    return directory() / f"{name}{SUFFIX}"

"""Directories beside a model that are named after the data: ``runs/x/evaluation-water``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from muse_lr.data.formats import COMPRESSED
from muse_lr.data.selection import SIGN, parse_source

#: Longest name of a directory, in characters; several data files with long names are abbreviated.
LONGEST = 80
#: Characters that names of directories keep.
_UNUSUAL = re.compile(r"[^\w.@=,+-]")


def directory_beside(model: Path, kind: str, data: Sequence[str]) -> Path:
    """Directory beside the model, named after the data.

    Parameters
    ----------
    model : Path
        Model file.
    kind : str
        What is written, such as ``evaluation``.
    data : sequence of str
        Files with their selections. ``water.xyz@:40`` gives ``evaluation-water@_40``.
    """
    names = [_stem(source) for source in data]
    name = "+".join(names)
    if len(name) > LONGEST:
        more = f"+{len(names) - 1}-more" if len(names) > 1 else ""
        name = f"{names[0][:LONGEST]}{more}"
    return model.parent / f"{kind}-{name}"


def _stem(text: str) -> str:
    """Name of a file without directory, compression and format, followed by the selections."""
    source = parse_source(text)
    path = Path(source.file)
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
    return _UNUSUAL.sub("_", SIGN.join((path.stem, *source.selections)))

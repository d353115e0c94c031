"""Write a first configuration for a file of reference data, as commented YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from muse_lr.data.scaffold.choices import Choices
from muse_lr.data.scaffold.sections import (
    data_section,
    header,
    model_section,
    training_section,
)
from muse_lr.data.scaffold.survey import Survey, survey
from muse_lr.data.scaffold.text import comment


def make_configuration(
    path: str | Path,
    tests: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    base: str | Path = ".",
) -> str:
    """Make a configuration that trains on a file.

    Parameters
    ----------
    path : str or Path
        Training data. The file is checked first.
    tests : mapping, optional
        Name of each test set -> its file.
    keys : mapping, optional
        Label -> key in the file. Only needed for labels without a default key.
    base : str or Path
        Directory of the configuration. Relative paths are written relative to it.

    Returns
    -------
    str
        YAML with comments.

    Raises
    ------
    InputError
        As :func:`~muse_lr.data.scaffold.survey.survey`.
    """
    return write_configuration(survey(path, tests, keys), base)


def write_configuration(
    found: Survey,
    base: str | Path = ".",
    choices: Choices | None = None,
    notes: Sequence[str] = (),
    verb: str = "init",
) -> str:
    """Write the configuration of checked data.

    Parameters
    ----------
    found : Survey
    base : str or Path
        Directory of the configuration. Relative paths are written relative to it.
    choices : Choices, optional
        Sizes of model, batch and training.
    notes : sequence of str
        Sentences that are added to the comment at the top.
    verb : str
        Subcommand that writes the file.
    """
    choices = choices or Choices()
    lines = [
        *header(found, verb),
        *(line for note in notes for line in comment(note)),
        *model_section(found, choices),
        *data_section(found, choices, Path(base)),
        *training_section(found, choices),
    ]
    return "\n".join(lines) + "\n"

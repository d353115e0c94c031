"""Reading and writing of YAML files.

YAML 1.2 is used: 1e-6 is a number, No is a string (the symbol of nobelium), and duplicate keys
raise an error. Only plain data is loaded.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from muse_lr.errors import InputError, nearest_file
from muse_lr.utils.files import atomic_write


def parse_yaml(text: str, source: str) -> Any:
    """Parse a YAML text; ``source`` is its name in error messages.

    Raises
    ------
    InputError
        For a syntax error, a duplicate key or a tag that is not plain data.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = str(error.problem).split("\n")[0]
        raise InputError(f"{source}{where}: {problem}") from error
    except RecursionError as error:
        raise InputError(f"{source}: nested too deeply") from error
    except YAMLError as error:
        raise InputError(f"{source}: not a YAML file: {str(error).splitlines()[0]}") from error


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        near = nearest_file(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"cannot read {path}: {error.strerror}{near}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file") from error
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise InputError(f"{path}: a mapping of keys to values is needed")
    return data


def format_yaml(data: Any) -> str:
    """Format ``data`` as YAML. Mappings keep their order; short sequences are on one line."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 100
    stream = io.StringIO()
    writer.dump(_plain(data), stream)
    return stream.getvalue()


def format_line(data: Any) -> str:
    """Format ``data`` as YAML on one line: ``{kind: split, l_max: 0}``."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = sys.maxsize
    stream = io.StringIO()
    writer.dump(_plain(data), stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")


def dump_yaml(data: Any, path: str | Path) -> None:
    """Write ``data`` as YAML, atomically."""
    with atomic_write(path) as handle:
        handle.write(format_yaml(data))


def _plain(data: Any) -> Any:
    """Convert tuples to lists and paths to strings, which YAML supports."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, Path):
        return str(data)
    return data

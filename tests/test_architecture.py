"""Imports run downward only, files and functions stay short, the top level is small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import muse_lr

SOURCE = Path(muse_lr.__file__).parent
#: From the ground up: a folder imports from lines above it, never from beside or below.
LAYERS = (
    ("errors", "units"),
    ("math",),
    ("utils",),
    ("datasets",),
    ("structures",),
    ("density",),
    ("config",),
    ("electrostatics",),
    ("backbones",),
    ("multiscale",),
    ("charges",),
    ("heads",),
    ("model",),
    ("data",),
    ("phonons", "interfaces", "testing"),
    ("analysis",),
    ("reporting",),
    ("simulate",),
    ("train",),
    ("ablate",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
LONGEST_FILE, LONGEST_FUNCTION, MOST_ENTRIES = 300, 60, 27


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(tree: ast.AST) -> Iterator[str]:
    """What a file imports anywhere, but for TYPE_CHECKING blocks: modules and names in them."""
    for node in ast.iter_child_nodes(tree):
        if _type_checking(node):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or node.level):
            assert node.level == 0, "imports are absolute"
            if node.module == "muse_lr":
                for alias in node.names:
                    yield muse_lr._PUBLIC.get(alias.name, f"muse_lr.{alias.name}")
            elif node.module.startswith("muse_lr."):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            assert "muse_lr" not in [a.name for a in node.names], "import a module of the package"
            yield from (a.name for a in node.names if a.name.startswith("muse_lr."))
        yield from _imports(node)


def _modules(source: Path) -> dict[str, Path]:
    """Name -> file of every module."""
    found = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(("muse_lr", *parts))] = path
    return found


def upward_imports(source: Path) -> list[str]:
    """Lines "file -> module" for imports that do not run downward."""
    found = []
    for name, path in _modules(source).items():
        if name == "muse_lr":  # its names are strings, imported on first use
            continue
        own = name.split(".")[1]
        for module in set(_imports(ast.parse(path.read_text(encoding="utf-8")))):
            other = module.split(".")[1]
            if other in LEVEL and other != own and LEVEL[other] >= LEVEL[own]:
                found.append(f"{path.relative_to(source)} -> {module}")
    return sorted(found)


def circles(source: Path) -> list[str]:
    """Modules that import themselves through others."""
    modules = _modules(source)

    def module_of(name: str) -> str:
        return name if name in modules else name.rpartition(".")[0]

    graph = {
        name: {module_of(m) for m in _imports(ast.parse(path.read_text(encoding="utf-8")))}
        for name, path in modules.items()
    }
    graph = {name: (others & graph.keys()) - {name} for name, others in graph.items()}
    done: set[str] = set()
    found: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            found.append(" -> ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
    return found


def test_imports_run_downward():
    assert upward_imports(SOURCE) == []


def test_no_circle():
    assert circles(SOURCE) == []


@pytest.mark.parametrize(
    "text",
    [
        "from muse_lr.heads.base import Head",
        "def f():\n    from muse_lr.model import energy_model",
        "import muse_lr.train.loop",
        "from muse_lr import cli",
        "from muse_lr import EnergyModel",
    ],
)
def test_a_planted_import_is_found(tmp_path, text):
    (tmp_path / "charges").mkdir()
    (tmp_path / "charges" / "planted.py").write_text(text)
    assert len(upward_imports(tmp_path)) >= 1
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import muse_lr.train.loop\n"
    (tmp_path / "charges" / "planted.py").write_text(guarded)
    assert upward_imports(tmp_path) == []


def test_a_planted_circle_is_found(tmp_path):
    (tmp_path / "math").mkdir()
    (tmp_path / "math" / "a.py").write_text("from muse_lr.math.b import x")
    (tmp_path / "math" / "b.py").write_text("from muse_lr.math.c import x")
    assert circles(tmp_path) == []
    (tmp_path / "math" / "c.py").write_text("def f():\n    from muse_lr.math import a")
    assert circles(tmp_path) == [
        "muse_lr.math.a -> muse_lr.math.b -> muse_lr.math.c -> muse_lr.math.a"
    ]


def test_every_entry_has_its_layer_and_there_are_few():
    entries = {path.name.removesuffix(".py") for path in SOURCE.iterdir()} - {"__pycache__"}
    assert entries - {"__init__", "py.typed"} == set(LEVEL)
    assert len(entries) <= MOST_ENTRIES


def test_files_and_functions_are_short():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST_FILE, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= LONGEST_FUNCTION, f"{path}: {node.name} has {lines} lines"


@pytest.mark.parametrize("text", ["import muse_lr", "import muse_lr as m", "from ..model import x"])
def test_imports_that_hide_the_module_are_refused(tmp_path, text):
    (tmp_path / "charges").mkdir()
    (tmp_path / "charges" / "planted.py").write_text(text)
    with pytest.raises(AssertionError):
        upward_imports(tmp_path)

"""One version: in the package, in the metadata of the installation and in the citation."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ruamel.yaml import YAML

import muse_lr

ROOT = Path(__file__).resolve().parents[1]


def test_the_metadata_have_the_version_of_the_package():
    assert version("muse_lr") == muse_lr.__version__


def test_the_citation_has_the_version_of_the_package():
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert str(citation["version"]) == muse_lr.__version__
    assert "date-released" not in citation

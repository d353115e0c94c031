"""The option ``--trust`` of the verbs that read a model file."""

from __future__ import annotations

import argparse


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Declare ``--trust``."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load a model whose parts are named as package.module:Class: it runs their code",
    )

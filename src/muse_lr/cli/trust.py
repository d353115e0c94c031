"""The option ``--trust``, shared by the verbs that read a model file."""

from __future__ import annotations

import argparse


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--trust`` to a parser."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="allow a model file to import parts named package.module:Class, which runs their code",
    )

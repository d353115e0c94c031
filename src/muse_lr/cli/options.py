"""Options shared by the verbs that read a model file."""

from __future__ import annotations

import argparse


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--trust`` to a parser."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="allow a model file to import parts named package.module:Class, which runs their code",
    )


def add_compile_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--compile`` to a parser."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the model first, which makes long runs faster: minutes, once on a machine "
        "(muse-lr cache), with a C++ compiler; results differ by rounding",
    )

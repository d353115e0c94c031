"""``muse-lr ipi``: a model as the driver of a program that speaks i-PI's socket protocol."""

from __future__ import annotations

import argparse
import sys

from muse_lr.cli.options import add_compile_argument, add_trust_argument

HELP = "compute energies, forces and virials for i-PI, or for ASE, through a socket"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("model", metavar="MODEL", help="model file (model.pt)")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="structure file with the atoms in the order of the server; boundaries, total charge "
        "and spin are those of its first frame",
    )
    where = parser.add_argument_group("server")
    where.add_argument(
        "--unix", metavar="NAME", help="Unix socket of this name, on the same machine"
    )
    where.add_argument(
        "--prefix", metavar="PATH", help="text before the name (default: that of i-PI)"
    )
    where.add_argument(
        "--host", default="localhost", help="machine of a TCP socket (default: localhost)"
    )
    where.add_argument("--port", type=int, default=31415, help="its port (default: 31415)")
    where.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="S",
        help="how long to wait for the server at the start, s (default: 60)",
    )
    where.add_argument(
        "--server",
        choices=("ipi", "ase"),
        default="ipi",
        help="program of the server: ASE rounds its atomic units differently and ends by closing "
        "the connection (default: ipi)",
    )
    parser.add_argument(
        "--born-charges",
        action="store_true",
        help="send Born effective charges as well, for driven dynamics",
    )
    parser.add_argument("--skin", type=float, default=0.5, help="of the neighbor list, Å")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float64",
        help="precision of the model (default: float64)",
    )
    add_compile_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until the other side ends; 1 if it was gone without a word."""
    from muse_lr.interfaces.ipi_driver import IPIDriver
    from muse_lr.interfaces.ipi_socket import PREFIX, Address, serve

    driver = IPIDriver(
        args.model,
        args.file,
        born_charges=args.born_charges,
        units=args.server,
        device=args.device,
        dtype=args.dtype,
        skin=args.skin,
        trust=args.trust,
        compile=args.compile,
    )
    prefix = PREFIX if args.prefix is None else args.prefix
    address = Address(args.unix, args.host, args.port, prefix)
    if serve(driver, address, args.wait) or args.server == "ase":
        return 0
    print(f"muse-lr: the server at {address} is gone without an end of the run", file=sys.stderr)
    return 1

"""``muse-lr md``: molecular dynamics of a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_lr.cli.options import add_compile_argument, add_trust_argument

if TYPE_CHECKING:
    from muse_lr.simulate.settings import Settings

HELP = "run molecular dynamics of copies of a structure; report energies, temperature and failures"
#: Options with the names of settings.
OPTIONS = (
    "pressure",
    "time_step",
    "steps",
    "copies",
    "seed",
    "friction",
    "pressure_time",
    "compressibility",
    "skin",
    "save_every",
    "log_every",
    "checkpoint_every",
    "discard",
    "rdf_cutoff",
    "compile",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("model", metavar="MODEL", help="model file (model.pt)")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="structure file. Its first frame is used, or the selected ones: data.xyz@3, "
        "data.xyz@:4",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="new directory (default: md-FILE beside the model)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run with the same options; for a finished run, the report is "
        "written again",
    )
    parser.add_argument(
        "--stability",
        action="store_true",
        help="langevin at --temperature (default: 300) and at 4/3, 5/3 and 2 times this in one "
        "batch; reports the time to failure by temperature",
    )
    _add_physics(parser.add_argument_group("dynamics"))
    _add_output(parser.add_argument_group("output"))
    _add_failures(parser.add_argument_group("failure of a copy (exit code 1)"))
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="precision of the model (default: float32); positions and sums are float64",
    )
    add_compile_argument(parser)
    add_trust_argument(parser)


def _add_physics(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ensemble",
        choices=("nve", "langevin", "npt"),
        default="langevin",
        help="nve: velocity Verlet; langevin: BAOAB; npt: langevin with isotropic stochastic cell "
        "rescaling (default: langevin)",
    )
    group.add_argument(
        "--temperature",
        type=float,
        nargs="+",
        metavar="K",
        help="target temperatures, all in one batch (default: 300)",
    )
    group.add_argument("--pressure", type=float, metavar="BAR", help="of npt, bar (default: 1)")
    group.add_argument("--time-step", type=float, metavar="FS", help="fs (default: 0.5)")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="time steps (default: 2000)")
    length.add_argument("--ps", type=float, metavar="PS", help="length of the run, ps")
    group.add_argument(
        "--copies",
        type=int,
        metavar="N",
        help="copies of each structure at each temperature, with different velocities (default: 1)",
    )
    group.add_argument("--seed", type=int, help="of velocities and random forces (default: 0)")
    group.add_argument("--friction", type=float, help="of the thermostat, 1/ps (default: 10)")
    group.add_argument(
        "--pressure-time", type=float, metavar="PS", help="time of the barostat, ps (default: 1)"
    )
    group.add_argument(
        "--compressibility",
        type=float,
        metavar="1/BAR",
        help="estimate for the barostat; changes the speed of the volume, not its distribution "
        "(default: 4.6e-5, water)",
    )
    group.add_argument("--skin", type=float, help="of the neighbor list, Å (default: 0.5)")


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trajectory",
        choices=("extxyz", "traj", "none"),
        default="extxyz",
        help="format of the trajectories, one file per copy (default: extxyz)",
    )
    for name, default, what in (
        ("--save-every", 100, "frames of a trajectory"),
        ("--log-every", 20, "lines of log.csv"),
        ("--checkpoint-every", 1000, "checkpoints"),
    ):
        group.add_argument(
            name, type=int, metavar="N", help=f"steps between {what} (default: {default})"
        )
    group.add_argument(
        "--discard",
        type=float,
        metavar="SHARE",
        help="share of the run that averages leave out at its start (default: 0.1)",
    )
    group.add_argument(
        "--rdf-cutoff",
        type=float,
        metavar="Å",
        help="of the radial distribution functions; 0: none (default: 8)",
    )


def _add_failures(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-temperature",
        type=float,
        metavar="RATIO",
        help="temperature in units of the target (default: 5, more for few atoms)",
    )
    group.add_argument(
        "--min-distance",
        type=float,
        metavar="FRACTION",
        help="distance in units of the sum of covalent radii; 0: not checked (default: 0.65)",
    )
    group.add_argument(
        "--energy-jump",
        type=float,
        metavar="EV",
        help="change of the conserved energy between two checks, eV/atom (default: 0.1)",
    )
    group.add_argument(
        "--check-every", type=int, metavar="N", help="steps between two checks (default: 10)"
    )


def make_settings(args: argparse.Namespace) -> Settings:
    """Settings from the options.

    Raises
    ------
    InputError
        If a value is not valid, or an option does not belong to the ensemble.
    """
    from muse_lr.config.schema import validate
    from muse_lr.errors import InputError
    from muse_lr.simulate.settings import Settings
    from muse_lr.simulate.stability import ladder

    if args.stability and args.ensemble != "langevin":
        raise InputError("--stability runs langevin dynamics: leave out --ensemble")
    temperatures = args.temperature or [300.0]
    if args.stability and len(temperatures) == 1:
        temperatures = list(ladder(temperatures[0]))
    for option in ("pressure", "pressure_time", "compressibility"):
        if getattr(args, option) is not None and args.ensemble != "npt":
            name = option.replace("_", "-")
            raise InputError(f"--{name} needs --ensemble npt")
    if args.friction is not None and args.ensemble == "nve":
        raise InputError("--friction needs --ensemble langevin or npt")
    failure = {
        "temperature_ratio": args.max_temperature,
        "distance_fraction": args.min_distance,
        "energy_jump": args.energy_jump,
        "every": args.check_every,
    }
    given: dict[str, Any] = {name: getattr(args, name) for name in OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    settings = {
        "ensemble": args.ensemble,
        "temperatures": tuple(temperatures),
        "trajectory": args.trajectory,
        "failure": {name: value for name, value in failure.items() if value is not None},
        **given,
    }
    if args.ps is not None:
        step = validate(Settings, settings, "muse-lr md").time_step
        settings["steps"] = max(round(1000 * args.ps / step), 0)
    return validate(Settings, settings, "muse-lr md")


def run(args: argparse.Namespace) -> int:
    """Run the dynamics; exit code 1 if a copy failed."""
    import torch

    from muse_lr.model.serialization import load_model
    from muse_lr.reporting.directories import directory_beside
    from muse_lr.simulate.report import write_results
    from muse_lr.simulate.run import checkpoint_of, simulate
    from muse_lr.simulate.selected import read_starts
    from muse_lr.utils.devices import find_device

    settings = make_settings(args)
    out: Path = args.out or directory_beside(Path(args.model), "md", [args.file])
    checkpoint_of(out, args.resume)
    model = load_model(args.model, device=find_device(args.device), trust=args.trust)
    model = model.to(getattr(torch, args.dtype))
    structures, sources, left_out = read_starts(args.file)
    if left_out:
        _say(f"{sources[0]} of {left_out + 1}; select others as {Path(args.file).name}@3 or @:4")
    try:
        finished = simulate(model, structures, settings, out, args.resume, sources, report=_say)
    except KeyboardInterrupt:
        _say(f"continue with the same command and --resume: {out}")
        raise
    for line in write_results(finished, out, Path(args.model).name, Path(args.file).name):
        print(line)
    return 1 if finished.failures else 0


def _say(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)

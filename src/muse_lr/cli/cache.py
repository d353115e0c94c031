"""``muse-lr cache``: list and remove compiled models."""

from __future__ import annotations

import argparse

HELP = "list or remove the compiled models of this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("--clear", action="store_true", help="remove all of them")


def run(args: argparse.Namespace) -> int:
    """List the programs, the last used ones first, or remove them."""
    import time

    from muse_lr.model.compilation import cache

    where = cache.directory()
    if args.clear:
        print(f"{cache.clear()} compiled models removed from {where}")
        return 0
    found = cache.entries()
    here = cache.sources()
    for entry in found:
        about = entry.about
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        elements = " ".join(about.get("elements", ()))
        note = "" if about.get("sources") == here else ", of another muse_lr"
        print(
            f"{entry.path.name[:12]}  {entry.megabytes:7.1f} MB  used {used}  "
            f"{about.get('dtype')}, {about.get('device')}, torch {about.get('torch')}  "
            f"{elements}{note}"
        )
    total = sum(entry.megabytes for entry in found)
    print(f"{len(found)} compiled models, {total:.1f} of {cache.limit_mb():g} MB, in {where}")
    return 0

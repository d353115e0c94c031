"""``muse-lr doctor``: is everything here that is needed?"""

from __future__ import annotations

import argparse

HELP = "versions, devices and extras: what is missing and how to get it"

#: Distribution -> the extra that brings it; None for what is always needed.
PACKAGES = {
    "torch": None,
    "torch-geometric": None,
    "mace-torch": None,
    "e3nn": None,
    "torch-pme": None,
    "vesin": None,
    "ase": None,
    "numpy": None,
    "pydantic": None,
    "matplotlib": None,
    "tensorboard": None,
    "hypothesis": "test",
    "pytest": "test",
    "nvalchemi-toolkit-ops": "fast",
    "So3krates-torch": "so3krates",
    "tad-dftd3": "dispersion",
    "phonopy": "phonons",
    "pyscf": "datasets",
    "tblite": "datasets",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: there are none."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from muse_lr import __version__

    print(f"muse_lr {__version__}, Python {platform.python_version()}, {platform.platform()}")
    missing = 0
    for name, extra in PACKAGES.items():
        try:
            print(f"  ok       {name} {version(name)}")
        except PackageNotFoundError:
            if extra is None:
                missing += 1
                print(f"  MISSING  {name}: pip install {name}")
            else:
                print(f"  absent   {name} (optional): pip install 'muse_lr[{extra}]'")
    if not missing:
        _check_devices()
    data = os.environ.get("MUSE_LR_DATA")
    print(f"  {'ok     ' if data else 'absent '}  reference data: MUSE_LR_DATA={data or ''}")
    return 2 if missing else 0


def _check_devices() -> None:
    import torch

    print(f"  ok       CPU, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        print("  absent   GPU: torch sees no CUDA device; everything runs on the CPU")
    for index in range(torch.cuda.device_count()):
        print(f"  ok       cuda:{index} {torch.cuda.get_device_name(index)}")

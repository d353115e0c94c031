"""``muse-lr doctor``: versions of the dependencies, extras, plugins and devices."""

from __future__ import annotations

import argparse
import re

HELP = "versions, devices, extras and plugins: what is missing and how to get it"

#: Extras that collect others. A package is listed under the extra of its purpose, if there is one.
_COLLECTIONS = ("test", "all")
#: Not listed: the packages of peers pin each other and serve benchmarks only.
_OMITTED = ("peers",)
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)[^;]*(?:;.*\bextra\s*==\s*["'](.+?)["'])?""")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: there are none."""


def run(args: argparse.Namespace) -> int:
    """Print the report; 2 if a package of the core is missing."""
    import os
    import platform

    from muse_lr import __version__

    print(f"muse_lr {__version__}, Python {platform.python_version()}, {platform.platform()}")
    missing = _check_packages()
    if not missing:
        _check_plugins()
        _check_devices()
    data = os.environ.get("MUSE_LR_DATA")
    print(f"  {'ok     ' if data else 'absent '}  reference data: MUSE_LR_DATA={data or ''}")
    return 2 if missing else 0


def declared_packages() -> dict[str, str | None]:
    """Each package that the metadata of muse_lr declares, and the extra that installs it.

    Returns
    -------
    dict of str to (str or None)
        None for the core, which comes first.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If muse_lr is not installed, for example if only its folder is in sys.path.
    """
    from importlib.metadata import requires

    found: dict[str, str | None] = {}
    for line in requires("muse_lr") or ():
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, extra = match.groups()
        if name.lower().replace("-", "_") == "muse_lr" or extra in _OMITTED:
            continue
        if name not in found or found[name] in _COLLECTIONS:
            found[name] = extra
    return dict(sorted(found.items(), key=lambda item: item[1] is not None))


def _check_packages() -> int:
    """One line for each package; the number of missing packages of the core."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        packages = declared_packages()
    except PackageNotFoundError:
        print(
            "  MISSING  the metadata of muse_lr: install it with pip, in a checkout pip install ."
        )
        return 1
    missing = 0
    for name, extra in packages.items():
        try:
            print(f"  ok       {name} {version(name)}")
        except PackageNotFoundError:
            if extra is None:
                missing += 1
                print(f"  MISSING  {name}: pip install {name}")
            else:
                print(f"  absent   {name} (optional): pip install 'muse_lr[{extra}]'")
    return missing


def _check_plugins() -> None:
    """One line for each installed plugin, with the reason if it cannot be used."""
    from muse_lr.config.plugins import find_plugins
    from muse_lr.config.registry import plugin_problems

    for plugin in find_plugins():
        label = f"plugin {plugin.name} of {plugin.distribution} {plugin.version}".rstrip()
        problems = plugin_problems(plugin)
        if problems:
            print(f"  BROKEN   {label}: {'; '.join(problems)}")
        else:
            print(f"  ok       {label}")


def _check_devices() -> None:
    import torch

    print(f"  ok       CPU, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        print("  absent   GPU: torch sees no CUDA device; everything runs on the CPU")
    for index in range(torch.cuda.device_count()):
        print(f"  ok       cuda:{index} {torch.cuda.get_device_name(index)}")

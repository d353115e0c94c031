"""The one place where mace-torch is imported.

``import mace`` sets TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD, which makes every later ``torch.load`` of
the process run pickles, and e3nn cannot be imported without it on torch >= 2.6 (it loads its own
constants with ``torch.load``). Both are imported here, and the environment is put back.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from types import ModuleType

from muse_lr.backbones.constants import double_precision
from muse_lr.errors import InputError


@cache
def import_mace() -> ModuleType:
    """``mace.modules``, imported without leaving a trace in the process.

    Returns
    -------
    module
        ``mace.modules``; afterwards ``mace`` and ``e3nn`` can be imported anywhere.

    Raises
    ------
    InputError
        If mace-torch is not installed.
    """
    with _quiet(), _environment_kept():
        try:
            # First, for e3nn needs the variable that mace sets; also after a failed import of e3nn.
            import mace
            import mace.modules
        except ModuleNotFoundError as error:
            if error.name not in ("mace", "e3nn"):
                raise
            raise InputError(
                "the mace backbone needs mace-torch, which is not installed: "
                "pip install 'muse_lr[mace]'"
            ) from error
    modules: ModuleType = mace.modules
    return modules


@contextmanager
def float64_construction() -> Iterator[None]:
    """Build e3nn and mace modules in float64 and without TorchScript.

    Constants (Clebsch-Gordan coefficients, U matrices) take torch's default dtype, and plain
    modules can be copied and cast as any others. Both settings are put back.
    """
    import_mace()
    import e3nn

    optimization = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_script_fx=False)
    try:
        with _quiet(), double_precision():
            yield
    finally:
        e3nn.set_optimization_defaults(**optimization)


@contextmanager
def traced_harmonics() -> Iterator[None]:
    """The spherical harmonics of e3nn as Python code, since TorchScript fixes the sizes."""
    import_mace()
    from e3nn.o3 import _spherical_harmonics as module

    compiled = module._spherical_harmonics
    module._spherical_harmonics = getattr(compiled, "_torchdynamo_inline", compiled)
    try:
        yield
    finally:
        module._spherical_harmonics = compiled


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})


@contextmanager
def _quiet() -> Iterator[None]:
    """Without mace's note on standard output and the warnings that no user can act on."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", message=".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD.*")
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        yield

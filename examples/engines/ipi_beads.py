"""Path-integral dynamics with i-PI; all beads of a step are one batch of the model.

python examples/engines/ipi_beads.py MODEL FILE [--beads 4] [--socket] [--out DIR]

Without --socket the model runs in the process of i-PI. With it, i-PI starts a driver,
``muse-lr ipi``, which ends with it. The table of the run is DIR/beads.out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

from ase.io import read, write

from muse_lr.interfaces import ipi_driver
from muse_lr.interfaces.fixed_atoms import require_engine
from muse_lr.interfaces.ipi_socket import PREFIX

OUTPUT = """<output prefix='beads'>
<properties stride='5' filename='out'>
[ step, time{picosecond}, conserved{electronvolt}, temperature{kelvin}, potential{electronvolt},
  kinetic_cv{electronvolt} ]
</properties>
<trajectory filename='pos' stride='20' format='ase' cell_units='ase'> positions{ase} </trajectory>
</output>"""
MOTION = """<motion mode='dynamics'><dynamics mode='nvt'>
<timestep units='femtosecond'> 0.5 </timestep>
<thermostat mode='pile_g'><tau units='femtosecond'> 50 </tau></thermostat>
</dynamics></motion>"""


def forcefield(args: argparse.Namespace, name: str) -> str:
    """The model in the input of i-PI: in its process, or behind a socket."""
    if args.socket:
        return f"""<ffsocket name='muse' mode='unix'>
        <address>{name}</address><latency>1e-3</latency><batch_size>{args.beads}</batch_size>
        </ffsocket>"""
    return f"""<ffdirect name='muse'><batch_size>{args.beads}</batch_size>
    <pes>custom</pes><pes_path>{ipi_driver.__file__}</pes_path>
    <parameters>{{model: {args.model.resolve()}, template: template.xyz}}</parameters></ffdirect>"""


def watch(driver: subprocess.Popen[bytes], over: threading.Event, path: str) -> None:
    """End this process and its socket when the driver dies; i-PI would wait for another one."""
    code = driver.wait()
    if code != 0 and not over.is_set():
        print(f"the driver ended with code {code}", file=sys.stderr, flush=True)
        Path(path).unlink(missing_ok=True)
        os._exit(1)


def main() -> None:
    """Write the template, start the driver and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("file")
    parser.add_argument("--beads", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--socket", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/engines/ipi"))
    args = parser.parse_args()
    require_engine("ipi", "i-PI")
    from ipi.scripting import InteractiveSimulation, simulation_xml
    from ipi.utils.softexit import softexit

    atoms = read(args.file, 0)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)  # as i-PI needs it
    args.model = args.model.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    os.chdir(args.out)
    write("template.xyz", atoms)
    name = f"muse-{os.getpid()}"
    driver, over = None, threading.Event()
    if args.socket:
        command = [sys.executable, "-m", "muse_lr", "ipi", str(args.model), "template.xyz"]
        driver = subprocess.Popen([*command, "--unix", name])
        threading.Thread(target=watch, args=(driver, over, PREFIX + name), daemon=True).start()
    try:
        beads = [atoms] * args.beads if args.beads > 1 else atoms
        text = simulation_xml(beads, forcefield(args, name), MOTION, args.temperature, OUTPUT)
        InteractiveSimulation(text).run(args.steps)
        softexit.cleanup("success", "the run is complete")  # tells the driver to end
    except BaseException:
        over.set()
        if driver is not None:
            driver.terminate()
        raise
    finally:
        if driver is not None:
            driver.wait()


if __name__ == "__main__":
    main()

"""The example of the physics exam: a sound potential, and what its commands find."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "audit_of_my_potential"
PLUGIN = "muse_lr.testing.pytest_plugin"


def run_pytest(folder, *arguments):
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout


def test_the_potential_passes_its_exam(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    quick = "stress or determinism"
    code, text = run_pytest(tmp_path, "--audit", "my_potential:make", "--audit-quick", "-k", quick)
    assert code == 0, text
    assert "5 passed" in text


def test_a_wrong_sign_is_found(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "my_potential.py"
    text = path.read_text()
    assert "slope -= pair" in text
    path.write_text(text.replace("slope -= pair", "slope += pair"))
    code, text = run_pytest(tmp_path, "test_my_potential.py", "-k", "forces")
    assert code == 1
    assert "must hold: -F·u = dE(r + h u)/dh" in text
    assert "2 failed" in text

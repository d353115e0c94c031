"""The energies of ten models are those that were kept, to rounding."""

from __future__ import annotations

import pytest
import torch

import muse_lr
from regression.key_map import renamed_config
from regression.models import CONFIGURATIONS, FIXTURES, results


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_energies_forces_and_stress_are_the_kept_ones(name):
    for part, module in {"mace": "mace", "so3krates": "so3krates_torch", "d3": "tad_dftd3"}.items():
        if part in name.split("_"):
            pytest.importorskip(module, reason=f"the extra of {part} is not installed")
    kept = torch.load(FIXTURES / f"{name}.pt", weights_only=True)
    model = muse_lr.build_model(renamed_config(kept["config"])).to(torch.float64).eval()
    model.load_state_dict(kept["state"])
    found = results(model, kept["structures"])
    assert found.keys() == kept["results"].keys()
    for quantity, expected in kept["results"].items():
        finite = expected.isfinite()
        assert torch.equal(found[quantity].isfinite(), finite), quantity
        scale = float(expected[finite].abs().max())
        worst = float((found[quantity] - expected)[finite].abs().max())
        assert worst <= 1e-12 * max(scale, 1e-3), f"{quantity}: {worst:.3g} of {scale:.3g}"


def test_the_fixtures_have_every_configuration():
    assert {path.stem for path in FIXTURES.glob("*.pt")} == set(CONFIGURATIONS)

"""Fixtures of the backbones' tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def seeded_float64(float64: None) -> None:
    """Make new tensors and modules float64 within one test, and seed torch."""
    torch.manual_seed(0)

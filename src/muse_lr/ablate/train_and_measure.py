"""Train one run of a study and measure the metrics of its model.

python -m muse_lr.ablate.train_and_measure CONFIG.yaml METRICS.json

This is the process of a run whose study has metrics of models. The training and each metric
continue where they were interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from muse_lr.ablate.model_metrics import measure, measured
from muse_lr.errors import InputError
from muse_lr.model.serialization import load_model
from muse_lr.train.config import load_config
from muse_lr.train.loop import train
from muse_lr.utils.devices import find_device
from muse_lr.utils.malloc import tune_malloc


def main(arguments: Sequence[str]) -> int:
    """Train, then measure; exit code 2 for invalid input."""
    tune_malloc()
    try:
        config = load_config(arguments[0])
        sections = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
        directory = train(config, resume=True, report=_print)
        done = measured(directory, sections)
        for name, section in sections.items():
            if name in done:
                continue
            device = find_device(config.training.device)
            # Loaded for each metric, which may cast it.
            model = load_model(directory / "model.pt", device=device, trust=True)
            _print(f"metric {name}")
            measure(model, name, section, config.training.seed, directory, _print)
    except InputError as error:
        print(f"muse-lr: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

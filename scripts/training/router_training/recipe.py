"""The training recipe: a few runs that start from one distillation, and the mean of their weights.

The mean of runs with a common start is better than each of them. The questions of MMLU-Pro are learned best alone (`exam`);
everything else needs the mix of all sources (`mix`); `last` continues from a mean of both.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from . import finetune
from .data import Prompt


@dataclass(frozen=True)
class Run:
    """A training run.

    `start` has the shares of earlier runs in the start weights; without it the run starts from the distillation. `only` names a
    source whose prompts, without variations, replace the mix. `rate` is the highest learning rate.
    """

    name: str
    epochs: int
    rate: float = 5e-4
    start: dict[str, float] = field(default_factory=dict)
    only: str = ""
    seed: int = 1


RUNS = [
    Run("exam", epochs=3, only="mmlu_pro"),
    Run("mix", epochs=3),
    Run("last", epochs=2, rate=2.5e-4, start={"exam": 0.3, "mix": 0.7}, seed=2),
]
FINAL = {"last": 0.6, "mix": 0.2, "exam": 0.2}


def mean(work: Path, shares: dict[str, float], device: str) -> dict[str, torch.Tensor]:
    """The mean of the weights of some runs by their shares."""
    total: dict[str, torch.Tensor] = {}
    for name, share in shares.items():
        weights = torch.load(work / f"{name}.pt", map_location=device)["model"]
        total = {key: total.get(key, 0) + share * weight for key, weight in weights.items()}
    return total


def follow(model, tokenizer, train: list[Prompt], work: Path, without: frozenset[str], scale: float, device: str) -> None:
    """Trains all runs and loads the final mean into the model. Runs continue from their checkpoints in `work`."""
    for run in RUNS:
        print(f"run {run.name}: {run}", flush=True)
        model.load_state_dict(mean(work, run.start or {"distil": 1.0}, device))
        finetune.run(
            model,
            tokenizer,
            train,
            work / f"{run.name}.pt",
            run.epochs,
            rate=run.rate,
            without=without,
            only=run.only,
            seed=run.seed,
            device=device,
            scale=scale,
        )
    model.load_state_dict(mean(work, FINAL, device))

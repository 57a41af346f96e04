"""The runs that make the router, from one distillation: what each starts from, what it is trained on, and the mean at the end.

Weights of runs that share a start can be averaged, and the mean is better than its members. MMLU-Pro's own questions, alone, are learned
best (`exam`); everything else needs the mix, in which other sources pull at the same words (`mix`); `last` goes on from between the two.
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from . import finetune
from .data import Prompt


@dataclass(frozen=True)
class Run:
    """One pass of training over the task. `start`: shares of earlier runs to start from, the distillation where there are none; `only`:
    a source to take whole and bare in place of the mix; `rate`: the highest learning rate."""

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
    """The weights of some runs, each times its share, added up."""
    total: dict[str, torch.Tensor] = {}
    for name, share in shares.items():
        weights = torch.load(work / f"{name}.pt", map_location=device)["model"]
        total = {key: total.get(key, 0) + share * weight for key, weight in weights.items()}
    return total


def follow(model, tokenizer, train: list[Prompt], work: Path, without: frozenset[str], scale: float, device: str) -> None:
    """Every run in turn; the final mean is in the model. A run that is done, or cut short, is taken up from its checkpoint in `work`."""
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

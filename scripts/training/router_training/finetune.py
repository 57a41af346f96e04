"""Trains both heads of the model on soft labels, in batches of texts of similar length, with a checkpoint every two minutes."""

import math
import random
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from . import training_epoch
from .data import Prompt
from .encoding import encode
from .model import SUBJECTS

SUBJECT_WEIGHT = 1.0


def pad(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """The padded ids and the mask of a batch."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return ids, mask


def batches(rows: list[list[int]], tokens: int, r: random.Random) -> list[list[int]]:
    """The indices of batches of about `tokens` tokens, with rows of similar length, in random order."""
    order = list(range(len(rows)))
    r.shuffle(order)
    made = []
    for at in range(0, len(order), 3000):
        window, group = sorted(order[at : at + 3000], key=lambda i: len(rows[i])), []
        for i in window:
            if group and (len(group) + 1) * len(rows[i]) > tokens:
                made.append(group)
                group = []
            group.append(i)
        made.append(group)
    r.shuffle(made)
    return made


def run(
    model,
    tokenizer,
    train: list[Prompt],
    out: Path,
    epochs: int,
    rate: float = 5e-4,
    tokens: int = 2600,
    longest: int = 128,
    without: frozenset[str] = frozenset(),
    only: str = "",
    seed: int = 1,
    device: str = "cpu",
    scale: float = 1.0,
) -> None:
    """Trains for `epochs`, and continues at the step of the checkpoint `out` where there is one.

    `only` names a source whose prompts, without variations, replace the mix.
    """
    model.to(device).train()
    table = [p for n, p in model.named_parameters() if "tok_embeddings" in n]
    rest = [p for n, p in model.named_parameters() if "tok_embeddings" not in n]
    optimizer = torch.optim.AdamW(
        [{"params": rest, "share": 1.0}, {"params": table, "share": 0.7}], lr=rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True
    )
    step, first_epoch, skip = 0, 0, 0
    if out.exists():
        state = torch.load(out, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, first_epoch, skip = state["step"], state["epoch"], state["at"]
    saved, shown, sums = time.monotonic(), time.monotonic(), []
    for number in range(first_epoch, epochs):
        if only:
            prompts = [p for p in train if p.source == only]
        else:
            prompts = training_epoch.draw(train, seed * 1000 + number, without, scale)
        rows = encode(tokenizer, [p.text for p in prompts], longest)
        epoch_batches = batches(rows, tokens, random.Random(seed * 1000 + number))
        total = epochs * len(epoch_batches)
        for at, batch in enumerate(epoch_batches):
            if number == first_epoch and at < skip:
                continue
            ids, mask = pad([rows[i] for i in batch])
            want = torch.tensor([[1 - prompts[i].label, prompts[i].label] for i in batch], dtype=torch.float32, device=device)
            subject = torch.tensor(
                [SUBJECTS.index(prompts[i].subject) if prompts[i].subject else -100 for i in batch], device=device
            )
            logits, domain = model(ids.to(device), mask.to(device))
            loss = cross_entropy(logits, want)
            if (subject >= 0).any():
                loss = loss + SUBJECT_WEIGHT * cross_entropy(domain, subject) * (subject >= 0).float().mean().sqrt()
            now = min(1, (step + 1) / 80) * (0.5 * (1 + math.cos(math.pi * min(1, step / total))) * 0.98 + 0.02)
            for g in optimizer.param_groups:
                g["lr"] = rate * now * g["share"]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            sums.append(loss.item())
            if time.monotonic() - shown > 20:
                print(f"epoch {number + 1}/{epochs} step {step}/{total} loss {sum(sums) / len(sums):.4f}", flush=True)
                shown, sums = time.monotonic(), []
            last = number == epochs - 1 and at == len(epoch_batches) - 1
            if time.monotonic() - saved > 120 or last:
                saved = time.monotonic()
                out.parent.mkdir(parents=True, exist_ok=True)
                torch.save(
                    {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "step": step,
                        "epoch": number,
                        "at": at + 1,
                    },
                    out.with_suffix(".tmp"),
                )
                out.with_suffix(".tmp").replace(out)
    model.eval()


@torch.no_grad()
def predict(model, tokenizer, texts: list[str], longest: int = 512, device: str = "cpu"):
    """The logits of reasoning and of the subjects for each text, in order."""
    rows = encode(tokenizer, texts, longest)
    logits, domains = torch.zeros(len(rows), model.config.num_labels), torch.zeros(len(rows), len(SUBJECTS))
    for batch in batches(rows, 8000, random.Random(0)):
        ids, mask = pad([rows[i] for i in batch])
        a, b = model(ids.to(device), mask.to(device))
        logits[batch] = a.float().cpu()
        domains[batch] = b.float().cpu()
    return logits, domains

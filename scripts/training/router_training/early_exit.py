#!/usr/bin/env python3
"""An early exit: prompts whose side is plain from their words and pairs of words do not go through the layers.

    scripts/router/early.py DATA_DIR MODEL_DIR [--budget 0.002] [--work DIR]

A small convolution over the embeddings (three tokens wide, as in TextCNN, Kim 2014), its mean and maximum over the text, and two dense
layers learn what the whole model says (distillation: its probabilities, of both heads). Where they are surer than a threshold, theirs is
the answer; all other rows of a batch go on through the layers (an early exit, as in BranchyNet and DeeBERT). They must be sure of the
subject, too, unless the text has none. The layers read the head and the tail of a text that goes on, and the exit, which has read all of
it, keeps a share in the answer, the larger the less they have read. The threshold is the lowest with which no more than `--budget` of the decisions on held-out
prompts become others. The exit is inside of the graph, so that whoever runs it needs to know nothing of it, and whether a row leaves
early is a matter of its own text, never of its batch.

`train_router.py` calls this last. As a command it gives an exit to a MODEL_DIR that has none; int8 only, since it shares the quantised
embeddings with the first layer.
"""

import argparse
import hashlib
import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from . import data, early_exit_graph, export, finetune, training_epoch
from .early_exit_graph import Rule, at
from .encoding import encode
from .graph import Graph
from .model import SUBJECTS, Exit

BUDGET = 0.002  # share of decisions on held-out prompts that may become others
NAMED, UNNAMED = 0.8, "other"  # how likely the exit's subject must be, and the subject of texts that have none
READ, SHARE = 32, 0.7  # tokens of an unsure text that the layers read, and their share in what is said of one that is no longer
EPOCHS, RATE, TOKENS = 6, 2e-3, 4000
SUBJECT_WEIGHT = 0.3
KNOWN = 0.5  # weight of a subject that is known, beside what the whole model says of it
UNSURE = 0.03  # the share of texts in training that are padding alone: nothing is known of them


@dataclass
class Taught:
    """Prompts as token ids, and what the whole model says of each: P(reasoning) and the probabilities of the subjects."""

    rows: list[list[int]]
    reasoning: np.ndarray
    subjects: np.ndarray


def prompts(parts: dict[str, list[data.Prompt]], scale: float) -> tuple[list[data.Prompt], list[data.Prompt]]:
    """To learn from: two epochs in their clothes, the large sources as they are, and MMLU-Pro's with their options: long, and of many
    subjects. To choose the threshold on: held-out ones, in clothes."""
    bare = [p for p in parts["train"] if p.source in (*data.PER_EPOCH, "mmlu_pro")]
    options = [replace(p, text=p.full()) for p in bare if p.source == "mmlu_pro"]
    bare, options = (some[: int(len(some) * scale)] for some in (bare, options))
    dressed = [p for seed in (4000, 4001) for p in training_epoch.draw(parts["train"], seed, scale=scale)]
    return dressed + bare + options, training_epoch.draw(parts["valid"], 77, scale=scale)


def ask(model: onnx.ModelProto, rows: list[list[int]], reasoning: list[int]) -> Taught:
    """What a graph says of each text alone; as many at once as there are processors."""
    sess = export.session(model.SerializeToString())
    out = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for outputs in pool.map(lambda row: export.run(sess, [row])[0], rows, chunksize=64):
            logits, domains = (export.softmax(o) for o in outputs)
            out.append((logits[reasoning].sum(), domains))
            if len(out) % 10_000 == 0:
                print(f"  {len(out)} of {len(rows)} read", flush=True)
    return Taught(rows, np.array([p for p, _ in out], np.float32), np.stack([d for _, d in out]).astype(np.float32))


def embeddings(model: onnx.ModelProto, vocabulary: int) -> torch.Tensor:
    """What the layers read of each token of the vocabulary."""
    g = Graph(model)
    name, _ = early_exit_graph.places(g)
    del g.model.graph.output[:]
    g.model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    sess = export.session(g.finish().SerializeToString())
    inputs = {i.name for i in sess.get_inputs()}
    rows = [np.arange(at, min(at + 64, vocabulary))[None] for at in range(0, vocabulary, 64)]
    feeds = ({"input_ids": row, "attention_mask": np.ones_like(row)} for row in rows)
    return torch.tensor(np.concatenate([sess.run(None, {k: v for k, v in f.items() if k in inputs})[0][0] for f in feeds]))


def fit(said: Taught, table: torch.Tensor, padding: int, epochs: int = EPOCHS) -> Exit:
    """Distils the whole model's probabilities into an exit."""
    torch.manual_seed(1)
    r = random.Random(1)
    blank = [[padding] * r.randint(1, 144) for _ in range(int(len(said.rows) * UNSURE))]
    rows = said.rows + blank
    want = torch.cat([torch.tensor(said.reasoning), torch.full((len(blank),), 0.5)])
    subjects = said.subjects.shape[1]
    domain = torch.cat([torch.tensor(said.subjects), torch.full((len(blank), subjects), 1 / subjects)])
    model = Exit(table.shape[1], subjects)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
    step, total = 0, 0
    for number in range(epochs):
        batches = [b for b in finetune.groups(rows, TOKENS, r) if len(b) > 1]  # one text has no variance to be scaled by
        total = total or epochs * len(batches)
        shown, losses = time.monotonic(), []
        for batch in batches:
            ids, mask = finetune.pad([rows[i] for i in batch])
            out = model(table[ids], mask.float())
            loss = binary_cross_entropy_with_logits(out[:, 0], want[batch]) + SUBJECT_WEIGHT * cross_entropy(
                out[:, 1:], domain[batch]
            )
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / 100) * max(0.01, 1 - step / total)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(loss.item())
        print(f"  exit: epoch {number + 1}/{epochs} loss {np.mean(losses):.4f}, {time.monotonic() - shown:.0f} s", flush=True)
    return model.eval()


def with_known_subjects(said: Taught, texts: list[data.Prompt]) -> Taught:
    """What the whole model says, and of subjects what is known as well."""
    subjects = said.subjects.copy()
    for i, prompt in enumerate(texts):
        if prompt.subject:
            subjects[i] *= 1 - KNOWN
            subjects[i, SUBJECTS.index(prompt.subject)] += KNOWN
    return replace(said, subjects=subjects)


def knows(subjects: np.ndarray, unnamed: int) -> np.ndarray:
    """Where an exit may be the answer as far as the subject goes."""
    return (subjects.max(1) >= NAMED) | (subjects.argmax(1) == unnamed)


def choose(early: np.ndarray, whole: np.ndarray, known: np.ndarray, budget: float) -> tuple[float, dict]:
    """The lowest threshold, in hundredths and from 0.7, with which the share of all decisions that change is within the budget."""
    surer, other = np.where(known, np.maximum(early, 1 - early), 0), (early >= 0.5) != (whole >= 0.5)
    for percent in range(70, 101):
        sure = percent / 100
        changed = float((other & (surer >= sure)).mean())
        if changed <= budget:
            break
    done = surer >= sure
    moved = float(np.abs(early - whole)[done].mean()) if done.any() else 0.0
    return sure, {"sure": sure, "exits": float(done.mean()), "changed": changed, "mean difference of P": moved}


def taught(model: onnx.ModelProto, rows: list[list[int]], reasoning: list[int], work: Path) -> Taught:
    """What the whole model says of the texts, kept for the next time."""
    asked = hashlib.sha256(model.SerializeToString() + repr(rows).encode()).hexdigest()[:16]
    kept = work / f"taught_{asked}.npz"
    if kept.exists():
        saved = np.load(kept)
        return Taught(rows, saved["reasoning"], saved["subjects"])
    said = ask(model, rows, reasoning)
    np.savez(kept, reasoning=said.reasoning, subjects=said.subjects)
    return said


def give(folder: Path, parts: dict[str, list[data.Prompt]], work: Path, budget: float = BUDGET, scale: float = 1.0) -> dict:
    """Trains an exit for the classifier directory and writes it into its `model.onnx`; what was measured on held-out prompts."""
    model, values = onnx.load(folder / "model.onnx"), json.loads((folder / "config.json").read_text())
    tokenizer, own = Tokenizer.from_file(str(folder / "tokenizer.json")), values["thinkgate"]
    reasoning = [i for i in range(len(values["id2label"])) if values["id2label"][str(i)] in own["reasoning_labels"]]
    texts = prompts(parts, scale)
    rows = [encode(tokenizer, [p.text for p in chosen], own["max_tokens"]) for chosen in texts]
    train, valid = (taught(model, some, reasoning, work) for some in rows)
    learnt = fit(with_known_subjects(train, texts[0]), embeddings(model, tokenizer.get_vocab_size()), values["pad_token_id"])
    unnamed = own["domain_labels"].index(UNNAMED)
    with_exit = early_exit_graph.Writer(model, learnt).write(1, Rule(NAMED, unnamed, READ, SHARE))
    early = ask(at(with_exit, 0), valid.rows, reasoning)
    sure, report = choose(early.reasoning, valid.reasoning, knows(early.subjects, unnamed), budget)
    print("early exit: " + ", ".join(f"{k} {v:.4f}" for k, v in report.items()), flush=True)
    onnx.save(at(with_exit, sure), folder / "model.onnx")
    values["thinkgate"]["early_exit"] = {"sure": sure, "named": NAMED, "unnamed": UNNAMED, "read": READ}
    (folder / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    return report


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "model", type=Path, help="a directory that export_onnx.py wrote, of a model with two labels and subjects, int8"
    )
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"share of decisions that may change (default {BUDGET})")
    parser.add_argument(
        "--work", type=Path, default=Path("target/router"), help="what the whole model says of the prompts is kept here"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    give(args.model, data.read(args.data), args.work, args.budget)


if __name__ == "__main__":
    main()

"""Adds an early exit to a model: prompts whose decision is clear from words and word pairs skip the layers.

    python3 -m router_training.early_exit DATA_DIR MODEL_DIR [--budget 0.002] [--work DIR]

A small convolution over the embeddings (three tokens wide, as in TextCNN, Kim 2014), its mean and maximum over the text, and
two dense layers learn the whole model's probabilities of both heads (distillation). Rows for which the exit is surer than a
threshold leave with its answer; all others go through the layers (early exit, as in BranchyNet and DeeBERT). The exit must be
sure of the subject too, unless the text has none. For rows that stay, the layers read the head and the tail of the text, and
the answer is a weighted mean with the exit, which has read all of it; the less the layers have read, the larger is the exit's
weight. The threshold is the lowest at which no more than `--budget` of the decisions on held-out prompts change. The exit is
a part of the graph, so a user of the model needs no code for it, and whether a row leaves depends on its own text only, never
on its batch.

`train_router.py` calls this last. As a command it adds an exit to a MODEL_DIR without one. The model must be int8, because the exit
shares the quantised embeddings with the first layer.
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
from .early_exit_graph import ExitRule, ExitWriter, with_threshold
from .encoding import encode
from .graph import Graph
from .model import SUBJECTS, Exit

BUDGET = 0.002  # the share of decisions on held-out prompts that may change
MIN_SUBJECT, NO_SUBJECT = 0.8, "other"  # the least probability of the exit's subject, and the subject of texts without one
EXCERPT_TOKENS, LAYERS_SHARE = 32, 0.7  # the tokens that the layers read of a text, and their weight for a text that is not longer
EPOCHS, RATE, TOKENS = 6, 2e-3, 4000
SUBJECT_WEIGHT = 0.3
KNOWN_SUBJECT_WEIGHT = 0.5  # of a known subject, against the model's probabilities
PADDING_SHARE = 0.03  # the share of training texts that are padding only, for which the exit must be unsure


@dataclass
class Predictions:
    """Prompts as token ids, and the model's P(reasoning) and subject probabilities for each."""

    rows: list[list[int]]
    reasoning: np.ndarray
    subjects: np.ndarray


def training_and_validation_prompts(
    parts: dict[str, list[data.Prompt]], scale: float
) -> tuple[list[data.Prompt], list[data.Prompt]]:
    """The prompts to train the exit on, and those to choose the threshold on.

    To train on: two epochs with variations, the large sources without, and the questions of MMLU-Pro with their options, which are
    long and have many subjects. To choose on: held-out prompts with variations.
    """
    bare = [p for p in parts["train"] if p.source in (*data.PER_EPOCH, "mmlu_pro")]
    options = [replace(p, text=p.full()) for p in bare if p.source == "mmlu_pro"]
    bare, options = (some[: int(len(some) * scale)] for some in (bare, options))
    varied = [p for seed in (4000, 4001) for p in training_epoch.draw(parts["train"], seed, scale=scale)]
    return varied + bare + options, training_epoch.draw(parts["valid"], 77, scale=scale)


def predict(model: onnx.ModelProto, rows: list[list[int]], reasoning: list[int]) -> Predictions:
    """Runs a graph on each text alone, in as many threads as there are processors."""
    sess = export.session(model.SerializeToString())
    out = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for outputs in pool.map(lambda row: export.run(sess, [row])[0], rows, chunksize=64):
            logits, domains = (export.softmax(o) for o in outputs)
            out.append((logits[reasoning].sum(), domains))
            if len(out) % 10_000 == 0:
                print(f"  {len(out)} of {len(rows)} read", flush=True)
    return Predictions(rows, np.array([p for p, _ in out], np.float32), np.stack([d for _, d in out]).astype(np.float32))


def embeddings(model: onnx.ModelProto, vocabulary: int) -> torch.Tensor:
    """The input of the layers for each token of the vocabulary."""
    g = Graph(model)
    name, _ = early_exit_graph.embeddings_and_mask(g)
    del g.model.graph.output[:]
    g.model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    sess = export.session(g.finish().SerializeToString())
    inputs = {i.name for i in sess.get_inputs()}
    rows = [np.arange(at, min(at + 64, vocabulary))[None] for at in range(0, vocabulary, 64)]
    feeds = ({"input_ids": row, "attention_mask": np.ones_like(row)} for row in rows)
    return torch.tensor(np.concatenate([sess.run(None, {k: v for k, v in f.items() if k in inputs})[0][0] for f in feeds]))


def fit(teacher: Predictions, table: torch.Tensor, padding: int, epochs: int = EPOCHS) -> Exit:
    """Trains an exit on the model's probabilities."""
    torch.manual_seed(1)
    r = random.Random(1)
    blank = [[padding] * r.randint(1, 144) for _ in range(int(len(teacher.rows) * PADDING_SHARE))]
    rows = teacher.rows + blank
    want = torch.cat([torch.tensor(teacher.reasoning), torch.full((len(blank),), 0.5)])
    subjects = teacher.subjects.shape[1]
    domain = torch.cat([torch.tensor(teacher.subjects), torch.full((len(blank), subjects), 1 / subjects)])
    model = Exit(table.shape[1], subjects)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
    step, total = 0, 0
    for number in range(epochs):
        batches = [b for b in finetune.batches(rows, TOKENS, r) if len(b) > 1]  # batch normalisation needs two texts
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


def with_known_subjects(teacher: Predictions, texts: list[data.Prompt]) -> Predictions:
    """The predictions with subject probabilities that are averaged with the known subjects."""
    subjects = teacher.subjects.copy()
    for i, prompt in enumerate(texts):
        if prompt.subject:
            subjects[i] *= 1 - KNOWN_SUBJECT_WEIGHT
            subjects[i, SUBJECTS.index(prompt.subject)] += KNOWN_SUBJECT_WEIGHT
    return replace(teacher, subjects=subjects)


def is_subject_settled(subjects: np.ndarray, no_subject: int) -> np.ndarray:
    """The rows whose subject lets them leave at the exit."""
    return (subjects.max(1) >= MIN_SUBJECT) | (subjects.argmax(1) == no_subject)


def choose_threshold(early: np.ndarray, whole: np.ndarray, settled: np.ndarray, budget: float) -> tuple[float, dict]:
    """The lowest threshold from 0.7 on, in hundredths, at which the share of decisions that change is within the budget.

    `early` and `whole` are P(reasoning) of the exit and of the whole model; only `settled` rows may leave at the exit.
    """
    surer, other = np.where(settled, np.maximum(early, 1 - early), 0), (early >= 0.5) != (whole >= 0.5)
    for percent in range(70, 101):
        sure = percent / 100
        changed = float((other & (surer >= sure)).mean())
        if changed <= budget:
            break
    done = surer >= sure
    moved = float(np.abs(early - whole)[done].mean()) if done.any() else 0.0
    return sure, {"sure": sure, "exits": float(done.mean()), "changed": changed, "mean difference of P": moved}


def cached_predictions(model: onnx.ModelProto, rows: list[list[int]], reasoning: list[int], work: Path) -> Predictions:
    """The model's predictions for the texts, from a file in `work` where an earlier run saved them."""
    key = hashlib.sha256(model.SerializeToString() + repr(rows).encode()).hexdigest()[:16]
    kept = work / f"taught_{key}.npz"
    if kept.exists():
        saved = np.load(kept)
        return Predictions(rows, saved["reasoning"], saved["subjects"])
    teacher = predict(model, rows, reasoning)
    np.savez(kept, reasoning=teacher.reasoning, subjects=teacher.subjects)
    return teacher


def add_early_exit(
    folder: Path, parts: dict[str, list[data.Prompt]], work: Path, budget: float = BUDGET, scale: float = 1.0
) -> dict:
    """Trains an exit, writes it into `model.onnx` of the classifier directory, and returns the measurements on held-out prompts."""
    model, values = onnx.load(folder / "model.onnx"), json.loads((folder / "config.json").read_text())
    tokenizer, own = Tokenizer.from_file(str(folder / "tokenizer.json")), values["thinkgate"]
    reasoning = [i for i in range(len(values["id2label"])) if values["id2label"][str(i)] in own["reasoning_labels"]]
    texts = training_and_validation_prompts(parts, scale)
    rows = [encode(tokenizer, [p.text for p in chosen], own["max_tokens"]) for chosen in texts]
    train, valid = (cached_predictions(model, some, reasoning, work) for some in rows)
    exit_model = fit(with_known_subjects(train, texts[0]), embeddings(model, tokenizer.get_vocab_size()), values["pad_token_id"])
    no_subject = own["domain_labels"].index(NO_SUBJECT)
    with_exit = ExitWriter(model, exit_model).write(1, ExitRule(MIN_SUBJECT, no_subject, EXCERPT_TOKENS, LAYERS_SHARE))
    early = predict(with_threshold(with_exit, 0), valid.rows, reasoning)
    sure, report = choose_threshold(early.reasoning, valid.reasoning, is_subject_settled(early.subjects, no_subject), budget)
    print("early exit: " + ", ".join(f"{k} {v:.4f}" for k, v in report.items()), flush=True)
    onnx.save(with_threshold(with_exit, sure), folder / "model.onnx")
    values["thinkgate"]["early_exit"] = {"sure": sure, "named": MIN_SUBJECT, "unnamed": NO_SUBJECT, "read": EXCERPT_TOKENS}
    (folder / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    return report


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "model", type=Path, help="a directory that export_onnx.py wrote, of an int8 model with two labels and subjects"
    )
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"share of decisions that may change (default {BUDGET})")
    parser.add_argument(
        "--work", type=Path, default=Path("target/router"), help="folder for the model's predictions, which a second call reuses"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    add_early_exit(args.model, data.load(args.data), args.work, args.budget)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Trains the router model from a data folder: vocabulary, distillation, task, calibration, export.

    scripts/train_router.py DATA_DIR OUT [--work DIR]

OUT becomes a classifier directory (see `export_onnx.py`). Every stage leaves a checkpoint in the work folder and a second
call goes on from there. Seeds are fixed. A GPU is used when there is one. On two cores it takes about an hour and a half.
"""

import argparse
import json
import logging
import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))
import export_onnx  # noqa: E402
from router import data, distil, epoch, finetune, model as router_model, vocabulary  # noqa: E402


def calibrate(model, tokenizer, valid: list[data.Prompt], device: str) -> float:
    """The temperature that fits held-out labels best, folded into the reasoning head."""
    r = random.Random(5)
    prompts = epoch.draw(valid, 99, scale=0.2)
    prompts = r.sample(prompts, min(len(prompts), 4000))
    logits, _ = finetune.predict(model, tokenizer, [p.text for p in prompts], device=device)
    want = torch.tensor([[1 - p.label, p.label] for p in prompts], dtype=torch.float32)
    best = min((float(torch.nn.functional.cross_entropy(logits / t, want)), t) for t in [x / 20 for x in range(10, 60)])[1]
    with torch.no_grad():
        model.classifier.weight /= best
        model.classifier.bias /= best
    return best


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("target/router"), help="checkpoints (default target/router)")
    parser.add_argument("--distil-steps", type=int, default=854)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the task's schedule after that long at the latest")
    parser.add_argument("--scale", type=float, default=1.0, help="share of an epoch's prompts: a small one for a quick try")
    parser.add_argument("--without", default="", help="generated kinds to leave out, to measure them unseen: puzzle:walking,...")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, start = vocabulary.build(args.work / "vocabulary")
    parts = data.read(args.data)
    print(", ".join(f"{k} {len(v)}" for k, v in parts.items()), flush=True)

    model = router_model.RouterModel(router_model.config(len(start)))
    distil.run(model, tokenizer, start, data.distillation_texts(args.data), args.work / "distil.pt", args.distil_steps, args.seed, device)
    without = frozenset(filter(None, args.without.split(",")))
    finetune.run(
        model,
        tokenizer,
        parts["train"],
        args.work / "task.pt",
        args.epochs,
        without=without,
        seed=args.seed,
        device=device,
        scale=args.scale,
        minutes=args.minutes,
    )
    temperature = calibrate(model, tokenizer, parts["valid"], device)
    print(f"temperature {temperature:.2f}")

    checkpoint = args.work / "checkpoint"
    model.to("cpu").save_pretrained(checkpoint)
    Tokenizer.from_file(str(args.work / "vocabulary" / "tokenizer.json")).save(str(checkpoint / "tokenizer.json"))
    prompts = [p.text for p in epoch.draw(parts["valid"], 7, scale=0.2)]
    prompts = random.Random(7).sample(prompts, 1500)
    # Twice the length it was trained on: attention grows with the square, and a decision has to be made in time.
    report = export_onnx.export(str(checkpoint), args.out, prompts, True, ["reasoning"], max_tokens=256)
    (args.work / "export.json").write_text(json.dumps({**report, "temperature": temperature}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Trains the router model from a data folder: vocabulary, distillation, recipe, calibration, export, early exit.

    scripts/train_router.py DATA_DIR OUT [--work DIR]

OUT becomes a classifier directory (see `export_onnx.py`). Every stage writes a checkpoint to the work folder, from which a second
call continues. Seeds are fixed. A GPU is used when there is one. The training runs are in `recipe.py`.
"""

import argparse
import json
import logging
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer

from . import data, distil, early_exit, export, finetune, recipe, training_epoch, vocabulary
from .model import RouterModel, config

DISTIL_STEPS = 854
GENERATED_TEXTS = 8000  # for distillation, beside the texts of the folder


def calibrate(model, tokenizer, valid: list[data.Prompt], device: str) -> tuple[float, float]:
    """Finds the temperature and the offset that fit held-out labels best, and applies them to the reasoning head.

    It uses at most 150 prompts of a source, so that no source dominates, and no generated prompts: they are too similar to those
    of training, so the model is surer of them than of what people write.
    """
    r, chosen, weights = random.Random(5), [], []
    for source in sorted({p.source for p in valid}):
        group = [p for p in valid if p.source == source]
        group = r.sample(group, min(150, len(group)))
        chosen += group
        weights += [1 / len(group)] * len(group)
    logits, _ = finetune.predict(model, tokenizer, [p.text for p in chosen], longest=256, device=device)
    gap, want = logits[:, 1] - logits[:, 0], torch.tensor([p.label for p in chosen])
    weight = torch.tensor(weights)

    def loss(t: float, offset: float) -> float:
        return float(torch.nn.functional.binary_cross_entropy_with_logits(gap / t + offset, want, weight))

    _, t, offset = min((loss(t / 20, b / 20), t / 20, b / 20) for t in range(10, 60) for b in range(-30, 31))
    with torch.no_grad():
        model.classifier.weight /= t
        model.classifier.bias /= t
        model.classifier.bias[1] += offset
    return t, offset


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--work", type=Path, default=Path("target/router"), help="folder of the checkpoints (default target/router)"
    )
    parser.add_argument("--distil-steps", type=int, default=DISTIL_STEPS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of an epoch's prompts; a small one for a quick try")
    parser.add_argument(
        "--without", default="", help="generated kinds to leave out, so that they can be measured unseen: puzzle:walking,..."
    )
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.manual_seed(1)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, start = vocabulary.build(args.work / "vocabulary")
    parts = data.load(args.data)
    print(", ".join(f"{k} {len(v)}" for k, v in parts.items()), flush=True)

    model = RouterModel(config(len(start)))
    texts = data.distillation_texts(args.data) + training_epoch.generated_texts(GENERATED_TEXTS)
    distil.run(model, tokenizer, start, texts, args.work / "distil.pt", args.distil_steps, device=device)
    without = frozenset(filter(None, args.without.split(",")))
    recipe.follow(model, tokenizer, parts["train"], args.work, without, args.scale, device)
    temperature, offset = calibrate(model, tokenizer, parts["valid"], device)
    print(f"temperature {temperature:.2f}, offset {offset:.2f}")

    checkpoint = args.work / "checkpoint"
    model.to("cpu").save_pretrained(checkpoint)
    Tokenizer.from_file(str(args.work / "vocabulary" / "tokenizer.json")).save(str(checkpoint / "tokenizer.json"))
    prompts = [p.text for p in training_epoch.draw(parts["valid"], 7, scale=0.2)]
    prompts = random.Random(7).sample(prompts, 1500)
    # More tokens than in training (128). The cross entropy of longer held-out prompts is 0.311. With 192 tokens it is 0.310, in a
    # third more time.
    report = export.export(str(checkpoint), args.out, prompts, True, ["reasoning"], max_tokens=144)
    report["early_exit"] = early_exit.add_early_exit(args.out, parts, args.work, scale=args.scale)
    (args.work / "export.json").write_text(json.dumps({**report, "temperature": temperature, "offset": offset}, indent=1) + "\n")


if __name__ == "__main__":
    main()

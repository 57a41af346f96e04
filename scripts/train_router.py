#!/usr/bin/env python3
"""Trains the router model from a data folder: vocabulary, distillation, task, calibration, export.

    scripts/train_router.py DATA_DIR OUT [--work DIR]

OUT becomes a classifier directory (see `export_onnx.py`). Every stage leaves a checkpoint in the work folder and a second
call goes on from there. Seeds are fixed. A GPU is used when there is one. On two cores that nobody else uses the distillation takes
a quarter of an hour and a run over the mix twenty minutes. Runs from one distillation can be averaged, weight by weight, and a run
can start from such a mean; with W for the work folder:

    scripts/train_router.py DATA_DIR OUT --task W/exam.pt --only mmlu_pro
    scripts/train_router.py DATA_DIR OUT
    scripts/train_router.py DATA_DIR OUT --task W/last.pt --start W/exam.pt=0.3 --start W/task.pt=0.7 --rate 2.5e-4 --epochs 2 --seed 2
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


def calibrate(model, tokenizer, valid: list[data.Prompt], device: str) -> tuple[float, float]:
    """The temperature and the offset that fit held-out labels best, folded into the reasoning head.

    At most 150 prompts a source, so that no source decides, and none from the generators: their held-out prompts are like
    those trained on, and the model is surer of them than it may be of what people write.
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


def share(text: str) -> tuple[Path, float]:
    """A checkpoint and its share of an average: `exam.pt=0.3`."""
    path, _, part = text.rpartition("=")
    if not path or not 0 < float(part) <= 1:
        raise argparse.ArgumentTypeError(f"{text}: want FILE=SHARE with a share up to 1")
    return Path(path), float(part)


def mean(runs: list[tuple[Path, float]], device: str) -> dict[str, torch.Tensor]:
    """The weights of some runs, each times its share, added up."""
    total: dict[str, torch.Tensor] = {}
    for path, part in runs:
        weights = torch.load(path, map_location=device)["model"]
        total = {name: total.get(name, 0) + part * weight for name, weight in weights.items()}
    return total


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("target/router"), help="checkpoints (default target/router)")
    parser.add_argument("--distil-steps", type=int, default=854)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5e-4, help="the highest learning rate of the task (default 5e-4)")
    parser.add_argument("--task", type=Path, help="checkpoint of this run, for several from one distillation (default WORK/task.pt)")
    parser.add_argument(
        "--start", type=share, action="append", default=[], metavar="FILE=SHARE", help="start from a mean of runs, not from the distillation"
    )
    parser.add_argument("--only", default="", help="train on the bare prompts of one source, such as mmlu_pro")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the task's schedule after that long at the latest")
    parser.add_argument(
        "--average", type=share, action="append", default=[], metavar="FILE=SHARE", help="mix in that share of another run's weights"
    )
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
    if args.start:
        model.load_state_dict(mean(args.start, device))
    else:
        texts = data.distillation_texts(args.data)
        distil.run(model, tokenizer, start, texts, args.work / "distil.pt", args.distil_steps, args.seed, device)
    without = frozenset(filter(None, args.without.split(",")))
    finetune.run(
        model,
        tokenizer,
        parts["train"],
        args.task or args.work / "task.pt",
        args.epochs,
        rate=args.rate,
        without=without,
        only=args.only,
        seed=args.seed,
        device=device,
        scale=args.scale,
        minutes=args.minutes,
    )
    if args.average:
        rest = mean(args.average, device)
        own = 1 - sum(part for _, part in args.average)
        model.load_state_dict({name: own * mine + rest[name] for name, mine in model.state_dict().items()})
    temperature, offset = calibrate(model, tokenizer, parts["valid"], device)
    print(f"temperature {temperature:.2f}, offset {offset:.2f}")

    checkpoint = args.work / "checkpoint"
    model.to("cpu").save_pretrained(checkpoint)
    Tokenizer.from_file(str(args.work / "vocabulary" / "tokenizer.json")).save(str(checkpoint / "tokenizer.json"))
    prompts = [p.text for p in epoch.draw(parts["valid"], 7, scale=0.2)]
    prompts = random.Random(7).sample(prompts, 1500)
    # Twice the length it was trained on: attention grows with the square, and a decision has to be made in time.
    report = export_onnx.export(str(checkpoint), args.out, prompts, True, ["reasoning"], max_tokens=192)
    (args.work / "export.json").write_text(json.dumps({**report, "temperature": temperature, "offset": offset}, indent=1) + "\n")


if __name__ == "__main__":
    main()

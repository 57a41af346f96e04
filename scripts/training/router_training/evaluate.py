"""Measures a classifier directory on all data that was held out of training.

    scripts/eval_router.py DATA_DIR [--model onnx/router] [--json FILE]

Every number is of the exported model as the gateway runs it: one prompt at a time, on one thread.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer

from . import data, export, metrics

# Of the repository, where this is an editable install.
FIXTURES = Path(__file__).resolve().parents[3] / "tests/fixtures"


class Classifier:
    """A classifier directory, with a cache of its results."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        self.reasoning = [labels.index(name) for name in config["thinkgate"]["reasoning_labels"]]
        self.domains = config["thinkgate"]["domain_labels"]
        self.longest = config["thinkgate"].get("max_tokens", 512)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.session = export.session(folder / "model.onnx")
        self.seen: dict[str, tuple[float, int]] = {}

    def classify(self, texts: list[str]) -> list[tuple[float, int]]:
        """P(reasoning) of each text, rounded to three digits as the gateway does, and the index of its subject."""
        fresh = [t for t in dict.fromkeys(texts) if t not in self.seen]
        rows = export.encode(self.tokenizer, fresh, self.longest)
        for text, outputs in zip(fresh, export.run(self.session, rows), strict=True):
            p = float(export.softmax(outputs[0])[self.reasoning].sum())
            self.seen[text] = (round(p, 3), int(outputs[1].argmax()) if len(outputs) > 1 else -1)
        return [self.seen[t] for t in texts]

    def p(self, texts: list[str]) -> np.ndarray:
        """P(reasoning) of each text."""
        return np.array([p for p, _ in self.classify(texts)])

    def unknown(self, text: str) -> float:
        """The share of a text's tokens that are not in the vocabulary."""
        tokens = self.tokenizer.encode(text).tokens[1:-1]
        return sum(t == "[UNK]" for t in tokens) / max(1, len(tokens))


def mmlu(c: Classifier, test: list[data.Prompt], baseline: metrics.WordCounts | None) -> dict:
    """Decision and subject on questions of MMLU-Pro, without and with their answer choices.

    The label is a share of models, so it needs a border: the valley between its two peaks (`data.mmlu_pro_label`). For comparison,
    the results with a border of one half, and of clear questions only.
    """
    rows = [p for p in test if p.source == "mmlu_pro"]
    share = np.array([p.computes for p in rows])
    out = {"questions": len(rows)}
    for name, texts in (("question", [p.text for p in rows]), ("with options", [p.full() for p in rows])):
        results = c.classify(texts)
        out[name] = metrics.by_question(np.array([j[0] for j in results]), share)
        out[name]["ece"] = metrics.ece(np.array([j[0] for j in results]), np.array([q.label for q in rows]))
        out[name]["subject"] = float(
            (np.array([j[1] for j in results]) == np.array([c.domains.index(p.subject) for p in rows])).mean()
        )
    if baseline:
        p, subjects = baseline.classify([p.text for p in rows])
        out["word counts"] = {
            **metrics.by_question(p, share),
            "subject": float(np.mean([a == b.subject for a, b in zip(subjects, rows, strict=True)])),
        }
    return out


def everyday(c: Classifier, path: Path) -> dict:
    """Balanced accuracy on prompts written by hand. Prompts in the grey zone are reported, not scored."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    p = c.p([r["text"] for r in rows])
    label = np.array([r["label"] for r in rows])
    direct, hard, grey = (label == k for k in ("direct", "reasoning", "grey"))
    wrong = sorted(
        ((p[i], rows[i]["text"]) for i in range(len(rows)) if (direct[i] and p[i] >= 0.5) or (hard[i] and p[i] < 0.5)),
        key=lambda x: -abs(x[0] - 0.5),
    )
    return {
        "direct": int(direct.sum()),
        "reasoning": int(hard.sum()),
        "grey": int(grey.sum()),
        "direct accuracy": float((p[direct] < 0.5).mean()),
        "reasoning accuracy": float((p[hard] >= 0.5).mean()),
        "balanced accuracy": float(((p[direct] < 0.5).mean() + (p[hard] >= 0.5).mean()) / 2),
        "auc": roc_auc_score(hard[~grey], p[~grey]),
        "grey mean P": float(p[grey].mean()),
        "worst": [f"{a:.2f} {t[:110]}" for a, t in wrong[:25]],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=Path("onnx/router"))
    parser.add_argument("--everyday", type=Path, default=FIXTURES / "everyday.jsonl")
    parser.add_argument("--fresh", type=Path, default=FIXTURES / "everyday_frozen.jsonl")
    parser.add_argument("--blind", type=Path, default=FIXTURES / "everyday_blind.jsonl")
    parser.add_argument(
        "--baseline", action="store_true", help="fit TF-IDF and logistic regression on MMLU-Pro's training part, and measure it too"
    )
    parser.add_argument("--json", type=Path, help="write every number here")
    args = parser.parse_args()
    c = Classifier(args.model)
    parts = data.load(args.data)
    test = parts["test"]
    report = {"mmlu_pro": mmlu(c, test, metrics.WordCounts(parts["train"] + parts["valid"]) if args.baseline else None)}
    for name, path in (("everyday", args.everyday), ("everyday, fresh", args.fresh), ("everyday, by another author", args.blind)):
        if path.exists():
            report[name] = everyday(c, path)
    report["unseen kinds"] = metrics.unseen_kinds(c, test)
    report["flips"] = metrics.flips(c, test, args.everyday)
    report["calibration"] = metrics.calibration(c, test)
    report["sources"] = metrics.sources(c, test)
    report["languages"] = metrics.languages_held_out(c)
    report["second turns"] = metrics.second_turns(c, args.data)
    report["paired"] = metrics.paired(c, args.data)
    report["ms at 64 tokens, one thread"] = export.median_ms(c.session)
    report["batch difference in P"] = export.batch_difference(
        c.session, export.encode(c.tokenizer, [p.text for p in test[:320]], 512), c.reasoning
    )
    report["bytes"] = sum(f.stat().st_size for f in args.model.iterdir())
    metrics.show(report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

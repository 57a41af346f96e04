"""The measurements of `eval_router.py`. Their wrappers, typing errors and kinds of prompts are not those of training."""

import json
import random
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from .data import Prompt, json_lines, mmlu_pro_label, split
from .prompts import languages, puzzles

DIRECT_SOURCES = {"clinc150", "banking77", "ifeval", "self_instruct", "simpleqa"}
WRAPPERS = [
    "good evening! i was hoping you could have a look at something. {} many thanks in advance",
    "{}\n\nSent from my phone",
    "Hey :) my colleague sent me this and I don't know what to answer: {}",
    "You are the assistant of a small company. Follow the user's wishes.\n\nUser message: {}",
    "hello, first time here. {} (no rush)",
    "I hope this finds you well. {}\n\nKind regards,\nMaria",
    "Yo, got one for ya - {}",
    "Could you please respond to the following? {}",
]


def ece(p: np.ndarray, want: np.ndarray, bins: int = 10) -> float:
    """The expected calibration error over ten bins of equal width. `want` may be a soft label."""
    at = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum((at == b).mean() * abs(p[at == b].mean() - want[at == b].mean()) for b in range(bins) if (at == b).any()))


def by_question(p: np.ndarray, share: np.ndarray) -> dict:
    """AUC and accuracy on MMLU-Pro: with the border in the valley of the labels, at one half, and of clear questions only."""
    valley, clear = np.array([mmlu_pro_label(x) >= 0.5 for x in share]), (share <= 0.1) | (share >= 0.6)
    return {
        "auc": roc_auc_score(valley, p),
        "accuracy": float(((p >= 0.5) == valley).mean()),
        "auc at one half": roc_auc_score(share >= 0.5, p),
        "accuracy at one half": float(((p >= 0.5) == (share >= 0.5)).mean()),
        "clear": int(clear.sum()),
        "auc of the clear": roc_auc_score(valley[clear], p[clear]),
        "accuracy of the clear": float(((p >= 0.5) == valley)[clear].mean()),
    }


class WordCounts:
    """The baseline: TF-IDF of words and word pairs with logistic regression, trained on MMLU-Pro only."""

    def __init__(self, train: list[Prompt]):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        chosen = [p for p in train if p.source == "mmlu_pro"]
        self.words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]")
        x = self.words.fit_transform([p.text for p in chosen])
        self.reasoning = LogisticRegression(C=10, max_iter=400).fit(x, [p.label >= 0.5 for p in chosen])
        self.subject = LogisticRegression(C=10, max_iter=400).fit(x, [p.subject for p in chosen])

    def classify(self, texts: list[str]) -> tuple[np.ndarray, list[str]]:
        """P(reasoning) and the subject of each text."""
        x = self.words.transform(texts)
        return self.reasoning.predict_proba(x)[:, 1], list(self.subject.predict(x))


def unseen_kinds(c, test: list[Prompt]) -> dict:
    """The AUC of each kind that was held out of training, against held-out direct prompts."""
    r = random.Random(77)
    direct = c.p([p.text for p in r.sample([p for p in test if p.source in DIRECT_SOURCES], 400)])
    out = {}
    for kind in puzzles.HELD_OUT:
        p = c.p(list(dict.fromkeys(kind(r) for _ in range(60))))
        out[kind.__name__] = {
            "auc": roc_auc_score([0] * len(direct) + [1] * len(p), [*direct, *p]),
            "reasoning": float((p >= 0.5).mean()),
        }
    out["mean auc"] = float(np.mean([v["auc"] for v in out.values()]))
    return out


def typo(r: random.Random, text: str) -> str:
    """Makes a typing error in one word of eight: swaps, drops or doubles a letter."""
    words = text.split(" ")
    for i, w in enumerate(words):
        if len(w) >= 4 and w.isalpha() and r.random() < 0.125:
            at = r.randrange(len(w) - 1)
            words[i] = r.choice([w[:at] + w[at + 1] + w[at] + w[at + 2 :], w[:at] + w[at + 1 :], w[: at + 1] + w[at:]])
    return " ".join(words)


def flips(c, test: list[Prompt], everyday: Path) -> dict:
    """The share of decisions that change with a variation of the prompt that does not change its task."""
    r = random.Random(13)
    texts = [p.text for p in r.sample(test, 1000)]
    if everyday.exists():
        texts += [json.loads(line)["text"] for line in everyday.read_text().splitlines()]
    plain = c.p(texts) >= 0.5
    changed = {
        "lower case": [t.lower() for t in texts],
        "typos": [typo(r, t) for t in texts],
        "chat wrapping": [r.choice(WRAPPERS).replace("{}", t) for t in texts],
        "no punctuation at the end": [t.rstrip(".?!。？") for t in texts],
        "in a code block": [f"```\n{t}\n```" for t in texts],
    }
    return {"prompts": len(texts), **{name: float(((c.p(t) >= 0.5) != plain).mean()) for name, t in changed.items()}}


def calibration(c, test: list[Prompt]) -> dict:
    """The calibration error over a sample with at most 400 prompts of a source."""
    r, chosen = random.Random(3), []
    by: dict[str, list[Prompt]] = {}
    for p in test:
        by.setdefault(p.source, []).append(p)
    for group in by.values():
        chosen += r.sample(group, min(400, len(group)))
    p, want = c.p([x.text for x in chosen]), np.array([x.label for x in chosen])
    clear = np.abs(want - 0.5) > 0.25
    return {
        "prompts": len(chosen),
        "ece": ece(p, want),
        "accuracy where the label is clear": float(((p >= 0.5) == (want >= 0.5))[clear].mean()),
    }


def sources(c, test: list[Prompt]) -> dict:
    """For each source: the mean label, the mean P(reasoning), and the share of reasoning decisions."""
    r, out = random.Random(4), {}
    for source in sorted({p.source for p in test}):
        group = [p for p in test if p.source == source]
        group = r.sample(group, min(200, len(group)))
        p = c.p([x.text for x in group])
        out[source] = {
            "n": len(group),
            "label": float(np.mean([x.label for x in group])),
            "P": float(p.mean()),
            "reasoning": float((p >= 0.5).mean()),
        }
    return out


def languages_held_out(c) -> dict:
    """For each language, on held-out sentences: the balanced accuracy, and the share of unknown tokens."""
    out = {}
    for language in languages.REASONING:
        hard = [
            e.replace("{a}", "7").replace("{b}", "12").replace("{c}", "3")
            for e in languages.entries(language, languages.REASONING, True)
        ]
        easy = [
            e.replace("{a}", "7").replace("{b}", "12").replace("{c}", "3")
            for e in languages.entries(language, languages.DIRECT, True)
        ]
        a, b = c.p(hard) >= 0.5, c.p(easy) < 0.5
        out[language] = {
            "n": len(hard) + len(easy),
            "balanced accuracy": float((a.mean() + b.mean()) / 2),
            "unknown tokens": float(np.mean([c.unknown(t) for t in hard + easy])),
        }
    return out


def second_turns(c, folder: Path) -> dict:
    """On mt_bench, for each category: the mean P(reasoning) of first turns, of second turns alone, and of both together."""
    by: dict[str, list[list[str]]] = {}
    for row in json_lines(folder / "prompts" / "mt_bench.jsonl"):
        by.setdefault(row["category"], []).append(row["turns"])
    return {
        k: {
            "first": float(c.p([t[0] for t in v]).mean()),
            "second alone": float(c.p([t[1] for t in v]).mean()),
            "both": float(c.p([t[0] + "\n\n" + t[1] for t in v]).mean()),
        }
        for k, v in by.items()
    }


def mean_over_tasks(rows_by_task: dict[str, list[dict]], think) -> tuple[float, float]:
    """Mean accuracy and tokens over tasks of equal weight, when `think(row)` is the probability of reasoning."""
    acc, tokens = [], []
    for group in rows_by_task.values():
        w = np.array([think(x) for x in group], float)
        d, q = (np.array([[x[m]["correct"], x[m]["tokens"]] for x in group], float) for m in ("direct", "reasoning"))
        acc.append((w * q[:, 0] + (1 - w) * d[:, 0]).mean())
        tokens.append(((w * q[:, 1] + (1 - w) * d[:, 1]).mean()) / q[:, 1].mean())
    return float(np.mean(acc)), float(np.mean(tokens))


def paired(c, folder: Path) -> dict:
    """Accuracy and tokens of policies on paired outcomes.

    They are: always direct, always reasoning, the classifier at threshold 0.5 and at the threshold that halves the tokens, a coin
    with the classifier's rate, and an oracle.

    A task is a BBH task, or a knowledge set and a model. Tokens are relative to always reasoning on the same task. Rows of the
    knowledge sets that were used in training are left out; BBH was never used.
    """
    tasks: dict[str, list[dict]] = {}
    for name in ("bbh", "knowledge"):
        for row in json_lines(folder / "paired" / f"{name}.jsonl"):
            if name == "bbh" or split(row["text"]) != "train":
                tasks.setdefault(row["task"] if name == "bbh" else f"{row['task']} {row['model']}", []).append(row)
    every = [x for group in tasks.values() for x in group]
    for row, p in zip(every, c.p([x["text"] for x in every]), strict=True):
        row["p"] = p

    def policies(chosen: dict[str, list[dict]]) -> dict:
        def at(threshold):
            return mean_over_tasks(chosen, lambda x: x["p"] >= threshold)

        rate = float(np.mean([np.mean([x["p"] >= 0.5 for x in g]) for g in chosen.values()]))
        half = min(
            (t for t in np.unique([x["p"] for g in chosen.values() for x in g])), key=lambda t: abs(at(t)[1] - 0.5), default=0.5
        )
        named = {
            "always direct": mean_over_tasks(chosen, lambda x: 0),
            "always reasoning": mean_over_tasks(chosen, lambda x: 1),
            "ours at 0.5": at(0.5),
            "ours at half the tokens": at(half),
            "coin at our rate": mean_over_tasks(chosen, lambda x: rate),
            "oracle": mean_over_tasks(chosen, lambda x: x["reasoning"]["correct"] and not x["direct"]["correct"]),
        }
        return {k: {"accuracy": a, "tokens": t} for k, (a, t) in named.items()} | {"rate": rate, "threshold for half": float(half)}

    apart = {"BIG-Bench Hard": {}, "knowledge": {}}
    for task, group in tasks.items():
        apart["knowledge" if task.split()[0] in ("simpleqa", "frames") else "BIG-Bench Hard"][task] = group
    out = {"pooled": policies(tasks), **{name: policies(part_) for name, part_ in apart.items()}, "tasks": {}}
    for task, group in tasks.items():
        one = policies({task: group})
        out["tasks"][task] = {
            "n": len(group),
            "direct": one["always direct"]["accuracy"],
            "reasoning": one["always reasoning"]["accuracy"],
            "ours": one["ours at 0.5"]["accuracy"],
            "ours tokens": one["ours at 0.5"]["tokens"],
            "oracle": one["oracle"]["accuracy"],
            "rate": one["rate"],
            "mean P": float(np.mean([x["p"] for x in group])),
        }
    return out


def show(value, name: str = "", depth: int = 0) -> None:
    """Prints the report as indented lines; a flat group of numbers is one line."""
    pad = "  " * depth

    def text(v) -> str:
        return f"{v:.3f}" if isinstance(v, float) else str(v)

    if isinstance(value, dict) and all(not isinstance(v, (dict, list)) for v in value.values()):
        print(f"{pad}{name}: " + ", ".join(f"{k} {text(v)}" for k, v in value.items()))
    elif isinstance(value, dict):
        print(f"{pad}{name}")
        for k, v in value.items():
            show(v, k, depth + 1)
    elif isinstance(value, list):
        print(f"{pad}{name}")
        for v in value:
            print(f"{pad}  {v}")
    else:
        print(f"{pad}{name}: {text(value)}")

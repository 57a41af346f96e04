"""Loads the labelled prompts of the data folder, split into training, validation and test parts.

A label is the probability that a prompt needs reasoning. It comes from the question where the data allows it (`computes` of
MMLU-Pro), else from the source; some rows of Arena-Hard were labelled by hand. BIG-Bench Hard is never loaded here, because it
asks not to be trained on.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

AGIEVAL = {
    "lsat-ar": 0.95,
    "math": 0.97,
    "sat-math": 0.95,
    "aqua-rat": 0.95,
    "logiqa-en": 0.8,
    "lsat-lr": 0.8,
    "lsat-rc": 0.12,
    "sat-en": 0.1,
    "sat-en-without-passage": 0.1,
}
CHINESE = {
    "logiqa-zh": 0.8,
    "gaokao-biology": 0.4,
    "gaokao-chinese": 0.12,
    "gaokao-history": 0.1,
    "gaokao-geography": 0.2,
    "gaokao-english": 0.1,
}
ARENA = {"math": 0.93, "coding": 0.8, "creative_writing": 0.2}
SOURCES = {
    "gsm8k_train": 0.97,
    "math": 0.97,
    "aqua": 0.95,
    "strategyqa": 0.65,
    "clinc150": 0.02,
    "banking77": 0.02,
    "ifeval": 0.1,
    "self_instruct": 0.1,
    "humaneval": 0.2,
}
# Rows of `arena_hard` with a clear label. The others are left out.
ARENA_HARD_REASONING = [
    int(row)
    for row in """
    1 3 6 12 13 16 17 28 29 36 37 39 41 43 44 50 62 63 78 88 92 99 102 104 108 118 380 381 391 399 405 407 410 412 414 422 426
    427 445 450 451 452 453 459 463 466 467 469 480
    """.split()
]
ARENA_HARD_DIRECT = [
    int(row)
    for row in """
    0 14 20 46 52 54 70 75 76 91 100 106 110 116 375 387 393 394 396 400 403 404 415 425 428 433 434 438 442 443 476 478 479 483
    485 488
    """.split()
]
# How many prompts of a source an epoch has. All prompts of other sources are in every epoch.
PER_EPOCH = {
    "gsm8k_train": 400,
    "math": 500,
    "agieval": 700,
    "chinese": 900,
    "strategyqa": 450,
    "clinc150": 900,
    "banking77": 500,
}


@dataclass
class Prompt:
    """A prompt, its label (0 direct, 1 reasoning), its source, and its subject if known.

    `computes` is the share of models whose chain of thought computes, for questions of MMLU-Pro.
    """

    text: str
    label: float
    source: str
    options: tuple[str, ...] = ()
    subject: str | None = None
    computes: float | None = None

    def full(self, letters: bool = True) -> str:
        """The question with its answer choices below, which get letters or dashes."""
        if not self.options:
            return self.text
        if all(re.match(r"\(?[A-J][).]", o) for o in self.options):
            return self.text + "\n" + "\n".join(self.options)
        return self.text + "\n" + "\n".join(f"{chr(65 + i)}. {o}" if letters else f"- {o}" for i, o in enumerate(self.options))


def mmlu_pro_label(computes: float) -> float:
    """The label of a question of MMLU-Pro, from the share of models whose chain of thought computes.

    The shares have two peaks, at 0 and from 0.35 up, with a valley between 0.1 and 0.35. A net price after two discounts has only
    0.48, because many chains write the arithmetic in words. So the border is in the valley, not at one half.
    """
    return min(0.96, max(0.02, 0.5 + (computes - 0.28) * 3))


def split(text: str) -> str:
    """The part that a text belongs to: `test` for one in ten, `valid` for one in ten, else `train`.

    It depends on the text alone, without case and punctuation.
    """
    key = re.sub(r"\W+", "", text.lower())[:400]
    return {0: "test", 1: "valid"}.get(hashlib.sha256(key.encode()).digest()[0] % 10, "train")


def json_lines(path: Path) -> list[dict]:
    """The objects of a JSON lines file."""
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def load(folder: Path) -> dict[str, list[Prompt]]:
    """All labelled prompts of the folder by part, without duplicates."""
    prompts, found = folder / "prompts", []
    for row in json_lines(prompts / "mmlu_pro.jsonl"):
        found.append(
            Prompt(
                row["question"],
                mmlu_pro_label(row["computes"]),
                "mmlu_pro",
                tuple(row["options"]),
                row["category"],
                row["computes"],
            )
        )
    for name, label in SOURCES.items():
        found += [
            Prompt(row["text"], label, name, tuple(row.get("options") or ())) for row in json_lines(prompts / f"{name}.jsonl")
        ]
    found += [
        Prompt(row["text"], AGIEVAL[row["task"]], "agieval", tuple(row.get("options") or ()))
        for row in json_lines(prompts / "agieval.jsonl")
    ]
    found += [
        Prompt(row["text"], CHINESE.get(row["task"], 0.95), "chinese", tuple(row.get("options") or ()))
        for row in json_lines(prompts / "chinese.jsonl")
    ]
    for row in json_lines(prompts / "arena_hard_v2.jsonl"):
        found.append(Prompt(row["text"], ARENA[row["subcategory"]], "arena_hard_v2"))
    arena = json_lines(prompts / "arena_hard.jsonl")
    for label, chosen in ((0.92, ARENA_HARD_REASONING), (0.08, ARENA_HARD_DIRECT)):
        found += [Prompt(arena[i]["text"], label, "arena_hard") for i in chosen]
    for row in json_lines(folder / "paired" / "knowledge.jsonl"):
        found.append(Prompt(row["text"], {"simpleqa": 0.05, "frames": 0.85}[row["task"]], row["task"]))
    seen, parts = set(), {"train": [], "valid": [], "test": []}
    for prompt in found:
        key = re.sub(r"\W+", "", prompt.text.lower())
        if key and key not in seen:
            seen.add(key)
            parts[split(prompt.text)].append(prompt)
    return parts


def distillation_texts(folder: Path) -> list[str]:
    """All texts of the folder that no measurement uses, for distillation."""
    texts = []
    for path in sorted((folder / "prompts").glob("*.jsonl")):
        if path.stem in ("chinese", "mt_bench"):
            continue
        for row in json_lines(path):
            text = row.get("text") or row["question"]
            if split(text) != "test":
                texts.append(text)
                if path.stem == "mmlu_pro":
                    texts.append(" ".join(row["options"]))
    return list(dict.fromkeys(texts))

"""Reads the data folder: prompts with what thinking is worth on each, split by content before anything else.

A label is a probability. Where the data says something per question it is used (`computes` of MMLU-Pro); elsewhere the
source decides, softly; rows of Arena-Hard were labelled by hand. BIG-Bench Hard is never read here: it carries a request
not to be trained on.
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
# Rows of `arena_hard` whose side is plain to a reader; the others are grey and left out.
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
# How many of a source are drawn an epoch; others are drawn whole. Short asks are plenty and alike.
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
    """A prompt, what thinking is worth on it (0 to 1), where it is from, and its subject if known."""

    text: str
    label: float
    source: str
    options: tuple[str, ...] = ()
    subject: str | None = None
    computes: float | None = None

    def full(self, letters: bool = True) -> str:
        """The question with its answer choices under it."""
        if not self.options:
            return self.text
        if all(re.match(r"\(?[A-J][).]", o) for o in self.options):
            return self.text + "\n" + "\n".join(self.options)
        return self.text + "\n" + "\n".join(f"{chr(65 + i)}. {o}" if letters else f"- {o}" for i, o in enumerate(self.options))


def pays(computes: float) -> float:
    """What thinking is worth on a question of MMLU-Pro, from the share of models whose chain of thought computes.

    The shares have two peaks, at 0 and from 0.35 up, with a valley between 0.1 and 0.35: a net price after two discounts has
    0.48, because many chains write it in words. So the valley is the border, not one half.
    """
    return min(0.96, max(0.02, 0.5 + (computes - 0.28) * 3))


def part(text: str) -> str:
    """`test` for one in ten, `valid` for one in ten, `train` for the rest: by content, blind to case and punctuation."""
    key = re.sub(r"\W+", "", text.lower())[:400]
    return {0: "test", 1: "valid"}.get(hashlib.sha256(key.encode()).digest()[0] % 10, "train")


def rows(path: Path) -> list[dict]:
    """The objects of a JSON lines file."""
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def read(folder: Path) -> dict[str, list[Prompt]]:
    """Every labelled prompt of the folder without duplicates, by part."""
    prompts, found = folder / "prompts", []
    for row in rows(prompts / "mmlu_pro.jsonl"):
        found.append(
            Prompt(row["question"], pays(row["computes"]), "mmlu_pro", tuple(row["options"]), row["category"], row["computes"])
        )
    for name, label in SOURCES.items():
        found += [Prompt(row["text"], label, name, tuple(row.get("options") or ())) for row in rows(prompts / f"{name}.jsonl")]
    found += [
        Prompt(row["text"], AGIEVAL[row["task"]], "agieval", tuple(row.get("options") or ()))
        for row in rows(prompts / "agieval.jsonl")
    ]
    found += [
        Prompt(row["text"], CHINESE.get(row["task"], 0.95), "chinese", tuple(row.get("options") or ()))
        for row in rows(prompts / "chinese.jsonl")
    ]
    for row in rows(prompts / "arena_hard_v2.jsonl"):
        found.append(Prompt(row["text"], ARENA[row["subcategory"]], "arena_hard_v2"))
    arena = rows(prompts / "arena_hard.jsonl")
    for label, chosen in ((0.92, ARENA_HARD_REASONING), (0.08, ARENA_HARD_DIRECT)):
        found += [Prompt(arena[i]["text"], label, "arena_hard") for i in chosen]
    for row in rows(folder / "paired" / "knowledge.jsonl"):
        found.append(Prompt(row["text"], {"simpleqa": 0.05, "frames": 0.85}[row["task"]], row["task"]))
    seen, parts = set(), {"train": [], "valid": [], "test": []}
    for prompt in found:
        key = re.sub(r"\W+", "", prompt.text.lower())
        if key and key not in seen:
            seen.add(key)
            parts[part(prompt.text)].append(prompt)
    return parts


def distillation_texts(folder: Path) -> list[str]:
    """All text at hand but the measured halves, for the teacher to read."""
    texts = []
    for path in sorted((folder / "prompts").glob("*.jsonl")):
        if path.stem in ("chinese", "mt_bench"):
            continue
        for row in rows(path):
            text = row.get("text") or row["question"]
            if part(text) != "test":
                texts.append(text)
                if path.stem == "mmlu_pro":
                    texts.append(" ".join(row["options"]))
    return list(dict.fromkeys(texts))

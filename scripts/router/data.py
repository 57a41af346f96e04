"""Reads the data folder: prompts with what thinking is worth on each, split by content before anything else.

A label is a probability. Where the data says something per question it is used (`computes` of MMLU-Pro); elsewhere the
source decides, softly. BIG-Bench Hard is never read here: it carries a request not to be trained on.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

AGIEVAL = {"lsat-ar": 0.95, "math": 0.97, "sat-math": 0.95, "aqua-rat": 0.95, "logiqa-en": 0.6, "lsat-lr": 0.6, "lsat-rc": 0.12, "sat-en": 0.1, "sat-en-without-passage": 0.1}
CHINESE = {"logiqa-zh": 0.6, "gaokao-biology": 0.4, "gaokao-chinese": 0.12, "gaokao-history": 0.1, "gaokao-geography": 0.2, "gaokao-english": 0.1}
ARENA = {"math": 0.93, "coding": 0.8, "creative_writing": 0.2}
SOURCES = {"gsm8k_train": 0.97, "math": 0.97, "aqua": 0.95, "strategyqa": 0.5, "clinc150": 0.02, "banking77": 0.02, "ifeval": 0.1, "self_instruct": 0.1, "humaneval": 0.25}
# How many of a source are drawn an epoch; others are drawn whole. Short asks are plenty and alike.
PER_EPOCH = {"gsm8k_train": 1500, "math": 1500, "agieval": 1300, "chinese": 1500, "strategyqa": 700, "clinc150": 2200, "banking77": 1200, "frames": 600, "simpleqa": 600}


@dataclass
class Prompt:
    """A prompt, what thinking is worth on it (0 to 1), where it is from, and its subject if known."""

    text: str
    label: float
    source: str
    options: tuple[str, ...] = ()
    subject: str | None = None

    def full(self, letters: bool = True) -> str:
        """The question with its answer choices under it."""
        if not self.options:
            return self.text
        if all(re.match(r"\(?[A-J][).]", o) for o in self.options):
            return self.text + "\n" + "\n".join(self.options)
        return self.text + "\n" + "\n".join(f"{chr(65 + i)}. {o}" if letters else f"- {o}" for i, o in enumerate(self.options))


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
        found.append(Prompt(row["question"], row["computes"], "mmlu_pro", tuple(row["options"]), row["category"]))
    for name, label in SOURCES.items():
        found += [Prompt(row["text"], label, name, tuple(row.get("options") or ())) for row in rows(prompts / f"{name}.jsonl")]
    found += [Prompt(row["text"], AGIEVAL[row["task"]], "agieval", tuple(row.get("options") or ())) for row in rows(prompts / "agieval.jsonl")]
    found += [Prompt(row["text"], CHINESE.get(row["task"], 0.95), "chinese", tuple(row.get("options") or ())) for row in rows(prompts / "chinese.jsonl")]
    for row in rows(prompts / "arena_hard_v2.jsonl"):
        found.append(Prompt(row["text"], ARENA[row["subcategory"]], "arena_hard_v2"))
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

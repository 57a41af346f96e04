"""Direct and reasoning prompts in other languages than English, from `languages.txt`. `{a}` to `{c}` become numbers."""

import random
from pathlib import Path


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """The entries of each language, for `reasoning` and `direct`."""
    tables: dict[str, dict[str, list[str]]] = {"reasoning": {}, "direct": {}}
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            language, kind = line[2:].split()
            entries = tables[kind][language] = []
        elif line:
            entries.append(line)
    return tables


TABLES = read(Path(__file__).with_name("languages.txt"))
REASONING, DIRECT = TABLES["reasoning"], TABLES["direct"]


def entries(language: str, table: dict[str, list[str]], held_out: bool) -> list[str]:
    """The entries of a language for training, or those that are held out from it."""
    return [e for i, e in enumerate(table[language]) if (i % 4 == 3) == held_out]


def draw(r: random.Random, held_out: bool = False, language: str | None = None) -> tuple[str, float, str]:
    """A random prompt, its label, and its language."""
    language = language or r.choice(list(REASONING) + ["zh"] * 5)
    thinks = r.random() < 0.5
    text = r.choice(entries(language, REASONING if thinks else DIRECT, held_out))
    for slot in "abc":
        text = text.replace("{" + slot + "}", str(r.randint(2, 29)))
    return text, 0.95 if thinks else 0.04, language

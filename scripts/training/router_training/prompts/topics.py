"""What deliberate and direct prompts are both written about, so that the topic alone does not decide: `topics.txt`.

A field (`# name`) has lists (`## name`), an entry a line: plain topics; pairs to choose between, ` / ` between the sides;
things that went wrong, and circumstances; projects, and their limits.
"""

from pathlib import Path


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """Field, list, entries."""
    fields: dict[str, dict[str, list[str]]] = {}
    field: dict[str, list[str]] = {}
    entries: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            entries = field[line[3:]] = []
        elif line.startswith("# "):
            field = fields[line[2:]] = {}
        elif line:
            entries.append(line)
    return fields


FIELDS = read(Path(__file__).with_name("topics.txt"))

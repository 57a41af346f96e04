"""Topics in 26 fields, from `topics.txt`. Direct and reasoning prompts share them, so that the topic alone does not decide.

A field (`# name`) has lists (`## name`) with an entry a line: topics, pairs to choose between (` / ` separates them), things that
went wrong, circumstances, projects and their limits.
"""

from pathlib import Path


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """The entries of each list of each field."""
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

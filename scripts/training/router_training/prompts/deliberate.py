"""Generates prompts that need deliberation, and direct prompts about the same topics.

Deliberation: find the cause, weigh options, plan under limits, judge evidence, think ahead. Direct: define, explain briefly,
rewrite, translate, extract, list, greet. Wording, length and politeness vary in both, so that none of them decides. The
templates are in `deliberate.txt`, the entries that fill them in `topics.txt`.
"""

import random
from pathlib import Path

from .puzzles import CITIES, DAYS, NAMES
from .topics import FIELDS


def read(path: Path) -> dict[str, list[str]]:
    """The templates of each list. `\\n` in a line stands for a line break."""
    lists: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            lists[line[2:].split(":")[0]] = entries = []
        elif line:
            entries.append(line.replace("\\n", "\n"))
    return lists


LISTS = read(Path(__file__).with_name("deliberate.txt"))
DELIBERATE = ["CAUSE", "CAUSE", "WEIGH", "WEIGH", "PLAN", "PLAN", "JUDGE", "JUDGE", "SHORT", "SHORT"]
DIRECT = ["DEFINE", "DEFINE", "DEFINE", "REWRITE", "EXTRACT", "LIGHT"]
REASONING_CONTEXT = [
    "{S} ",
    "Background: {w} {when}. ",
    "We are a team that wants to {project}. ",
    "Context: {limit}. ",
    "I work for {actor}. {S} ",
    "{actor_} asks: ",
    "Some background first. {S} {W2}. We would like to {project}, {limit}. ",
    "Situation: {S} {name} thinks it has to do with {t}.\n\n",
]
DIRECT_CONTEXT = [
    "{S} ",
    "Hi, I'm {name}. ",
    "For a class on {t}: ",
    "I work for {actor}. ",
    "I'm reading about why {w}. ",
    "We want to {project}, and one thing is not clear to me. ",
]


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


def fill(r: random.Random, template: str, field: str) -> str:
    """Fills all slots of a template with entries of a field."""
    lists = FIELDS[field]
    a, b = r.choice(lists["pairs"]).split(" / ")
    wrong, wrong2, project, topic = (r.choice(lists[k]) for k in ("wrong", "wrong", "projects", "topics"))
    actor, when = r.choice(LISTS["ACTORS"]), r.choice(lists["when"])
    sentence = capital(f"{wrong} {when}.")
    slots = {
        "actor": actor,
        "actor_": capital(actor),
        "a": a,
        "b": b,
        "A": capital(a),
        "B": capital(b),
        "w": wrong,
        "W": capital(wrong),
        "w2": wrong2,
        "W2": capital(wrong2),
        "when": when,
        "t": topic,
        "T": capital(topic),
        "t2": r.choice(lists["topics"]),
        "project": project,
        "Project": capital(project),
        "limit": r.choice(lists["limits"]),
        "n": str(r.randint(2, 9)),
        "S": sentence,
        "s_bad": sentence.lower().replace(" is ", " are ").replace("the ", "teh ", 1),
        "day": r.choice(DAYS),
        "name": r.choice(NAMES),
        "name2": r.choice(NAMES),
        "num": str(r.randint(1000, 99999)),
        "city": r.choice(CITIES),
        "city2": r.choice(CITIES),
        "lang": r.choice(["Spanish", "French", "German", "Japanese", "Arabic", "Chinese"]),
    }
    for key, value in slots.items():
        template = template.replace("{" + key + "}", value)
    return template


def draw(r: random.Random) -> tuple[str, float]:
    """A random prompt and its label."""
    field = r.choice(list(FIELDS))
    thinks = r.random() < 0.5
    text = fill(r, r.choice(LISTS[r.choice(DELIBERATE if thinks else DIRECT)]), field)
    if r.random() < (0.25 if thinks else 0.15):  # with more context
        text = fill(r, r.choice(REASONING_CONTEXT if thinks else DIRECT_CONTEXT), field) + text
    label, asked = (0.95 if thinks else 0.03), r.random()
    if asked < 0.1:  # a request for a long or short answer changes the label only a little
        text, label = f"{text} {r.choice(LISTS['LONG'] if thinks else LISTS['BRIEF'])}", label
    elif asked < 0.15:
        text, label = f"{text} {r.choice(LISTS['BRIEF'] if thinks else LISTS['LONG'])}", 0.75 if thinks else 0.2
    return text, label

"""Prompts for measurements, and requests that contain them."""

import itertools
import json
import pathlib
import random

from .peers import MODEL

WORDS = [
    "the",
    "museum",
    "opens",
    "early",
    "on",
    "sunday",
    "and",
    "many",
    "people",
    "walk",
    "from",
    "the",
    "central",
    "station",
    "to",
    "see",
    "old",
    "ships",
    "before",
    "they",
    "meet",
    "friends",
    "near",
    "a",
    "small",
    "green",
    "park",
    "where",
    "music",
    "plays",
    "until",
    "late",
    "every",
    "summer",
    "night",
    "while",
    "boats",
    "cross",
    "the",
    "wide",
    "river",
]  # each is one token of the shipped router
LONGEST = 6_000  # characters of a prompt from a file, some 1,500 tokens

TASKS = [
    "A {thing} costs {a} euros and its price rises by {b} percent every {span}. After how many {span}s does it cost more than {c} euros, and why?",
    "Write a short note to my neighbour who wants to borrow my {thing} for {a} days. I would rather not lend it, and I do not want to hurt anyone.",
    "We sell {a} {thing}s a {span}. Which of these belongs on the poster for our anniversary: the number, the {thing}, or the street where it began?",
    "Prove that among any {a} integers there are two whose difference is divisible by {b}, and say what changes when there are {c} of them.",
    "Translate into French, and keep it polite: my {thing} was delivered {a} days late, it is broken, and I would like my {c} euros back this {span}.",
    "Our script reads {a} files of {b} megabytes each {span} and needs {c} minutes. Where would you look first, and what would you measure?",
    "What should I pack when I travel with a {thing} and {a} children for one {span}, and what can be left at home without regret?",
]
THINGS = [
    "bicycle",
    "piano",
    "telescope",
    "kettle",
    "lamp",
    "drill",
    "violin",
    "tent",
    "camera",
    "ladder",
    "boat",
    "sewing machine",
]
SPANS = ["week", "month", "year", "season"]


def generated(seed: int):
    """Generates different prompts of about 40 tokens, without end."""
    rng = random.Random(seed)
    while True:
        text = rng.choice(TASKS)
        a, b, c = (rng.randint(2, 9_999) for _ in "abc")
        yield text.format(thing=rng.choice(THINGS), span=rng.choice(SPANS), a=a, b=b, c=c)


def read(folder: pathlib.Path) -> list[str]:
    """The prompts of every *.jsonl file in a folder (`text`, `question`, or the first of `turns`), shuffled."""
    prompts = []
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n"):  # not splitlines, because texts contain other line separators
            row = json.loads(line or "{}")
            text = row.get("text") or row.get("question") or row.get("turns", [""])[0]
            prompts += [text] if 0 < len(text) <= LONGEST else []
    if not prompts:
        raise SystemExit(f"there are no prompts in {folder}")
    random.Random(0).shuffle(prompts)
    return prompts


def new(folder: pathlib.Path | None):
    """Endless different prompts: generated ones, or those of a folder again and again with a number in front."""
    if folder is None:
        return generated(seed=0)
    return (f"#{number}: {text}" for number, text in enumerate(itertools.cycle(read(folder))))


def of_tokens(count: int, rng: random.Random) -> str:
    """A random prompt of about `count` tokens."""
    return " ".join(rng.choices(WORDS, k=count))


def chat(prompt: str, **more) -> str:
    """A chat request. With `reasoning_effort` the client has chosen the mode, so thinkgate does not decide."""
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": prompt}]} | more, separators=(",", ":"))

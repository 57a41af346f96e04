"""Generates ordering puzzles: things in a row or by rank, clues about them, and a question that needs reasoning.

Wording, length, introduction and form of the answer vary independently. `reading` generates the direct counterpart: the same kind
of text with a request about the text itself, such as a summary.
"""

import itertools
import random

from .puzzles import ANIMALS, COLOURS, FRUITS, INSTRUMENTS, NAMES, NUMBER_WORDS, ORDINALS, THINGS, listing, pick

# The sentence that introduces the things, the things, two wordings of the relation, and the names of both ends.
SCENES = [
    ("{n} runners take part in a cross-country race", NAMES, "finished ahead of", "finished behind", "first", "last"),
    ("{n} golfers played a round in the rain", NAMES, "finished above", "finished below", "first", "last"),
    ("there are {n} books on a shelf by the window", [f"{c} book" for c in COLOURS], "is to the left of", "is to the right of", "leftmost", "rightmost"),
    ("{n} birds have settled on a wire", ANIMALS[:10], "sits left of", "sits right of", "leftmost", "rightmost"),
    ("a dealer shows {n} vehicles in his yard",
     "tractor|bus|limousine|van|motorbike|lorry|convertible|hatchback|sedan|station wagon|pick-up|minivan".split("|"),
     "is newer than", "is older than", "newest", "oldest"),
    ("a greengrocer sells {n} kinds of produce", FRUITS, "cost less than", "cost more than", "the cheapest", "the dearest"),
    ("{n} friends compare how tall they are", NAMES, "is shorter than", "is taller than", "the shortest", "the tallest"),
    ("{n} people live in one house, each on a floor of their own", NAMES, "lives below", "lives above", "lowest", "highest"),
    ("{n} parcels stand on the scales one after the other", [f"{c} parcel" for c in COLOURS], "is lighter than", "is heavier than", "the lightest", "the heaviest"),
    ("{n} trains reach the junction in the evening", [f"train from {c}" for c in "Oslo Lima Cairo Porto Turin Hanoi Riga Ghent Bern Leeds".split()],
     "arrived before", "arrived after", "first", "last"),
    ("the jury of a contest gave marks to {n} instruments", INSTRUMENTS, "scored higher than", "scored lower than", "best", "worst"),
    ("{n} candidates stood for mayor", NAMES, "got more votes than", "got fewer votes than", "the winner", "the last"),
    ("an archaeologist has dated {n} finds", THINGS, "is younger than", "is older than", "the youngest", "the oldest"),
    ("{n} talks are planned for one afternoon", [f"talk on {x}" for x in "soil|light|glass|bees|rivers|salt|maps|bread|wind|paper".split("|")],
     "comes before", "comes after", "first", "last"),
    ("{n} bottles stand in a row on the bar", [f"{c} bottle" for c in COLOURS], "is left of", "is right of", "at the left end", "at the right end"),
    ("{n} villages lie along a river", "Alder Brook|Stony Ford|Millham|Eastwick|Long Marsh|Oxley|Thornby|Kettle End|Wren Hill".split("|"),
     "lies upstream of", "lies downstream of", "nearest the source", "nearest the sea"),
]  # fmt: skip
BEFORE = """Please read the paragraph and answer the question that follows it.
A small puzzle from a newspaper:
You are given some facts.
My teacher gave us this one for the weekend.
From a set of old exam papers:
I overheard this on the bus.
Facts first, question after.""".split("\n")
AFTER = """Which of these statements is true?
Which one must be the case?
What can we be certain of?
Choose the right statement.
Only one of the following follows from the above. Which?
Mark the statement that is supported by all the clues.""".split("\n")


def introduction(r: random.Random) -> str:
    """A sentence that introduces the puzzle, or nothing. Formal ones are composed of parts."""
    kind = r.random()
    if kind < 0.25:
        return ""
    if kind < 0.4:
        return r.choice(BEFORE)
    text = r.choice("text|paragraph|passage|description|account|story|section|note".split("|"))
    where = r.choice(["below", "that follows", "underneath", "after this sentence", "in the next lines", "given here"])
    what = r.choice(
        ["objects", "things", "people or objects", "items", "elements", "entities", "participants", "several objects", "a group"]
    )
    order = r.choice(
        [
            "in an unchanging order",
            "that are ranked without ties",
            "placed in one certain way",
            "arranged along a line",
            "in sequence",
            "sorted by one property",
        ]
    )
    tells = r.choice(["describes", "tells of", "is about", "concerns", "presents", "lists", "deals with"])
    opening = r.choice(
        [
            f"The {text} {where} {tells} {what} {order}.",
            f"Each {text} {where} {tells} {what} {order}.",
            f"You will see a {text} which {tells} {what} {order}.",
            f"In this {text}, {what} are mentioned {order}.",
            f"What follows is a {text}: it {tells} {what} {order}.",
        ]
    )
    statements = r.choice(["statements", "sentences", "claims", "clues", "facts", "remarks", "lines"])
    sound = r.choice(
        [
            f"No two of its {statements} contradict each other.",
            f"All {statements} agree with one another.",
            f"The {statements} in it are true.",
            f"Its {statements} fit together without contradiction.",
            f"Within it, every one of the {statements} is compatible with the rest.",
            f"Take the {statements} as given.",
            "",
            "",
        ]
    )
    parts = [p for p in (opening, sound) if p]
    if r.random() < 0.2:
        parts.reverse()
    return " ".join(parts)


def article(thing: str) -> str:
    """The thing with `the`, unless it is a name."""
    return thing if thing[0].isupper() else f"the {thing}"


def opening_of_scene(r: random.Random) -> tuple[str, list[str], tuple]:
    """The opening sentence of a random scene, its things in order, and the scene."""
    scene = r.choice(SCENES)
    n = r.randint(3, 7)
    things = pick(r, scene[1], n)
    opening = scene[0].replace("{n}", r.choice([NUMBER_WORDS[n], NUMBER_WORDS[n], str(n)]))
    named = [x if x[0].isupper() else f"{'an' if x[0] in 'aeiou' else 'a'} {x}" if r.random() < 0.9 else x for x in things]
    shuffled = named[:]
    r.shuffle(shuffled)
    place = r.choice(["", "", "In a small town, ", "Last Saturday, ", "This year, ", "At the club, ", "As every autumn, "])
    text = place + opening + r.choice([": ", ", namely ", " - ", ". They are: "]) + listing(shuffled) + "."
    return text[0].upper() + text[1:], things, scene


def clues(r: random.Random, things: list[str], scene: tuple) -> list[str]:
    """Statements about neighbours or about a place in the order. They usually determine the order."""
    made = []
    for a, b in itertools.pairwise(things):
        a, b = article(a), article(b)
        made.append(f"{a} {scene[2]} {b}" if r.random() < 0.5 else f"{b} {scene[3]} {a}")
    if len(things) > 3 and r.random() < 0.7:
        i = r.randrange(len(things))
        made[r.randrange(len(made))] = f"{article(things[i])} is {place_of(r, i, len(things), scene)}"
    r.shuffle(made)
    if r.random() < 0.2:
        made.insert(
            r.randrange(len(made)), r.choice(["nobody was disqualified", "no two are equal", "there are no gaps between them"])
        )
    return [c[0].upper() + c[1:] for c in made]


def place_of(r: random.Random, i: int, n: int, scene: tuple) -> str:
    """The name of a place in the order, counted from either end."""
    if i == 0:
        return scene[4]
    if i == n - 1:
        return scene[5]
    if r.random() < 0.5:
        return f"the {ORDINALS[i]} counted from {scene[4]}"
    return r.choice(
        [f"{ORDINALS[n - 1 - i]} from {scene[5]}", f"in position {i + 1}", f"{NUMBER_WORDS[i + 1]} places from {scene[4]}"]
    )


def ordering(r: random.Random) -> str:
    """Clues to an order, and a question that needs most of them."""
    opening, things, scene = opening_of_scene(r)
    joint = r.choice([". ", ". ", ". ", "; ", ".\n"])
    body = joint.join(clues(r, things, scene)) + "."
    before = introduction(r)
    start = (before + r.choice([" ", "\n", "\n\n"]) if before else "") + opening + r.choice([" ", " ", "\n"]) + body
    form = r.random()
    if form < 0.55:  # statements to choose from
        same = r.random() < 0.5
        i = r.randrange(len(things))
        said = [f"{article(t)} is {place_of(r, i if same else j, len(things), scene)}" for j, t in enumerate(things)]
        r.shuffle(said)
        marks = r.choice(["({}) ", "{}. ", "{}) ", "- "])
        lines = "\n".join(marks.replace("{}", chr(65 + j)) + x[0].upper() + x[1:] + r.choice(["", "."]) for j, x in enumerate(said))
        ask = r.choice(AFTER) if r.random() < 0.6 else ""
        return start + (" " + ask if ask else "") + "\n" + r.choice(["Options:\n", "", "Statements:\n"]) + lines
    if form < 0.75:  # one of them to name
        return start + " " + r.choice(
            [
                f"Which one is {place_of(r, r.randrange(len(things)), len(things), scene)}?",
                f"Who or what comes directly after {article(r.choice(things))}?",
                f"What lies between {article(things[0])} and {article(things[-1])}?",
                "List them in order.",
                "Write down the whole order, from one end to the other.",
                f"How many of them come before {article(r.choice(things))}?",
            ]
        )  # fmt: skip
    a, b = pick(r, things, 2)
    return (
        start
        + " "
        + r.choice(
            [
                f"True or false: {article(a)} {scene[2]} {article(b)}.",
                f"Is it certain that {article(a)} {scene[3]} {article(b)}?",
                f"Can {article(a)} be {place_of(r, r.randrange(len(things)), len(things), scene)}? Yes or no.",
                f"If {article(a)} and {article(b)} changed places, which one would be {scene[4]}?",
            ]
        )
    )


def reading(r: random.Random) -> str:
    """The same kind of text with a request that needs no reasoning."""
    opening, things, scene = opening_of_scene(r)
    body = ". ".join(clues(r, things, scene)) + "."
    before = introduction(r)
    start = (before + " " if before else "") + opening + " " + body
    return r.choice(
        [
            start + "\nTranslate this into Spanish.",
            start + "\nRewrite the text in a friendlier tone.",
            start + f"\nWhich word describes {article(things[0])} in the first sentence?",
            "Correct the punctuation only: " + start,
            start + "\n\nWrite a title for this paragraph.",
            "Turn this into bullet points:\n" + start,
            start + " How many sentences is that? Just roughly, is it short or long?",
            "Summarise in one line. " + start,
            f"Capitalise every name in the following. {start}",
        ]
    )

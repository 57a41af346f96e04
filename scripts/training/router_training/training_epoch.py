"""Draws the prompts of a training epoch: from each source its share, generated prompts, and a random variation of each."""

import random

from .data import PER_EPOCH, Prompt
from .prompts import deliberate, handwritten, languages, orderings, puzzles, short
from .prompts.augment import SHORT_BEFORE, augment, conversation

# Generated prompts of an epoch by kind. They are fewer than the real ones, because a model that sees a template often learns it.
GENERATED = {
    "puzzles": 2400,
    "orderings": 700,
    "deliberate": 1800,
    "short": 1800,
    "handwritten": 1300,
    "voices": 3200,
    "languages": 1500,
    "follow_ups": 500,
}
MMLU_WITH_OPTIONS = 0.35  # the share of its questions that are drawn a second time with their answer choices; alone they are harder
OFTEN = {"arena_hard": 2, "simpleqa": 2, "frames": 2}  # small sources, unlike the others, are repeated
EASY_FOLLOW_UPS = """Now make it shorter.
Rewrite it as a poem.
Translate that into French.
Add a title.
Make it more formal.
Can you put that in JSON?
thanks, now in bullet points
Change the ending.
Say that again, simpler.
Give me one more example.
Use fewer commas.
Remove the last sentence.
Write it from her point of view.
Swap the first two lines.
Rephrase your previous answer in two sentences.
Do the same for the second paragraph.
Can you make it rhyme?
Start each line with the letter B.
Put it in a table, please.
Great, now write the email.
shorter
in Spanish please
Turn that into a tweet.
What does the second word mean?
Add the type hints.
Repeat it without the numbers.
Make the tone friendlier.
Take your last answer and leave out every adjective.
Write the whole thing again as a dialogue.
Now the same in Python.
What was the name again?
ok, and who wrote it?
Give me the list again, sorted.
Replace his name with hers.
Summarise what you just said in one line.
Continue the story.
Pretend to be a pirate and say it again.""".split("\n")
HARD_FOLLOW_UPS = """What if the second number were twice as large?
Can it be done in linear time? Prove it.
Now assume three of them lie instead.
What would change if the budget were halved?
Why does that fail when both are negative?
Find the flaw in your argument.
And what is the probability of the opposite?
How long would it take with five of them?
Is there a counterexample?
Which of your assumptions matters most, and what happens without it?
Generalise it to n.
What if the last one leaves before the first arrives?
But then why does it still happen after the restart?
What if the first two conditions are swapped: how many solutions remain?
Suppose the price doubles. Does your recommendation still stand, and why?
If x is now between 0 and 5, what is the largest value?
How would the plan change with only two people?
What is wrong with the approach you just gave, and how would you repair it?
Use that to work out how much is left after the third year.
Are there any other explanations that fit all of it?
Now prove the converse.
And if she started an hour later, when would they meet?
Which of the two would you choose if the risk were shared? Justify it.
Does this also hold if the graph has cycles?
What are the odds if we draw without putting back?
What would your strongest critic say, and what would you answer?
Reconsider: the log shows the lock was held by another process.
How much does the total change if we drop the cheapest one?""".split("\n")


def generated(r: random.Random, kind: str) -> Prompt:
    """A random generated prompt of a kind."""
    if kind == "puzzles":
        text, label, name = puzzles.draw(r)
        return Prompt(text, label, f"puzzle:{name}")
    if kind == "short":
        text, label, name = short.draw(r)
        return Prompt(text, label, f"ask:{name}")
    if kind == "deliberate":
        text, label = deliberate.draw(r)
        return Prompt(text, label, "deliberate" if label > 0.5 else "plain")
    if kind == "handwritten":
        text, label = handwritten.draw(r)
        return Prompt(text, label, "written")
    if kind == "voices":
        text, label = handwritten.voice(r)
        return Prompt(text, label, "voices")
    if kind == "orderings":
        return (
            Prompt(orderings.ordering(r), 0.95, "ordering")
            if r.random() < 0.75
            else Prompt(orderings.reading(r), 0.06, "ordering:text")
        )
    text, label, language = languages.draw(r)
    return Prompt(text, label, f"language:{language}")


def generated_texts(count: int) -> list[str]:
    """Generated texts for distillation. They use no list that still grows, so that a distillation stays valid."""
    r = random.Random(99)
    return [generated(r, r.choice(["puzzles", "orderings", "deliberate", "short"])).text for _ in range(count)]


def follow_up(r: random.Random, earlier: Prompt) -> Prompt:
    """A short second turn, alone or after an earlier one."""
    text, label = (r.choice(EASY_FOLLOW_UPS), 0.06) if r.random() < 0.5 else (r.choice(HARD_FOLLOW_UPS), 0.92)
    return Prompt(conversation(r, earlier.text[:400], text) if r.random() < 0.5 else text, label, "follow_up")


def draw(train: list[Prompt], seed: int, without: frozenset[str] = frozenset(), scale: float = 1.0) -> list[Prompt]:
    """The prompts of an epoch. `without` names generated kinds to leave out, such as `puzzle:walking`."""
    r = random.Random(seed)
    by_source: dict[str, list[Prompt]] = {}
    for prompt in train:
        by_source.setdefault(prompt.source, []).append(prompt)
    chosen: list[Prompt] = []
    for source, prompts in by_source.items():
        n = min(len(prompts), PER_EPOCH.get(source, len(prompts)))
        chosen += r.sample(prompts, max(1, int(n * scale))) * OFTEN.get(source, 1)
    for kind, count in GENERATED.items():
        for _ in range(int(count * scale)):
            prompt = follow_up(r, r.choice(chosen)) if kind == "follow_ups" else generated(r, kind)
            if prompt.source not in without:
                chosen.append(prompt)
    easy = [p for p in chosen if len(p.text) < 200]
    epoch = []
    for prompt in chosen:
        with_options = [False]
        if prompt.source == "mmlu_pro":
            with_options += [True] * (r.random() < MMLU_WITH_OPTIONS)
        elif prompt.options:
            with_options = [r.random() < 0.5]
        for options in with_options:
            text = augment(r, prompt.full(r.random() < 0.7) if options else prompt.text)
            if r.random() < 0.04 and len(text) < 500:
                text = conversation(r, r.choice([*SHORT_BEFORE, r.choice(easy).text]), text)
            epoch.append(Prompt(text, prompt.label, prompt.source, (), prompt.subject))
    return epoch

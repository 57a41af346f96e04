"""Draws an epoch of training: sources in their shares, generated prompts, and each in one of many clothes."""

import random

from . import deliberate, languages, puzzles, written
from .augment import SHORT_BEFORE, augment, conversation
from .data import PER_EPOCH, Prompt

GENERATED = {"puzzles": 4500, "deliberate": 6000, "written": 2500, "languages": 2500, "follow_ups": 500}
EASY_FOLLOW_UPS = ["Now make it shorter.", "Rewrite it as a poem.", "Translate that into French.", "Add a title.", "Make it more formal.", "Can you put that in JSON?", "thanks, now in bullet points", "Change the ending.", "Say that again, simpler.", "Give me one more example.", "Use fewer commas.", "Remove the last sentence.", "Write it from her point of view.", "Swap the first two lines."]
HARD_FOLLOW_UPS = ["What if the second number were twice as large?", "Can it be done in linear time? Prove it.", "Now assume three of them lie instead.", "What would change if the budget were halved?", "Why does that fail when both are negative?", "Find the flaw in your argument.", "And what is the probability of the opposite?", "How long would it take with five of them?", "Is there a counterexample?", "Which of your assumptions matters most, and what happens without it?", "Generalise it to n.", "What if the last one leaves before the first arrives?"]


def generated(r: random.Random, kind: str) -> Prompt:
    """One prompt from the generators."""
    if kind == "puzzles":
        text, label, name = puzzles.draw(r)
        return Prompt(text, label, f"puzzle:{name}")
    if kind == "deliberate":
        text, label, subject = deliberate.draw(r)
        return Prompt(text, label, "deliberate" if label > 0.5 else "plain", subject=None)
    if kind == "written":
        text, label = written.draw(r)
        return Prompt(text, label, "written")
    text, label, language = languages.draw(r)
    return Prompt(text, label, f"language:{language}")


def follow_up(r: random.Random, earlier: Prompt) -> Prompt:
    """A short second ask under an earlier one."""
    if r.random() < 0.5:
        return Prompt(conversation(r, earlier.text[:400], r.choice(EASY_FOLLOW_UPS)), 0.08, "follow_up")
    return Prompt(conversation(r, earlier.text[:400], r.choice(HARD_FOLLOW_UPS)), 0.9, "follow_up")


def draw(train: list[Prompt], seed: int, without: frozenset[str] = frozenset(), scale: float = 1.0) -> list[Prompt]:
    """An epoch, in no order. `without` names generated kinds (`puzzle:walking`) to leave out."""
    r = random.Random(seed)
    by_source: dict[str, list[Prompt]] = {}
    for prompt in train:
        by_source.setdefault(prompt.source, []).append(prompt)
    chosen: list[Prompt] = []
    for source, prompts in by_source.items():
        n = min(len(prompts), PER_EPOCH.get(source, len(prompts)))
        small = len(prompts) < 900  # few, and none is like another
        chosen += r.sample(prompts, n if small else max(1, int(n * min(1.0, scale * (2.2 if source == "mmlu_pro" else 1.0)))))
    for kind, count in GENERATED.items():
        for _ in range(int(count * scale)):
            if kind == "follow_ups":
                chosen.append(follow_up(r, r.choice(chosen)))
                continue
            prompt = generated(r, kind)
            if prompt.source not in without:
                chosen.append(prompt)
    easy = [p for p in chosen if len(p.text) < 200]
    epoch = []
    for prompt in chosen:
        text = prompt.full(r.random() < 0.7) if prompt.options and r.random() < 0.5 else prompt.text
        text = augment(r, text)
        if r.random() < 0.06 and len(text) < 600:
            text = conversation(r, r.choice([*SHORT_BEFORE[0], r.choice(SHORT_BEFORE)[0], r.choice(easy).text]), text)
        epoch.append(Prompt(text, prompt.label, prompt.source, (), prompt.subject))
    return epoch

"""The data and the prompts of training: deterministic, and nothing that is held out is trained on."""

import random

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from router_training import data, training_epoch
from router_training.encoding import encode
from router_training.prompts import languages, puzzles

TRAIN = [
    data.Prompt("What is the capital of Peru?", 0.02, "clinc150"),
    data.Prompt("Prove that 7 is prime.", 0.97, "math"),
    data.Prompt("Which gas is a product?", 0.9, "mmlu_pro", ("oxygen", "neon"), "chemistry", 0.6),
]


def test_the_part_of_a_text_does_not_depend_on_case_and_punctuation():
    assert data.split("What is 2 + 2?") == data.split("WHAT IS 2 + 2")
    parts = [data.split(f"prompt number {n}") for n in range(2000)]
    assert parts.count("test") == pytest.approx(200, abs=40)
    assert parts.count("valid") == pytest.approx(200, abs=40)


def test_an_epoch_depends_on_its_seed_only():
    first, again, other = (training_epoch.draw(TRAIN, seed, scale=0.05) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_kinds_that_are_left_out_are_not_drawn():
    without = frozenset(["puzzle:walking", "voices"])
    drawn = {prompt.source for prompt in training_epoch.draw(TRAIN, 3, without, scale=0.2)}
    assert not drawn & without
    assert "puzzle:swaps" in drawn


def test_labels_are_probabilities():
    assert all(0 <= prompt.label <= 1 for prompt in training_epoch.draw(TRAIN, 4, scale=0.2))


def test_held_out_prompts_are_not_generated_for_training():
    assert not set(puzzles.KINDS) & set(puzzles.HELD_OUT)
    for table in (languages.REASONING, languages.DIRECT):
        for language in table:
            assert not set(languages.entries(language, table, False)) & set(languages.entries(language, table, True))


def test_a_long_text_keeps_its_head_and_its_tail():
    tokenizer = Tokenizer(models.WordLevel({f"w{n}": n for n in range(100)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = " ".join(f"w{n}" for n in range(100))
    assert encode(tokenizer, [text, "w5 w6"], 7) == [[0, 1, 2, 96, 97, 98, 99], [5, 6]]


def test_random_generators_return_a_prompt_for_every_kind():
    r = random.Random(1)
    for kind in [*puzzles.KINDS, *puzzles.HELD_OUT]:
        assert all(kind(r).strip() for _ in range(20)), kind.__name__

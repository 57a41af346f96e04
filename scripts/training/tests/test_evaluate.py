"""`evaluate` measures the shipped classifier as the gateway runs it."""

import pytest

from router_training import evaluate, metrics

SHIPPED = evaluate.FIXTURES.parents[1] / "onnx/router"


@pytest.fixture(scope="module")
def classifier() -> evaluate.Classifier:
    return evaluate.Classifier(SHIPPED)


def test_the_shipped_classifier_separates_everyday_prompts(classifier):
    report = evaluate.everyday(classifier, evaluate.FIXTURES / "everyday_frozen.jsonl")
    assert report["balanced accuracy"] > 0.9
    assert report["auc"] > 0.95


def test_it_knows_the_tokens_of_held_out_languages(classifier):
    by_language = metrics.languages_held_out(classifier)
    assert {"zh", "de"} <= by_language.keys()
    assert all(language["unknown tokens"] < 0.05 for language in by_language.values())

"""The early exit of a graph answers some texts before the layers, on small random models."""

import numpy as np
import onnx
import pytest
import torch
from small_models import VOCABULARY, exported, random_rows, small_model

from router_training import early_exit, export, finetune, fuse, int8
from router_training.early_exit_graph import ExitRule, ExitWriter, with_threshold
from router_training.graph import Mismatch
from router_training.model import Exit

# Some are long enough for attention in blocks.
TEXTS = random_rows([1, 3, 16, 31, 50, 64, 95, 96, 100, 127, 129, 160, 191, 193, 230, 256])
EXCERPT, SHARE = 33, 0.7
ANY_SUBJECT = ExitRule(min_subject=0, no_subject=0, excerpt_tokens=EXCERPT, layers_share=SHARE)
SHAPES = ["window of 16", "no windows"]


class Case:
    """A graph without an exit, an exit of random weights, and the graph with that exit."""

    def __init__(self, shape: str):
        self.plain, _ = fuse.fuse(int8.quantise(exported(shape), random_rows([40, 9, 130])))
        torch.manual_seed(3)
        self.subjects = len(small_model(shape).config.domain_labels)
        self.exit = Exit(32, self.subjects).eval()
        with torch.no_grad():
            self.exit.out.weight.mul_(40)
            self.exit.norm.running_mean.uniform_(-0.2, 0.2)
            self.exit.norm.running_var.uniform_(0.5, 2)
        self.model = self.with_exit(1, ANY_SUBJECT)

    def with_exit(self, threshold: float, rule: ExitRule) -> onnx.ModelProto:
        return ExitWriter(self.plain, self.exit).write(threshold, rule)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {shape: Case(shape) for shape in SHAPES}


@pytest.fixture(params=SHAPES)
def case(request, cases) -> Case:
    return cases[request.param]


def answers(model: onnx.ModelProto, texts=TEXTS) -> list:
    """Both outputs for each text, alone in its batch."""
    return export.run(export.session(model.SerializeToString()), texts)


def excerpt(text: list[int]) -> list[int]:
    """What the layers read of a text that does not leave at the exit."""
    return text if len(text) <= EXCERPT else text[: EXCERPT // 2] + text[-(EXCERPT - EXCERPT // 2) :]


def combined(case: Case, texts=TEXTS, model: onnx.ModelProto | None = None) -> list:
    """The expected outputs for texts that do not leave: a weighted mean of the exit's and the layers' logits."""
    shares = [SHARE * min(1, EXCERPT / len(text)) for text in texts]
    by_exit = answers(with_threshold(model or case.model, 0), texts)
    by_layers = answers(case.plain, [excerpt(text) for text in texts])
    return [
        [(1 - share) * early + share * late for early, late in zip(a, b, strict=True)]
        for a, b, share in zip(by_exit, by_layers, shares, strict=True)
    ]


def largest_difference(some, others) -> float:
    """The largest difference of a logit."""
    return max(float(np.abs(a - b).max()) for x, y in zip(some, others, strict=True) for a, b in zip(x, y, strict=True))


def probability_of_gap(gap: float) -> float:
    """The probability of the likelier of two classes whose logits differ by `gap`."""
    return float(1 / (1 + np.exp(-gap)))


def test_unsure_texts_get_the_mean_of_exit_and_layers(case):
    assert largest_difference(combined(case), answers(case.model)) < 1e-5


def test_sure_texts_get_what_pytorch_computes_for_the_exit(case):
    table = early_exit.embeddings(case.plain, VOCABULARY)
    for text, (logits, subjects) in zip(TEXTS, answers(with_threshold(case.model, 0)), strict=True):
        ids, mask = finetune.pad([text])
        with torch.no_grad():
            want = case.exit(table[ids], mask.float())[0].numpy()
        # The graph's products are integers.
        assert abs(want[0] - (logits[1] - logits[0])) < 0.2
        assert np.abs(want[1:] - subjects).max() < 0.2


def test_in_a_mixed_batch_each_text_gets_the_answer_that_it_gets_alone(case):
    gaps = np.sort([abs(float(logits[1] - logits[0])) for logits, _ in answers(with_threshold(case.model, 0))])
    middle = with_threshold(case.model, probability_of_gap(gaps[len(gaps) // 2 - 1 : len(gaps) // 2 + 1].mean()))
    by_layers = sum(largest_difference([a], [b]) < 1e-5 for a, b in zip(answers(middle), combined(case), strict=True))
    assert by_layers == len(TEXTS) // 2
    assert export.batch_difference(export.session(middle.SerializeToString()), TEXTS, [1]) < 1e-6


@pytest.mark.parametrize("no_subject", range(3))
def test_a_text_of_unsure_subject_stays_unless_it_likely_has_none(cases, no_subject):
    case = cases["window of 16"]
    by_exit, by_layers = answers(with_threshold(case.model, 0)), combined(case)
    subjects = np.array([export.softmax(s) for _, s in by_exit])
    gaps = np.array([abs(logits[1] - logits[0]) for logits, _ in by_exit])
    least = float(np.sort(gaps)[4])
    min_subject = float(np.median(subjects.max(1)))
    leaves = (gaps > least) & ((subjects.max(1) >= min_subject) | (subjects.argmax(1) == no_subject))
    got = answers(case.with_exit(probability_of_gap(least + 1e-5), ExitRule(min_subject, no_subject, EXCERPT, SHARE)))
    want = [early if leave else late for early, late, leave in zip(by_exit, by_layers, leaves, strict=True)]
    assert largest_difference(want, got) < 1e-5
    assert 0 < leaves.sum() < len(TEXTS)


def test_a_graph_that_cannot_take_an_exit_is_refused(cases):
    case = cases["window of 16"]
    with pytest.raises(Mismatch, match="has an exit"):
        ExitWriter(case.model, case.exit)
    with pytest.raises(Mismatch, match="in blocks"):
        case.with_exit(1, ExitRule(min_subject=0, no_subject=0, excerpt_tokens=96, layers_share=SHARE))
    floats = onnx.ModelProto()
    floats.CopyFrom(case.plain)
    for node in floats.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = name.replace("_u8", "_other")
    with pytest.raises(Mismatch, match="no quantised embeddings"):
        ExitWriter(floats, case.exit)


def test_the_threshold_is_the_lowest_within_the_budget():
    whole = np.array([0.9] * 98 + [0.2, 0.2])
    exits = np.array([0.95] * 90 + [0.8] * 8 + [0.72, 0.86])
    known = np.ones(100, bool)
    assert early_exit.choose_threshold(exits, whole, known, 0.02)[0] == 0.70
    sure, report = early_exit.choose_threshold(exits, whole, known, 0.01)
    assert (sure, report["changed"]) == (0.73, 0.01)
    assert report["exits"] == pytest.approx(0.99)
    assert early_exit.choose_threshold(exits, whole, known, 0.0)[0] == 0.87


def test_padding_alone_never_leaves_at_a_trained_exit(cases):
    case = cases["window of 16"]
    texts = random_rows([5, 9, 20, 40]) * 40
    teacher = early_exit.Predictions(
        texts, np.array([0.01, 0.99] * 80, np.float32), np.full((160, case.subjects), 1 / case.subjects, np.float32)
    )
    exit = early_exit.fit(teacher, early_exit.embeddings(case.plain, VOCABULARY), 0, epochs=30)
    model = ExitWriter(case.plain, exit).write(0.8, ANY_SUBJECT)
    blank = [[0] * n for n in (1, 9, 60)]
    assert largest_difference(answers(model, blank), combined(case, blank, model)) < 1e-5
    assert largest_difference(answers(model, texts[:2]), combined(case, texts[:2], model)) > 0.01

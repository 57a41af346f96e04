"""What early.py and early_graph.py promise, on small random models: run with `python -m unittest scripts/router/test_early.py`."""

import contextlib
import io
import sys
import unittest
from pathlib import Path

import numpy as np
import onnx
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import export_onnx  # noqa: E402
from router import early, finetune, fuse, int8  # noqa: E402
from router.early_graph import Rule, Writer, at  # noqa: E402
from router.graph import Mismatch  # noqa: E402
from router.model import Exit  # noqa: E402
from router.test_fuse import VOCABULARY, exported, quietly, rows, small  # noqa: E402

TEXTS = rows([1, 3, 16, 31, 50, 64, 95, 96, 100, 127, 129, 160, 191, 193, 230, 256])  # some are long enough for blocks of attention
READ, SHARE = 33, 0.7
ANYHOW = Rule(named=0, unnamed=0, read=READ, share=SHARE)
SHAPES = [
    {"local_attention": 32, "domain_labels": ["a", "b", "c"]},
    {"local_attention": 2, "global_attn_every_n_layers": 1, "domain_labels": ["a", "b"]},  # no windows, so no padding to blocks
]


def answers(model: onnx.ModelProto, texts=TEXTS) -> list:
    """Both outputs of each text alone."""
    return export_onnx.run(export_onnx.session(model.SerializeToString()), texts)


def excerpt(text: list[int]) -> list[int]:
    """What the layers read of a text of which the exit is not sure."""
    return text if len(text) <= READ else text[: READ // 2] + text[-(READ - READ // 2) :]


def together(model: onnx.ModelProto, plain: onnx.ModelProto, texts=TEXTS) -> list:
    """What is to be said of texts of which the exit is not sure: by it, and by the layers without it."""
    shares = [SHARE * min(1, READ / len(text)) for text in texts]
    both = zip(answers(at(model, 0), texts), answers(plain, [excerpt(text) for text in texts]), shares, strict=True)
    return [[(1 - share) * a + share * b for a, b in zip(early, late, strict=True)] for early, late, share in both]


def furthest(these, others) -> float:
    """The largest difference of a logit."""
    return max(float(np.abs(a - b).max()) for x, y in zip(these, others, strict=True) for a, b in zip(x, y, strict=True))


class Early(unittest.TestCase):
    """Graphs with an exit of random weights."""

    @classmethod
    def setUpClass(cls):
        cls.models = []
        with quietly() as scratch:
            for shape in SHAPES:
                plain = fuse.fuse(int8.quantise(exported(small(**shape), scratch), rows([40, 9, 130])))[0]
                learnt = Exit(32, len(shape["domain_labels"])).eval()
                with torch.no_grad():
                    learnt.out.weight.mul_(40)
                    learnt.norm.running_mean.uniform_(-0.2, 0.2)
                    learnt.norm.running_var.uniform_(0.5, 2)
                cls.models.append((plain, learnt, Writer(plain, learnt).write(1, ANYHOW)))

    def test_unsure_texts_are_answered_by_the_exit_and_by_layers_that_read_their_ends(self):
        for plain, _, model in self.models:
            self.assertLess(furthest(together(model, plain), answers(model)), 1e-5)

    def test_sure_texts_are_answered_as_pytorch_answers_them(self):
        for plain, learnt, model in self.models:
            table = early.embeddings(plain, VOCABULARY)
            for text, (logits, subjects) in zip(TEXTS, answers(at(model, 0)), strict=True):
                ids, mask = finetune.pad([text])
                with torch.no_grad():
                    want = learnt(table[ids], mask.float())[0].numpy()
                self.assertLess(abs(want[0] - (logits[1] - logits[0])), 0.2)  # its products are integers in the graph
                self.assertLess(np.abs(want[1:] - subjects).max(), 0.2)

    def test_in_a_batch_of_both_each_has_the_answer_that_it_has_alone(self):
        for plain, _, model in self.models:
            gaps = np.sort([abs(float(logits[1] - logits[0])) for logits, _ in answers(at(model, 0))])
            middle = at(model, float(1 / (1 + np.exp(-gaps[len(gaps) // 2 - 1 : len(gaps) // 2 + 1].mean()))))
            alone = answers(middle)
            by_layers = sum(furthest([a], [b]) < 1e-5 for a, b in zip(alone, together(model, plain), strict=True))
            self.assertEqual(by_layers, len(TEXTS) // 2)
            self.assertLess(export_onnx.batch_difference(export_onnx.session(middle.SerializeToString()), TEXTS, [1]), 1e-6)

    def test_a_text_whose_subject_is_unsure_goes_on_unless_it_is_likeliest_to_have_none(self):
        plain, learnt, model = self.models[0]
        at_the_exit, by_layers = answers(at(model, 0)), together(model, plain)
        subjects = np.array([export_onnx.softmax(s) for _, s in at_the_exit])
        gaps = np.array([abs(logits[1] - logits[0]) for logits, _ in at_the_exit])
        least = float(np.sort(gaps)[4])
        for unnamed in range(3):
            named = float(np.median(subjects.max(1)))
            leaves = (gaps > least) & ((subjects.max(1) >= named) | (subjects.argmax(1) == unnamed))
            got = answers(Writer(plain, learnt).write(float(1 / (1 + np.exp(-least - 1e-5))), Rule(named, unnamed, READ, SHARE)))
            want = [exit if leave else layers for exit, layers, leave in zip(at_the_exit, by_layers, leaves, strict=True)]
            self.assertLess(furthest(want, got), 1e-5)
            self.assertTrue(0 < leaves.sum() < len(TEXTS))

    def test_a_second_exit_one_without_integers_and_long_excerpts_are_refused(self):
        plain, learnt, model = self.models[0]
        with self.assertRaisesRegex(Mismatch, "has an exit"):
            Writer(model, learnt)
        with self.assertRaisesRegex(Mismatch, "in blocks"):
            Writer(plain, learnt).write(1, Rule(named=0, unnamed=0, read=96, share=SHARE))
        floats = onnx.ModelProto()
        floats.CopyFrom(plain)
        for node in floats.graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = name.replace("_u8", "_other")
        with self.assertRaisesRegex(Mismatch, "no quantised embeddings"):
            Writer(floats, learnt)

    def test_the_threshold_is_the_lowest_within_the_budget(self):
        whole = np.array([0.9] * 98 + [0.2, 0.2])
        exits = np.array([0.95] * 90 + [0.8] * 8 + [0.72, 0.86])
        known = np.ones(100, bool)
        self.assertEqual(early.choose(exits, whole, known, 0.02)[0], 0.70)
        sure, report = early.choose(exits, whole, known, 0.01)
        self.assertEqual((sure, report["changed"]), (0.73, 0.01))
        self.assertAlmostEqual(report["exits"], 0.99)
        self.assertEqual(early.choose(exits, whole, known, 0.0)[0], 0.87)

    def test_padding_alone_is_unsure_after_training(self):
        texts = rows([5, 9, 20, 40]) * 40
        taught = early.Taught(texts, np.array([0.01, 0.99] * 80, np.float32), np.full((160, 3), 1 / 3, np.float32))
        plain, _, _ = self.models[0]
        with contextlib.redirect_stdout(io.StringIO()):
            learnt = early.fit(taught, early.embeddings(plain, VOCABULARY), 0, epochs=30)
        model = Writer(plain, learnt).write(0.8, ANYHOW)
        blank = [[0] * n for n in (1, 9, 60)]
        self.assertLess(furthest(answers(model, blank), together(model, plain, blank)), 1e-5)
        self.assertGreater(furthest(answers(model, texts[:2]), together(model, plain, texts[:2])), 0.01)


if __name__ == "__main__":
    unittest.main()

"""What fuse.py promises, on small random models: run with `python -m unittest scripts/router/test_fuse.py`."""

import contextlib
import io
import json
import logging
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper
from tokenizers import Tokenizer, models, pre_tokenizers

sys.path.insert(0, str(Path(__file__).parents[1]))
import export_onnx  # noqa: E402
from router import fuse, int8, model as router_model  # noqa: E402

VOCABULARY = 320  # more than the ids that the export measures with
# Windows to one side: 16, 5 (no multiple of the vectors' width), 1, and 40; heads of 16, 8 and 32.
SHAPES = [
    {},
    {"local_attention": 10, "num_attention_heads": 4, "global_attn_every_n_layers": 3, "num_hidden_layers": 4, "domain_labels": []},
    {"local_attention": 2, "global_attn_every_n_layers": 1, "classifier_pooling": "cls"},
    {"local_attention": 2, "global_attn_every_n_layers": 4},
    {"local_attention": 80, "num_attention_heads": 3, "hidden_size": 96},
]


def small(**overrides):
    """A model with random weights, large enough for scores to differ."""
    torch.manual_seed(3)
    values = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "local_attention": 32,
              "global_attn_every_n_layers": 2, "attn_implementation": "eager", **overrides}
    model = router_model.RouterModel(router_model.config(VOCABULARY, **values)).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 2:
                weights.mul_(5)
    return model


@contextlib.contextmanager
def quietly():
    """An empty folder, and nothing printed meanwhile."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield Path(scratch)


def exported(model, scratch: Path) -> onnx.ModelProto:
    """The model as a graph, fp32 and not rewritten."""
    export_onnx.to_onnx(model, scratch / "model.onnx")
    return onnx.load(scratch / "model.onnx")


def rows(lengths) -> list[list[int]]:
    """Random ids."""
    random = np.random.default_rng(1)
    return [random.integers(4, VOCABULARY, n).tolist() for n in lengths]


class Fused(unittest.TestCase):
    """Each shape as fp32 and int8."""

    @classmethod
    def setUpClass(cls):
        cls.models = []
        with quietly() as scratch:
            for shape in SHAPES:
                model = small(**shape)
                plain = exported(model, scratch)
                for graph in (plain, int8.quantise(plain, rows([40, 9, 130]))):
                    cls.models.append((shape, model, graph, *fuse.fuse(graph)))

    def test_everything_is_found(self):
        for shape, model, _, fused, notes in self.models:
            layers = model.config.num_hidden_layers
            ops = [n.op_type for n in fused.graph.node]
            self.assertEqual([ops.count("Attention"), ops.count("Softmax"), ops.count("Split")], [layers, 0, 0], (shape, notes))

    def test_the_scores_are_those_of_the_plain_graph(self):
        for shape, _, plain, fused, _ in self.models:
            self.assertLess(fuse.difference(plain, fused, VOCABULARY, 260), 2e-5, shape)

    def test_the_scores_are_those_of_pytorch(self):
        for shape, model, plain, fused, _ in self.models:
            if not any(n.op_type == "QuantizeLinear" for n in plain.graph.node):
                some = rows([1, 2, 17, 95, 96, 97, 131, 192, 201, 255, 256])
                self.assertLess(export_onnx.compare(model, export_onnx.session(fused.SerializeToString()), some), 1e-3, shape)

    def test_a_score_does_not_depend_on_its_batch(self):
        # One batch is long enough for blocks, and some of its rows are not.
        some = rows([1, 3, 16, 31, 50, 64, 95, 96, 100, 127, 129, 160, 191, 193, 230, 256])
        for shape, _, _, fused, _ in self.models:
            sess = export_onnx.session(fused.SerializeToString())
            self.assertLess(export_onnx.batch_difference(sess, some, [1]), 1e-6, shape)

    def test_twice_is_once(self):
        _, _, _, fused, _ = self.models[0]
        again, notes = fuse.fuse(fused)
        self.assertEqual([n.op_type for n in again.graph.node], [n.op_type for n in fused.graph.node])
        self.assertIn("left alone", notes[0])

    def test_another_graph_is_left_alone_and_said(self):
        graph = helper.make_graph(
            [helper.make_node("Softmax", ["x"], ["y"]), helper.make_node("Split", ["y"], ["a", "b"], num_outputs=2),
             helper.make_node("Gelu", ["a"], ["c"]), helper.make_node("Mul", ["c", "b"], ["d"])],
            "g", [helper.make_tensor_value_info("x", 1, [2, 4])], [helper.make_tensor_value_info("d", 1, [1, 4])])
        other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
        fused, notes = fuse.fuse(other)
        self.assertEqual(sorted(n.op_type for n in fused.graph.node), sorted(n.op_type for n in graph.node))
        self.assertIn("attention left alone", notes[0])

    def test_an_export_is_fused(self):
        with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()) as said:
            folder = Path(scratch)
            small().save_pretrained(folder / "in")
            made = Tokenizer(models.WordLevel({"[UNK]": 1, "hi": 5, "there": 6}, unk_token="[UNK]"))
            made.pre_tokenizer = pre_tokenizers.Whitespace()
            made.save(str(folder / "in" / "tokenizer.json"))
            report = export_onnx.export(str(folder / "in"), folder / "out", ["hi there", "hi " * 150], True, None)
            ops = [n.op_type for n in onnx.load(folder / "out" / "model.onnx").graph.node]
            self.assertEqual(json.loads((folder / "out" / "config.json").read_text())["thinkgate"]["reasoning_labels"], ["reasoning"])
        self.assertIn("Attention", ops)
        self.assertLess(report["fused_logit_difference"], 1e-4)
        self.assertIn("attention of 3 layers", said.getvalue())


if __name__ == "__main__":
    unittest.main()

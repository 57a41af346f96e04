"""`fuse` makes a graph faster and keeps its scores, on small random models."""

import json

import onnx
import pytest
from onnx import helper
from small_models import SHAPES, VOCABULARY, exported, random_rows, small_model
from tokenizers import Tokenizer, models, pre_tokenizers

from router_training import export, fuse, int8


class Case:
    """A model, its exported graph, and the graph after `fuse`."""

    def __init__(self, shape: str, quantised: bool):
        self.model, graph = small_model(shape), exported(shape)
        self.plain = int8.quantise(graph, random_rows([40, 9, 130])) if quantised else graph
        self.fused, self.notes = fuse.fuse(self.plain)


def case_name(param: tuple[str, bool]) -> str:
    shape, quantised = param
    return f"{shape}, {'int8' if quantised else 'fp32'}"


@pytest.fixture(scope="module", params=[(shape, quantised) for shape in SHAPES for quantised in (False, True)], ids=case_name)
def case(request) -> Case:
    return Case(*request.param)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_every_attention_layer_is_fused(case):
    found = operators(case.fused)
    layers = case.model.config.num_hidden_layers
    assert [found.count("Attention"), found.count("Softmax"), found.count("Split")] == [layers, 0, 0], case.notes


def test_scores_equal_those_of_the_plain_graph(case):
    assert fuse.difference(case.plain, case.fused, VOCABULARY, 260) < 2e-5


# An int8 graph rounds.
@pytest.mark.parametrize("case", [(shape, False) for shape in SHAPES], ids=case_name, indirect=True)
def test_scores_equal_those_of_pytorch(case):
    texts = random_rows([1, 2, 17, 95, 96, 97, 131, 192, 201, 255, 256])
    assert export.compare(case.model, export.session(case.fused.SerializeToString()), texts) < 1e-3


def test_a_score_does_not_depend_on_its_batch(case):
    # One batch is long enough for attention in blocks, and some of its rows are not.
    texts = random_rows([1, 3, 16, 31, 50, 64, 95, 96, 100, 127, 129, 160, 191, 193, 230, 256])
    session = export.session(case.fused.SerializeToString())
    assert export.batch_difference(session, texts, [1]) < 1e-6


def test_fusing_twice_changes_nothing(case):
    again, notes = fuse.fuse(case.fused)
    assert operators(again) == operators(case.fused)
    assert "left alone" in notes[0]


def test_an_unknown_graph_is_left_alone_and_a_note_says_so():
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"]), helper.make_node("Split", ["y"], ["a", "b"], num_outputs=2),
         helper.make_node("Gelu", ["a"], ["c"]), helper.make_node("Mul", ["c", "b"], ["d"])],
        "g", [helper.make_tensor_value_info("x", 1, [2, 4])], [helper.make_tensor_value_info("d", 1, [1, 4])])  # fmt: skip
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    fused, notes = fuse.fuse(other)
    assert sorted(operators(fused)) == sorted(operators(other))
    assert "attention left alone" in notes[0]


def test_export_writes_a_fused_graph(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "to_onnx", lambda model, path: onnx.save(exported("window of 16"), path))
    small_model("window of 16").save_pretrained(tmp_path / "in")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 1, "hi": 5, "there": 6}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "in" / "tokenizer.json"))
    report = export.export(str(tmp_path / "in"), tmp_path / "out", ["hi there", "hi " * 150], True, None)
    assert "Attention" in operators(onnx.load(tmp_path / "out" / "model.onnx"))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["thinkgate"]["reasoning_labels"] == ["reasoning"]
    assert report["fused_logit_difference"] < 1e-4
    assert "attention of 3 layers" in capsys.readouterr().out

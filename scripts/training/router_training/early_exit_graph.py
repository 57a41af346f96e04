"""Writes an early exit into an exported graph: rows below a threshold go through the layers, in a branch of an `If`."""

import math
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from .graph import MICROSOFT, Graph, Mismatch
from .model import Exit

# The graph's input for the threshold: half of the logit of the least probability with which a row leaves. It has a default, which a
# run may override: minus infinity means that all rows leave, infinity that none does. The gateway uses this while requests wait.
THRESHOLD_INPUT = "early_sure"
LOWEST = np.finfo(np.float32).min


@dataclass(frozen=True)
class ExitRule:
    """Which rows leave at an exit, and how the layers answer the others."""

    min_subject: float  # the least probability of the subject of a row that leaves
    no_subject: int  # the subject of texts that have none, for which a lower probability suffices
    excerpt_tokens: int  # the most tokens that the layers read of a row, half of them its first, half its last
    layers_share: float  # the weight of the layers in the logits of a row that they read whole; less where they read a part


def embeddings_and_mask(g: Graph) -> tuple[str, str]:
    """The names of the normalised embeddings and of the mask that the layers read."""
    norm = next((n for n in g.nodes if n.op_type == "LayerNormalization"), None)
    if norm is None or f"{norm.output[0]}_u8" not in g.made:
        raise Mismatch("no quantised embeddings")
    pad = next((n for n in g.nodes if n.op_type == "Pad" and n.input[0] == "attention_mask"), None)
    return norm.output[0], pad.output[0] if pad is not None else "attention_mask"


class ExitWriter:
    """Writes a trained exit into a graph."""

    def __init__(self, model: onnx.ModelProto, exit_model: Exit):
        self.g, self.exit = Graph(model), exit_model
        if any(n.op_type == "If" for n in self.g.nodes):
            raise Mismatch("it has an exit")
        if [o.name for o in self.g.model.graph.output] != ["logits", "domain_logits"]:
            raise Mismatch("it has other outputs than logits and domain_logits")
        self.x, self.mask = embeddings_and_mask(self.g)

    def weights(self, name: str, value: torch.Tensor | np.ndarray) -> str:
        """Adds a named constant."""
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        self.g.constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def product(self, name: str, words: torch.Tensor) -> str:
        """Adds an integer product of the embeddings and `words`, quantised as in `int8`."""
        columns = words.detach().numpy().T
        scales = np.maximum(np.abs(columns).max(0), 1e-8) / 63
        small = self.weights(f"{name}_w8", np.clip(np.round(columns / scales), -64, 63).astype(np.int8))
        scale = self.weights(f"{name}_wscale", scales.astype(np.float32))
        _, s, z = self.g.made[f"{self.x}_u8"].input
        return self.g.add("MatMulIntegerToFloat", f"{self.x}_u8", small, s, scale, z, out=name, domain=MICROSOFT)

    def convolution(self, there: str) -> str:
        """The convolution over three adjacent tokens. It is zero at padding, where `there` is zero."""
        g, one = self.g, self.exit.words
        before, here, behind = (self.product(f"early_words{i}", words.weight) for i, words in enumerate(one))
        before = g.add("Pad", g.add("Mul", before, there), g.constant([0, 1, 0, 0, -1, 0]))
        behind = g.add("Pad", g.add("Mul", behind, there), g.constant([0, -1, 0, 0, 1, 0]))
        here = g.add("Add", here, self.weights("early_words_bias", one[1].bias))
        return g.add("Mul", g.add("Relu", g.add("Add", g.add("Add", before, here), behind)), there)

    def logits(self) -> tuple[str, str]:
        """The exit's logits, in the form of the model's two outputs."""
        g = self.g
        row = g.add("Cast", g.add("Unsqueeze", self.mask, g.constant([1])), to=TensorProto.FLOAT)
        there = g.add("Unsqueeze", g.add("Squeeze", row, g.constant([1])), g.constant([2]))
        count = g.add("ReduceSum", row, g.constant([2]))
        pairs = self.convolution(there)
        inside = g.add("Where", g.add("Cast", there, to=TensorProto.BOOL), self.x, g.constant(-1e9, np.float32))

        def mean(of: str) -> str:
            return g.add("Squeeze", g.add("Div", g.add("MatMul", row, of), count), g.constant([1]))

        highest = [g.add("ReduceMax", of, g.constant([1]), keepdims=0) for of in (inside, pairs)]
        pooled = g.add("Concat", mean(self.x), highest[0], mean(pairs), highest[1], axis=1)
        norm, dense, out = self.exit.norm, self.exit.dense, self.exit.out
        by = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = dense.bias + dense.weight @ (norm.bias - norm.running_mean * by)
        hidden = g.add(
            "Gemm", pooled, self.weights("early_dense", dense.weight * by), self.weights("early_dense_bias", bias), transB=1
        )
        # The logit of reasoning becomes two, of direct and of reasoning, with the same difference.
        w = torch.cat([-out.weight[:1] / 2, out.weight[:1] / 2, out.weight[1:]])
        b = torch.cat([-out.bias[:1] / 2, out.bias[:1] / 2, out.bias[1:]])
        both = g.add("Gemm", g.add("Gelu", hidden), self.weights("early_out", w), self.weights("early_out_bias", b), transB=1)
        cut = [g.add("Slice", both, g.constant([a]), g.constant([z]), g.constant([1])) for a, z in ((0, 2), (2, w.shape[0]))]
        return cut[0], cut[1]

    def excerpts(self, rest: str, read: int) -> tuple[dict[str, str], str]:
        """Excerpts of the rows that stay: the head and the tail of each, `read` tokens at most.

        Returns the tensors that replace the layers' inputs, by the names of these, and the share of each row that its excerpt is.
        """
        g, one = self.g, self.g.constant([1])
        lengths = {n.output[0] for n in g.nodes if n.op_type == "Shape" and n.input[0] == "attention_mask"}
        blocks = [g.value(n.input[1]).max() for n in g.nodes if n.op_type == "Div" and n.input[0] in lengths]
        if read >= max(blocks, default=np.inf):
            raise Mismatch(f"layers that read {read} tokens, in blocks")
        mask = g.add("Gather", self.mask, rest, axis=0)
        tokens = g.add("Min", g.add("Shape", mask, start=1, end=2), g.constant([read]))
        at = g.add("Range", g.constant(0), g.add("Squeeze", tokens), g.constant(1))
        length = g.add("ReduceSum", mask, one)
        part = g.add(
            "Min",
            g.add("Div", g.constant(read, np.float32), g.add("Cast", length, to=TensorProto.FLOAT)),
            g.constant(1, np.float32),
        )
        beyond = g.add("Max", g.add("Sub", length, g.constant([read])), g.constant([0]))
        in_tail = g.add("Cast", g.add("GreaterOrEqual", at, g.constant(read // 2)), to=TensorProto.INT64)
        column = g.add("Add", g.add("Mul", beyond, in_tail), at)
        row = g.add("Expand", g.add("Unsqueeze", rest, one), g.add("Shape", column))
        places = g.add("Concat", *(g.add("Unsqueeze", i, g.constant([2])) for i in (row, column)), axis=2)
        return {name: g.add("GatherND", name, places) for name in (self.x, f"{self.x}_u8", self.mask)}, part

    def recompute(self, name: str, instead: dict[str, str]) -> str:
        """Computes a tensor that depends on the lengths of the batch again, for the lengths of the excerpts."""
        g = self.g
        if name not in instead and name not in g.constants:
            if g.depends_on_rows(name):
                raise Mismatch(f"{name} is read by the layers and holds a row for each text")
            node = g.made[name]
            inputs = [instead[self.mask]] if node.op_type == "Shape" else [self.recompute(i, instead) for i in node.input]
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            instead[name] = g.add(node.op_type, *inputs, **attributes)
        return instead.get(name, name)

    def layers_branch(self, rest: str, early: tuple[str, str], rule: ExitRule) -> onnx.GraphProto:
        """The branch with the layers: the exit's logits, in which those of the rows that stay are the mean with the layers'."""
        g = self.g
        ours = {id(n) for name in (rest, *early) for n in g.ancestors(name)}
        moved = [n for n in g.ordered() if id(n) not in ours]
        made = {o for n in moved for o in n.output}
        instead, part = self.excerpts(rest, rule.excerpt_tokens)
        for node in moved:
            for i, name in enumerate(node.input):
                if name and name not in made:
                    node.input[i] = self.recompute(name, instead)
        place, share = g.add("Unsqueeze", rest, g.constant([1])), g.add("Mul", part, g.constant(rule.layers_share, np.float32))
        outs = []
        for exit, name in zip(early, ("logits", "domain_logits"), strict=True):
            before = g.add("Gather", exit, rest, axis=0)
            both = g.add("Add", before, g.add("Mul", g.add("Sub", name, before), share))
            outs.append(g.add("ScatterND", exit, place, both))
        return self.move_to_branch(outs, ours)

    def move_to_branch(self, outs: list[str], ours: set[int]) -> onnx.GraphProto:
        """Moves the nodes that some tensors need to a graph of their own, except `ours`, with constants that nothing else uses."""
        g = self.g
        nodes = [n for n in g.ordered(*outs) if id(n) not in ours]
        for node in nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = {"logits": "layers_logits", "domain_logits": "layers_domain_logits"}.get(name, name)
        within = {id(n) for n in nodes}
        elsewhere = {i for n in g.nodes if id(n) not in within for i in n.input}
        own = [name for name in dict.fromkeys(i for n in nodes for i in n.input) if name in g.constants and name not in elsewhere]
        weights = [g.constants.pop(name) for name in own]
        g.drop(within)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outs]
        return helper.make_graph(nodes, "layers", [], values, weights)

    def margin(self, early: tuple[str, str], rule: ExitRule) -> str:
        """Half of the logit of the likelier decision; the lowest value where the exit is not sure of the subject."""
        g = self.g
        likeliest = g.add("ReduceMax", g.add("Softmax", early[1], axis=1), g.constant([1]), keepdims=0)
        none = g.add("Equal", g.add("ArgMax", early[1], axis=1, keepdims=0), g.constant(rule.no_subject))
        known = g.add("Or", g.add("GreaterOrEqual", likeliest, g.constant(rule.min_subject, np.float32)), none)
        side = g.add("ReduceMax", early[0], g.constant([1]), keepdims=0)
        return g.add("Where", known, side, g.constant(LOWEST, np.float32))

    def write(self, threshold: float, rule: ExitRule) -> onnx.ModelProto:
        """The model with the exit. Rows leave when the probability of either decision is at least `threshold`."""
        g = self.g
        early = self.logits()
        least = self.weights(THRESHOLD_INPUT, half_logit(threshold))
        g.model.graph.input.append(
            helper.make_tensor_value_info(THRESHOLD_INPUT, TensorProto.FLOAT, [])
        )  # so that a run may override it
        done = g.add("GreaterOrEqual", self.margin(early, rule), least)
        rest = g.add("Squeeze", g.add("NonZero", g.add("Not", done)), g.constant([0]))
        some = g.add("Greater", g.add("Size", rest), g.constant(0))
        then = self.layers_branch(rest, early, rule)
        same = [
            helper.make_node("Identity", [e], [f"{n}_early"], f"{n}_early")
            for e, n in zip(early, ("logits", "domain_logits"), strict=True)
        ]
        values = [helper.make_tensor_value_info(n.output[0], TensorProto.FLOAT, None) for n in same]
        otherwise = helper.make_graph(same, "early", [], values)
        g.append(helper.make_node("If", [some], ["logits", "domain_logits"], "early_exit", then_branch=then, else_branch=otherwise))
        return g.finish()


def half_logit(p: float) -> np.ndarray:
    """The larger of two logits with sum zero for this probability: infinity for 1, minus infinity for 0."""
    return np.float32(math.inf if p >= 1 else -math.inf if p <= 0 else math.log(p / (1 - p)) / 2)


def with_threshold(model: onnx.ModelProto, threshold: float) -> onnx.ModelProto:
    """The same model with another threshold: with 1 no row leaves at the exit, with 0 all do."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == THRESHOLD_INPUT:
            tensor.CopyFrom(numpy_helper.from_array(half_logit(threshold), THRESHOLD_INPUT))
    return changed

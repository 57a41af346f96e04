"""Rewrites an exported ModernBERT into fewer and larger operators, which ONNX Runtime runs faster on a CPU, with the same scores.

    python3 -m router_training.fuse MODEL.onnx OUT.onnx

`export_onnx.py` calls this last. As a command it rewrites an existing file, fp32 or int8, without its checkpoint. Nothing is
calibrated or rounded again: every sum except that of the pooling is computed in the same order, so scores agree to 1e-7.

Measured on the default model (int8, one thread, denormals as zero; medians against the plain graph):
- ONNX's `Attention` reads queries, keys and values from the products without transposes, and processes a head's scores while
  they are in the cache: 1.16 ms a layer at 256 tokens, against 1.40 with separate operators. `MultiHeadAttention` of
  com.microsoft first copies all three and gains nothing (1.38).
- Layers with a window in blocks, from six windows on: 0.63 to 0.74 ms instead of 1.16 at 256 tokens, and 0.09 for copies of keys
  and values.
- A separate product for query, key and value and for each half of GeGLU: no Slice, Squeeze, Transpose and Split.
- One mask for all layers of a kind, rotary tables without copies, pooling as a product (0.01 instead of 0.14 ms).

Not used: `SkipLayerNormalization` (0.9 ms, against 0.09 for Add and LayerNormalization), and `Attention` with a count of keys
instead of a mask, which is 0.19 ms faster at 256 tokens, but ONNX Runtime 1.24 ignores the count.

`Attention` of opset 23 needs ONNX Runtime 1.24. All of this runs on the CPU; the integer products have no CUDA kernel, and no
kernel was tried on CUDA.
"""

import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

from .graph import MICROSOFT, Graph, Mismatch

LOWEST = np.finfo(np.float32).min
FAR = 1e9  # the position of a masked key: outside of every window
# Attention is computed in blocks from a length of this many windows (to one side) on, and the queries of a block, in the same unit.
# With a window of 32 there is no gain at 160 tokens and little at 192; at 224 and 256 the whole model takes 0.92 of the time.
MIN_WINDOWS, BLOCK_WINDOWS = 6, 1
# A block's keys begin at a multiple of this, the width of the widest vectors. Then the sum of a softmax has the same order as
# without blocks, and a score does not depend on whether its batch is long enough for blocks. Otherwise P changed by up to 3e-5.
STEP = 16


def read_attention(g: Graph, softmax: onnx.NodeProto) -> dict:
    """Finds the parts of a layer's attention, as PyTorch exports them."""
    masked = g.up(softmax.input[0], "Add")[0]
    scaled, scores = g.up(masked.input[0], "Mul", "MatMul")
    query, key = g.up(scores.input[0], "RotaryEmbedding")[0], g.up(scores.input[1], "Transpose", "RotaryEmbedding")[1]
    product = g.down(softmax.output[0], "MatMul")
    views = []
    for i, name in enumerate((query.input[0], key.input[0], product.input[1])):
        _, _, part, view = g.up(name, "Transpose", "Squeeze", "Slice", "Reshape")
        if [int(g.value(x)[0]) for x in part.input[1:3]] != [i, i + 1]:
            raise Mismatch(f"{name} is not part {i} of three")
        views.append(view)
    if len({v.output[0] for v in views}) != 1 or list(query.input[1:]) != list(key.input[1:]):
        raise Mismatch("query, key and value come from different places")
    angles = []
    for name, op in zip(query.input[1:3], ("Cos", "Sin"), strict=True):
        doubled = g.up(name, "Expand", "Slice", op, "Concat")[-1]
        angles.append(doubled.input[0])
    if len(set(angles)) != 1:
        raise Mismatch("sine and cosine of different angles")
    windows = {int(g.value(n.input[1])) for n in g.ancestors(masked.input[1]) if n.op_type == "LessOrEqual"}
    if len(windows) > 1:
        raise Mismatch("a mask of several windows")
    out = g.down(g.down(product.output[0], "Transpose").output[0], "Reshape")
    return {
        "linear": views[0].input[0],
        "out": out.output[0],
        "angles": angles[0],
        "scale": float(g.value(scaled.input[1])),
        "head": int(g.value(g.made[views[0].input[1]].input[-1])[0]),
        "window": next(iter(windows), None),
    }


def counting(g: Graph, number: str) -> str:
    """A tensor with 0, 1, 2 and so on, up to `number` values."""
    return g.add("Range", g.constant(0), g.add("Squeeze", number), g.constant(1))


def blocks(g: Graph, window: int) -> dict:
    """Divides a long text into blocks of queries, each with the keys that its windows reach."""
    i, one = (lambda n: g.constant([n])), g.constant([1])
    length = g.add("Shape", "attention_mask", start=1, end=2)
    long = g.add("Min", g.add("Div", length, i(max(1, MIN_WINDOWS * window))), one)
    number = g.add("Max", g.add("Mul", g.add("Div", length, i(max(1, BLOCK_WINDOWS * window))), long), one)
    queries = g.add("Div", g.add("Sub", g.add("Add", length, number), one), number)
    padded = g.add("Mul", number, queries)
    keys = g.add("Min", padded, g.add("Add", queries, i(2 * window + STEP - 1)))
    none, missing = g.constant([0, 0, 0]), g.add("Sub", padded, length)
    pads = g.add("Concat", none, missing, axis=0)
    ids, mask = (g.add("Pad", name, pads) for name in ("input_ids", "attention_mask"))
    beyond = g.add("Pad", mask, g.add("Concat", none, keys, axis=0))
    first = g.add("Max", g.add("Sub", g.add("Mul", counting(g, number), queries), i(window)), i(0))
    first = g.add("Mul", g.add("Div", first, i(STEP)), i(STEP))
    place = g.add("Add", g.add("Unsqueeze", first, one), counting(g, keys))
    there = g.add("Cast", g.add("Gather", beyond, place, axis=1), to=TensorProto.BOOL)
    key_at = g.add("Where", there, g.add("Cast", place, to=TensorProto.FLOAT), g.constant(FAR, np.float32))
    query_at = g.add(
        "Cast", g.add("Reshape", counting(g, padded), g.add("Concat", number, queries, one, axis=0)), to=TensorProto.FLOAT
    )
    apart = g.add("Abs", g.add("Sub", query_at, g.add("Unsqueeze", key_at, i(2))))
    near = g.add("LessOrEqual", apart, g.constant(window, np.float32))
    near = g.add("Where", near, g.constant(0, np.float32), g.constant(LOWEST, np.float32))
    near = g.add("Reshape", near, g.add("Concat", g.constant([-1, 1]), queries, keys, axis=0))
    index = g.add("Min", place, g.add("Sub", padded, one))
    return {"ids": ids, "mask": mask, "index": index, "near": near, "queries": queries, "keys": keys, "length": padded}


def everywhere(g: Graph, mask: str) -> str:
    """The attention mask of a layer without windows: only padding is masked."""
    there = g.add("Cast", g.add("Unsqueeze", mask, g.constant([1, 2])), to=TensorProto.BOOL)
    row = g.add("Where", there, g.constant(0, np.float32), g.constant(LOWEST, np.float32))
    length = g.add("Shape", mask, start=1, end=2)
    return g.add("Expand", row, g.add("Concat", g.constant([1, 1]), length, length, axis=0))


def attention(g: Graph, layer: dict, mask: str, cut: dict | None, shared: dict) -> None:
    """Replaces a layer's attention by ONNX's operator."""
    parts = g.columns(layer["linear"], 3)
    hidden = g.value(g.made[parts[0]].input[1]).shape[1]
    heads = hidden // layer["head"]
    if layer["angles"] not in shared:
        flat = g.add("Squeeze", layer["angles"], g.constant([0]))
        shared[layer["angles"]] = [g.add("Cos", flat), g.add("Sin", flat)]
    parts[:2] = [
        g.add("RotaryEmbedding", x, g.constant([0]), *shared[layer["angles"]], num_heads=heads, domain=MICROSOFT) for x in parts[:2]
    ]
    attributes = {"q_num_heads": heads, "kv_num_heads": heads, "scale": layer["scale"]}
    if layer["window"] is None:
        if "all" not in shared:
            shared["all"] = everywhere(g, mask)
        g.add("Attention", *parts, shared["all"], out=layer["out"], **attributes)
        return
    shapes = []
    for name in ("queries", "keys", "length"):
        if name not in shared:
            shared[name] = g.add("Concat", g.constant([-1]), cut[name], g.constant([hidden]), axis=0)
        shapes.append(shared[name])
    query = g.add("Reshape", parts[0], shapes[0])
    keys, values = (g.add("Reshape", g.add("Gather", x, cut["index"], axis=1), shapes[1]) for x in parts[1:])
    g.add("Reshape", g.add("Attention", query, keys, values, cut["near"], **attributes), shapes[2], out=layer["out"])


def fuse_attention(g: Graph) -> str:
    """Fuses the attention of all layers, or of none, because the padding to blocks concerns the whole graph."""
    layers = [read_attention(g, n) for n in g.nodes if n.op_type == "Softmax"]
    windows = {x["window"] for x in layers} - {None}
    if not layers or len(windows) > 1:
        raise Mismatch(f"{len(layers)} layers of attention with windows of {sorted(windows)}")
    before, cut = list(g.nodes), None
    ids, mask = "input_ids", "attention_mask"
    if windows:
        cut = blocks(g, windows.pop())
        ids, mask = cut["ids"], cut["mask"]
        for node in before:
            for i, name in enumerate(node.input):
                node.input[i] = {"input_ids": ids, "attention_mask": mask}.get(name, name)
    shared: dict = {}
    for layer in layers:
        attention(g, layer, mask, cut, shared)
    return f"attention of {len(layers)} layers, {sum(x['window'] is not None for x in layers)} with a window"


def fuse_gates(g: Graph) -> str:
    """Computes the two halves of GeGLU as two products."""
    count = 0
    for split in [n for n in g.nodes if n.op_type == "Split" and len(n.output) == 2 and n.output[0]]:
        try:
            gelu = g.down(split.output[0], "Gelu")
            mul = g.down(gelu.output[0], "Mul")
            halves = g.columns(split.input[0], 2)
        except Mismatch:
            continue
        kind = {a.name: a.s for a in gelu.attribute}
        g.add("Mul", g.add("Gelu", halves[0], **kind), halves[1], out=mul.output[0])
        count += 1
    return f"{count} gates"


def fuse_pooling(g: Graph) -> str:
    """Computes the masked sum over tokens as a product with the mask."""
    for total in [n for n in g.nodes if n.op_type == "ReduceSum"]:
        try:
            product = g.up(total.input[0], "Mul")[0]
            mask = g.up(product.input[1], "Cast", "Unsqueeze")[1].input[0]
        except Mismatch:
            continue
        row = g.add("Cast", g.add("Unsqueeze", mask, g.constant([1])), to=TensorProto.FLOAT)
        g.add("Squeeze", g.add("MatMul", row, product.input[0]), g.constant([1]), out=total.output[0])
        return "pooling"
    return "no mean pooling"


def fuse(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Returns the rewritten graph, and a note for each rewrite. Parts that are not as expected are left alone."""
    notes = []
    for step in (fuse_attention, fuse_gates, fuse_pooling):
        g = Graph(model)
        try:
            notes.append(step(g))
            model = g.finish()
        except Mismatch as why:
            notes.append(f"{step.__name__.removeprefix('fuse_')} left alone: {why}")
    return model, notes


def difference(plain: onnx.ModelProto, fused: onnx.ModelProto, vocabulary: int = 200, longest: int = 512, seed: int = 0) -> float:
    """The largest difference of a logit between two graphs, over various lengths, alone and in batches with padding."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"]) for m in (plain, fused)]
    random, worst = np.random.default_rng(seed), 0.0
    for length in (n for n in (1, 2, 15, 33, 64, 97, 131, 192, 197, 256, 389, 512) if n <= longest):
        for lengths in ([length], [length, max(1, length * 2 // 3), 1], [max(1, length // 2), length]):
            mask = (np.arange(length) < np.array(lengths)[:, None]).astype(np.int64)
            mask = mask[:, ::-1] if lengths[0] < length else mask
            feed = {"input_ids": random.integers(1, vocabulary, mask.shape) * mask, "attention_mask": mask}
            for a, b in zip(*(s.run(None, feed) for s in sessions), strict=True):
                worst = max(worst, float(np.abs(a - b).max()))
    return worst


def main() -> None:
    """Command line."""
    before = onnx.load(sys.argv[1])
    fused, notes = fuse(before)
    print("; ".join(notes))
    print(f"largest difference of a logit from the input graph: {(worst := difference(before, fused)):.1e}")
    if worst > 1e-3:
        raise SystemExit("more than 0.001: not written")
    onnx.save(fused, sys.argv[2])


if __name__ == "__main__":
    main()

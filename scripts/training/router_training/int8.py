"""Quantises a graph to int8 with fixed scales, so that a prompt's score does not depend on its batch.

Each `MatMul` by a constant becomes `QuantizeLinear` with a calibrated scale, and ONNX Runtime's integer product with a scale per
output column. Weights use 7 bits, so that processors without VNNI do not saturate. Each embedding row is int8 with its own scale.
Dynamic quantisation is simpler, but uses one scale for the whole batch.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def calibrate(graph: onnx.ModelProto, names: list[str], rows: list[list[int]]) -> dict[str, tuple[float, float]]:
    """The range of each tensor over the prompts, without the most extreme 1e-4 of each prompt's values."""
    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    have = {o.name for o in probe.graph.output}
    for name in names:
        if name not in have:
            probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    sess = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for row in rows[:: max(1, len(rows) // 256)]:
        ids = np.array([row], np.int64)
        for name, value in zip(names, sess.run(names, {"input_ids": ids, "attention_mask": np.ones_like(ids)}), strict=True):
            a, b = np.quantile(value, [5e-5, 1 - 5e-5])
            low[name], high[name] = min(low[name], float(a)), max(high[name], float(b))
    return {name: (low[name], high[name]) for name in names}


def quantise(graph: onnx.ModelProto, rows: list[list[int]]) -> onnx.ModelProto:
    """The same graph with integer products and an integer embedding table."""
    constants = {t.name: t for t in graph.graph.initializer}
    nodes = list(graph.graph.node)
    transposed = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Transpose" and n.input[0] in constants}

    def weight(name: str) -> np.ndarray | None:
        if name in constants:
            return numpy_helper.to_array(constants[name])
        if name in transposed:
            return numpy_helper.to_array(constants[transposed[name]]).T
        return None

    products = [
        n for n in nodes if n.op_type == "MatMul" and (w := weight(n.input[1])) is not None and w.ndim == 2 and w.shape[1] > 32
    ]
    ranges = calibrate(graph, sorted({n.input[0] for n in products}), rows)
    chosen, quantised, made, new = {id(n) for n in products}, {}, [], []

    def constant(name: str, value: np.ndarray) -> str:
        made.append(numpy_helper.from_array(value, name))
        return name

    for node in nodes:
        if id(node) in chosen:
            source = node.input[0]
            if source not in quantised:
                low, high = ranges[source]
                scale = max((high - low) / 255, 1e-8)
                zero = int(np.clip(round(-low / scale), 0, 255))
                s = constant(f"{source}_scale", np.float32(scale))
                z = constant(f"{source}_zero", np.uint8(zero))
                new.append(helper.make_node("QuantizeLinear", [source, s, z], [f"{source}_u8"], f"quantise_{source}"))
                quantised[source] = (f"{source}_u8", s, z)
            w = weight(node.input[1])
            columns = np.maximum(np.abs(w).max(0), 1e-8) / 63
            data = constant(f"{node.name}_w8", np.clip(np.round(w / columns), -64, 63).astype(np.int8))
            scales = constant(f"{node.name}_wscale", columns.astype(np.float32))
            a, s, z = quantised[source]
            new.append(
                helper.make_node(
                    "MatMulIntegerToFloat", [a, data, s, scales, z], [node.output[0]], node.name, domain="com.microsoft"
                )
            )
        elif (
            node.op_type == "Gather" and node.input[0] in constants and (w := weight(node.input[0])).ndim == 2 and w.size > 1 << 14
        ):
            rows_scale = np.maximum(np.abs(w).max(1, keepdims=True), 1e-8) / 127
            name = node.output[0]
            data = constant(f"{name}_table", np.round(w / rows_scale).astype(np.int8))
            scales = constant(f"{name}_table_scale", rows_scale.astype(np.float32))
            new += [
                helper.make_node("Gather", [data, node.input[1]], [f"{name}_i8"], f"{name}_rows", axis=0),
                helper.make_node("Gather", [scales, node.input[1]], [f"{name}_s"], f"{name}_scales", axis=0),
                helper.make_node("Cast", [f"{name}_i8"], [f"{name}_f"], f"{name}_cast", to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}_f", f"{name}_s"], [name], f"{name}_value"),
            ]
        else:
            new.append(node)
    used = {i for n in new for i in n.input} | {o.name for o in graph.graph.output}
    new = [n for n in new if any(o in used for o in n.output)]
    used = {i for n in new for i in n.input}
    kept = [t for t in graph.graph.initializer if t.name in used] + made
    result = helper.make_graph(new, "router", list(graph.graph.input), list(graph.graph.output), kept)
    imports = [*graph.opset_import]
    if not any(o.domain == "com.microsoft" for o in imports):
        imports.append(helper.make_opsetid("com.microsoft", 1))
    return helper.make_model(result, opset_imports=imports, ir_version=graph.ir_version, producer_name="thinkgate")

"""An ONNX graph that can be searched and rewritten."""

from collections.abc import Container

import numpy as np
import onnx
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"


def reads(node: onnx.NodeProto) -> list[str]:
    """The names of all tensors that a node reads, including those that only its branches read."""
    branches = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [*node.input, *(i for g in branches for n in g.node for i in reads(n))]


class Mismatch(Exception):
    """A part of the graph is not as expected."""


class Graph:
    """A copy of a model's graph. `finish` returns it as a model, without the nodes that became unused.

    `made` has the node that computes each tensor.
    """

    def __init__(self, model: onnx.ModelProto):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.nodes = list(self.model.graph.node)
        self.constants = {t.name: t for t in self.model.graph.initializer}
        self.made = {o: n for n in self.nodes for o in n.output if o}
        self.count = 0

    def up(self, name: str, *ops: str) -> list[onnx.NodeProto]:
        """The chain of nodes that computes a tensor, followed upwards through first inputs. Their operators must be `ops`."""
        chain = []
        for op in ops:
            node = self.made.get(name)
            if node is None or node.op_type != op:
                raise Mismatch(f"{name} is made by {node.op_type if node else 'nothing'}, not {op}")
            chain.append(node)
            name = node.input[0]
        return chain

    def down(self, name: str, op: str) -> onnx.NodeProto:
        """The only node that reads a tensor. Its operator must be `op`."""
        users = [n for n in self.nodes if name in n.input]
        if len(users) != 1 or users[0].op_type != op:
            raise Mismatch(f"{name} is used by {[n.op_type for n in users]}, not {op} alone")
        return users[0]

    def value(self, name: str) -> np.ndarray:
        """The value of a constant."""
        if name not in self.constants:
            raise Mismatch(f"{name} is no constant")
        return numpy_helper.to_array(self.constants[name])

    def ancestors(self, name: str) -> list[onnx.NodeProto]:
        """All nodes that a tensor is computed from."""
        found, todo, seen = [], [name], set()
        while todo:
            node = self.made.get(todo.pop())
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                found.append(node)
                todo += node.input
        return found

    def constant(self, value, dtype=np.int64) -> str:
        """Adds a constant; returns its name. Equal values share a constant."""
        array = np.asarray(value, dtype)
        name = f"fused_{array.dtype}_{'_'.join(map(str, array.shape))}_{array.ravel().tolist()}"
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes) -> str:
        """Adds a node; returns the name of its output. It replaces the node that computed `out`, where that is given."""
        while not out or (out.startswith("fused_") and out in self.made):
            self.count += 1
            out = f"fused_{self.count}"
        node = helper.make_node(op, list(inputs), [out], f"{out}_{op}", **attributes)
        if out in self.made:
            self.nodes.remove(self.made[out])
        self.nodes.append(node)
        self.made[out] = node
        return out

    def columns(self, product: str, parts: int) -> list[str]:
        """Divides a product with constant weights into `parts` products with equal shares of its columns."""
        node = self.made[product]
        quantised = node.op_type == "MatMulIntegerToFloat"
        if not quantised and node.op_type != "MatMul":
            raise Mismatch(f"{product} is made by {node.op_type}, not a product")
        if node.input[1] in self.constants:
            weights = self.value(node.input[1])
        else:
            weights = self.value(self.up(node.input[1], "Transpose")[0].input[0]).T
        if weights.shape[1] % parts or any(node.input[5:]):
            raise Mismatch(f"{product} has other columns")
        step, outs = weights.shape[1] // parts, []
        for i in range(parts):
            at, inputs = slice(i * step, (i + 1) * step), list(node.input)
            shares = [(1, weights[:, at])] + ([(3, self.value(node.input[3])[at])] if quantised else [])
            for index, share in shares:
                inputs[index] = f"{node.input[index]}_part{i}"
                self.constants[inputs[index]] = numpy_helper.from_array(np.ascontiguousarray(share), inputs[index])
            outs.append(self.add(node.op_type, *inputs, out=f"{product}_part{i}", domain=node.domain))
        return outs

    def append(self, node: onnx.NodeProto) -> None:
        """Adds a node that was built elsewhere."""
        self.nodes.append(node)
        self.made.update(dict.fromkeys(node.output, node))

    def drop(self, ids: Container[int]) -> None:
        """Removes nodes by their `id`."""
        self.nodes = [n for n in self.nodes if id(n) not in ids]
        self.made = {o: n for n in self.nodes for o in n.output if o}

    def depends_on_rows(self, name: str) -> bool:
        """Whether a tensor is computed from values of the inputs, not only from constants and shapes."""
        node = self.made.get(name)
        if node is None:
            return name not in self.constants
        return node.op_type != "Shape" and any(self.depends_on_rows(i) for i in node.input if i)

    def ordered(self, *outputs: str) -> list[onnx.NodeProto]:
        """The nodes that some tensors need, or the graph's outputs, in topological order."""
        placed, order = set(), []
        todo = [(name, False) for name in reversed(outputs or [o.name for o in self.model.graph.output])]
        while todo:
            name, ready = todo.pop()
            node = self.made.get(name)
            if node is None or id(node) in placed:
                continue
            if ready:
                placed.add(id(node))
                order.append(node)
            else:
                todo += [(name, True), *((i, False) for i in reversed(reads(node)))]
        return order

    def finish(self) -> onnx.ModelProto:
        """The model with all nodes that are used."""
        order = self.ordered()
        used = {i for n in order for i in reads(n)}
        kept = [t for name, t in self.constants.items() if name in used]
        graph = helper.make_graph(order, "router", self.model.graph.input, self.model.graph.output, kept)
        imports = [*self.model.opset_import]
        if not any(o.domain == MICROSOFT for o in imports):
            imports.append(helper.make_opsetid(MICROSOFT, 1))
        return helper.make_model(graph, opset_imports=imports, ir_version=self.model.ir_version, producer_name="thinkgate")

"""An ONNX graph to be rewritten: looking for what is there, adding what is new, dropping what nothing needs."""

from collections.abc import Container

import numpy as np
import onnx
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"


def reads(node: onnx.NodeProto) -> list[str]:
    """The names that a node reads, those that only its branches read included."""
    branches = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [*node.input, *(i for g in branches for n in g.node for i in reads(n))]


class Mismatch(Exception):
    """The graph does not look as expected here."""


class Graph:
    """A copy of a model: nodes by what they make, and room for new ones. What is no longer used is gone when it is finished."""

    def __init__(self, model: onnx.ModelProto):
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.nodes = list(self.model.graph.node)
        self.constants = {t.name: t for t in self.model.graph.initializer}
        self.made = {o: n for n in self.nodes for o in n.output if o}
        self.count = 0

    def up(self, name: str, *ops: str) -> list[onnx.NodeProto]:
        """The chain of makers above a tensor, through first inputs."""
        chain = []
        for op in ops:
            node = self.made.get(name)
            if node is None or node.op_type != op:
                raise Mismatch(f"{name} is made by {node.op_type if node else 'nothing'}, not {op}")
            chain.append(node)
            name = node.input[0]
        return chain

    def down(self, name: str, op: str) -> onnx.NodeProto:
        """The only user of a tensor."""
        users = [n for n in self.nodes if name in n.input]
        if len(users) != 1 or users[0].op_type != op:
            raise Mismatch(f"{name} is used by {[n.op_type for n in users]}, not {op} alone")
        return users[0]

    def value(self, name: str) -> np.ndarray:
        """A constant."""
        if name not in self.constants:
            raise Mismatch(f"{name} is no constant")
        return numpy_helper.to_array(self.constants[name])

    def ancestors(self, name: str) -> list[onnx.NodeProto]:
        """All that a tensor is made of."""
        found, todo, seen = [], [name], set()
        while todo:
            node = self.made.get(todo.pop())
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                found.append(node)
                todo += node.input
        return found

    def constant(self, value, dtype=np.int64) -> str:
        """The name of a constant, the same for the same value."""
        array = np.asarray(value, dtype)
        name = f"fused_{array.dtype}_{'_'.join(map(str, array.shape))}_{array.ravel().tolist()}"
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes) -> str:
        """A new node, in the place of the one that made `out` where that is given; the name of its output."""
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
        """A product with constant weights as several, one for each equal share of its columns: no copy to take it apart."""
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
        """A node that was made elsewhere."""
        self.nodes.append(node)
        self.made.update(dict.fromkeys(node.output, node))

    def drop(self, ids: Container[int]) -> None:
        """Forgets nodes, by their `id`."""
        self.nodes = [n for n in self.nodes if id(n) not in ids]
        self.made = {o: n for n in self.nodes for o in n.output if o}

    def depends_on_rows(self, name: str) -> bool:
        """True for what is made of the inputs themselves, false for what is made of constants and of shapes alone."""
        node = self.made.get(name)
        if node is None:
            return name not in self.constants
        return node.op_type != "Shape" and any(self.depends_on_rows(i) for i in node.input if i)

    def ordered(self, *outputs: str) -> list[onnx.NodeProto]:
        """The nodes that are used for some tensors, or for the graph's own outputs, in an order in which they can run."""
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
        """A model of what is used."""
        order = self.ordered()
        used = {i for n in order for i in reads(n)}
        kept = [t for name, t in self.constants.items() if name in used]
        graph = helper.make_graph(order, "router", self.model.graph.input, self.model.graph.output, kept)
        imports = [*self.model.opset_import]
        if not any(o.domain == MICROSOFT for o in imports):
            imports.append(helper.make_opsetid(MICROSOFT, 1))
        return helper.make_model(graph, opset_imports=imports, ir_version=self.model.ir_version, producer_name="thinkgate")

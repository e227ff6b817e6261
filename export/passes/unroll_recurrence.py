"""Write an LSTM, GRU or RNN of static length as its steps, for targets without the operator.

    Given:   X (T, N, I) -> LSTM | GRU | RNN -> Y (T, D, N, H), Y_h (D, N, H), Y_c (D, N, H)
    Result:  X -> Gemm (all steps' inputs at once), then T times Gemm, gates and state -> Concat -> Y

Emitters call this for the node that they are at; it is no pass of a list, because ONNX has the
operators themselves. Gates are in ONNX's order: LSTM i, o, f, c; GRU z, r, h.
"""

from dataclasses import dataclass, field

import numpy as np

from edgeconv.export.graph import Array, Attribute, Graph, Node

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
USUAL = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
Function = tuple[str, dict[str, Attribute]]
"""The operator of an activation, and its attributes."""
FUNCTIONS = {
    "hardsigmoid": "HardSigmoid",
    "leakyrelu": "LeakyRelu",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softsign": "Softsign",
    "tanh": "Tanh",
}


def why_not_unrolled(graph: Graph, node: Node) -> str | None:
    """Say why a recurrent node cannot be written as steps; None where it can."""
    weights = node.inputs[1:4] if len(node.inputs) > 3 else node.inputs[1:3]
    if any(name and name not in graph.constants for name in weights):
        return "its weights are computed, not constant"
    if len(node.inputs) > 7 and node.inputs[7] and node.inputs[7] not in graph.constants:
        return "its peepholes are computed"
    if node.int("layout", 0):
        return "it has layout 1"
    known = all(name in FUNCTIONS for name in activations(node))
    return None if known else "its activations are not the usual ones"


def is_usual(graph: Graph, node: Node) -> bool:
    """Whether all sequences run to the last step, without peepholes and by the default activations."""
    peeps = len(node.inputs) > 7 and np.any(graph.constants.get(node.inputs[7], 0))
    usual = activations(node) == list(USUAL[node.op]) * directions(node)
    plain = not node.float("clip", 0.0) and not node.int("input_forget", 0)
    return usual and plain and not peeps and not ends_early(graph, node)


def directions(node: Node) -> int:
    """Return how many ways the sequence is read: 1 or 2."""
    return 2 if node.str("direction", "forward") == "bidirectional" else 1


def activations(node: Node) -> list[str]:
    """Return the names of the activations, small, of all directions."""
    given = node.attrs.get("activations")
    names = given if isinstance(given, list) else list(USUAL[node.op]) * directions(node)
    return [str(name).lower() for name in names]


def functions(node: Node, way: int) -> list[Function]:
    """Return the operators of one direction's activations, with their attributes."""
    lists = {key: node.attrs.get(f"activation_{key}") for key in ("alpha", "beta")}
    given = {key: [float(x) for x in v] if isinstance(v, list) else [] for key, v in lists.items()}
    found: list[Function] = []
    for name in activations(node):
        takes = {"hardsigmoid": ("alpha", "beta"), "leakyrelu": ("alpha",)}.get(name, ())
        attrs: dict[str, Attribute] = {key: given[key].pop(0) for key in takes if given[key]}
        found.append((FUNCTIONS[name], attrs))
    each = len(found) // directions(node)
    return found[way * each : (way + 1) * each]


def parameters(graph: Graph, node: Node, way: int) -> tuple[Array, Array, Array, Array]:
    """Return W (gates*H, I), R (gates*H, H) and both biases (gates*H,) of one direction, float32."""
    weights, recurrent = (np.asarray(graph.constants[n][way], np.float32) for n in node.inputs[1:3])
    both = graph.constant(node, 3)
    if both is None:
        both = np.zeros((way + 1, 2 * len(weights)), np.float32)
    first, second = np.split(np.asarray(both[way], np.float32), 2)
    return weights, recurrent, first, second


def ends_early(graph: Graph, node: Node) -> bool:
    """Whether sequences may end before the last step."""
    if len(node.inputs) < 5 or not node.inputs[4]:
        return False
    lengths = graph.constant(node, 4)
    return lengths is None or bool((lengths != graph.shape(node.inputs[0])[0]).any())


def unroll(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    steps = _Steps(graph, node)
    ways = directions(node)
    reversed_first = node.str("direction", "forward") == "reverse"
    made = [steps.direction(way, backwards=reversed_first or way == 1) for way in range(ways)]
    length, batch = graph.shape(node.inputs[0])[:2]
    hidden = steps.hidden
    parts = [
        [steps.reshape(sequence, (length, 1, batch, hidden)) for sequence, _, _ in made],
        [steps.reshape(state, (1, batch, hidden)) for _, state, _ in made],
        [steps.reshape(cell, (1, batch, hidden)) for _, _, cell in made if cell],
    ]
    for out, values, axis in zip(node.outputs, parts, (1, 0, 0), strict=False):
        if out:
            steps.nodes.append(Node("Concat", f"{out}_joined", values, [out], {"axis": axis}))
    return steps.nodes


@dataclass
class _Steps:
    """The nodes under construction; helpers append one and return the tensor that it makes."""

    graph: Graph
    node: Node
    nodes: list[Node] = field(default_factory=list)

    @property
    def hidden(self) -> int:
        return int(self.graph.shape(self.node.inputs[2])[2])

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attrs: Attribute) -> str:
        made = self.graph.declare(self.graph.fresh(f"{self.node.name}/{op}"), shape, np.float32)
        self.nodes.append(Node(op, made, inputs, [made], dict(attrs)))
        return made

    def constant(self, value: Array) -> str:
        return self.graph.add_constant(f"{self.node.name}/constant", np.ascontiguousarray(value))

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        return self.add("Reshape", [x, self.constant(np.array(shape, np.int64))], shape)

    def cut(self, x: str, axis: int, low: int, high: int) -> str:
        shape = list(self.graph.shape(x))
        shape[axis] = high - low
        bounds = [self.constant(np.array([value], np.int64)) for value in (low, high, axis)]
        return self.add("Slice", [x, *bounds], tuple(shape))

    def product(self, x: str, weights: Array, bias: Array | None = None) -> str:
        """x (N, I) times weights (O, I), plus bias (O,)."""
        zeros = np.zeros(len(weights), np.float32)
        inputs = [x, self.constant(weights), self.constant(zeros if bias is None else bias)]
        rows = self.graph.shape(x)[0]
        return self.add("Gemm", inputs, (rows, len(weights)), transB=1, alpha=1.0, beta=1.0)

    def pair(self, op: str, x: str, z: str) -> str:
        return self.add(op, [x, z], self.graph.shape(x))

    def one(self, function: Function, x: str) -> str:
        return self.add(function[0], [x], self.graph.shape(x), **function[1])

    def gate(self, function: Function, x: str) -> str:
        """Apply a gate's activation to what the node's clip leaves of ``x``; the cell is not clipped."""
        if limit := self.node.float("clip", 0.0):
            bounds = (self.constant(np.array(end, np.float32)) for end in (-limit, limit))
            x = self.add("Clip", [x, *bounds], self.graph.shape(x))
        return self.one(function, x)

    def initial(self, index: int, way: int) -> str:
        """Return the state (N, H) that a direction starts from."""
        batch = self.graph.shape(self.node.inputs[0])[1]
        name = self.node.inputs[index] if index < len(self.node.inputs) else ""
        if not name:
            return self.constant(np.zeros((batch, self.hidden), np.float32))
        if name in self.graph.constants:
            return self.constant(self.graph.constants[name][way])
        cut = name if directions(self.node) == 1 else self.cut(name, 0, way, way + 1)
        return self.reshape(cut, (batch, self.hidden))

    def runs(self, step: int) -> str:
        """Return which sequences have ``step``, truth values (N, 1); "" where all have."""
        graph, node = self.graph, self.node
        if not ends_early(graph, node):
            return ""
        known, batch = graph.constant(node, 4), graph.shape(node.inputs[0])[1]
        if known is not None:
            return "" if (known > step).all() else self.constant((known > step).reshape(-1, 1))
        kind = graph.dtype(node.inputs[4]).type
        ends = graph.declare(graph.fresh(f"{node.name}/ends"), (batch, 1), kind)
        shape = self.constant(np.array((batch, 1), np.int64))
        self.nodes.append(Node("Reshape", ends, [node.inputs[4], shape], [ends]))
        made = graph.declare(graph.fresh(f"{node.name}/runs"), (batch, 1), np.bool_)
        self.nodes.append(Node("Less", made, [self.constant(np.array(step, kind)), ends], [made]))
        return made

    def choose(self, runs: str, value: str, other: str) -> str:
        return self.add("Where", [runs, value, other], self.graph.shape(value))

    def direction(self, way: int, *, backwards: bool) -> tuple[str, str, str]:
        """Return the sequence (T*N, H), the last state and the last cell ("" without one)."""
        length, batch, width = self.graph.shape(self.node.inputs[0])
        weights, recurrent, first, second = parameters(self.graph, self.node, way)
        inside = self.node.op == "GRU"  # its candidate keeps the second bias by the state
        added = np.array(second)
        if inside:
            added[2 * self.hidden :] = 0
        rows = self.reshape(self.node.inputs[0], (length * batch, width))
        all_steps = self.product(rows, weights, first + added)
        state = self.initial(5, way)
        cell = self.initial(6, way) if self.node.op == "LSTM" else ""
        apply = functions(self.node, way)
        peeps = self.peepholes(way)
        made: dict[int, str] = {}
        past_end = self.constant(np.zeros((batch, self.hidden), np.float32))
        for step in reversed(range(length)) if backwards else range(length):
            x = self.cut(all_steps, 0, step * batch, (step + 1) * batch)
            before = state, cell
            if self.node.op == "LSTM":
                state, cell = self.lstm(x, (state, cell), recurrent, apply, peeps)
            elif self.node.op == "GRU":
                state = self.gru(x, state, recurrent, second[2 * self.hidden :], apply)
            else:
                total = self.pair("Add", x, self.product(state, recurrent))
                state = self.gate(apply[0], total)
            made[step] = state
            if runs := self.runs(step):
                made[step] = self.choose(runs, state, past_end)
                state = self.choose(runs, state, before[0])
                cell = cell and self.choose(runs, cell, before[1])
        order = [made[step] for step in range(length)]
        sequence = self.add("Concat", order, (length * batch, self.hidden), axis=0)
        return sequence, state, cell

    def peepholes(self, way: int) -> list[Array]:
        """Return what the cell adds to the gates i, o and f of one direction; nothing where it does not."""
        name = self.node.inputs[7] if len(self.node.inputs) > 7 else ""
        if not name or not np.any(self.graph.constants[name]):
            return []
        return np.split(np.asarray(self.graph.constants[name][way], np.float32), 3)

    def lstm(
        self,
        x: str,
        before: tuple[str, str],
        recurrent: Array,
        apply: list[Function],
        peeps: list[Array],
    ) -> tuple[str, str]:
        size, (state, cell) = self.hidden, before
        total = self.pair("Add", x, self.product(state, recurrent))
        fresh = self.gate(apply[1], self.cut(total, 1, 3 * size, 4 * size))
        if peeps:
            enter, leave, keep = (self.cut(total, 1, i * size, (i + 1) * size) for i in range(3))
            enter = self.gate(apply[0], self.seen(enter, cell, peeps[0]))
            keep = self.gate(apply[0], self.seen(keep, cell, peeps[2]))
        else:
            gates = self.gate(apply[0], self.cut(total, 1, 0, 3 * size))
            enter, leave, keep = (self.cut(gates, 1, i * size, (i + 1) * size) for i in range(3))
        if self.node.int("input_forget", 0):  # what enters is what is forgotten
            one = self.constant(np.ones((), np.float32))
            keep = self.add("Sub", [one, enter], self.graph.shape(enter))
        kept, entered = self.pair("Mul", keep, cell), self.pair("Mul", enter, fresh)
        cell = self.pair("Add", kept, entered)
        if peeps:
            leave = self.gate(apply[0], self.seen(leave, cell, peeps[1]))
        return self.pair("Mul", leave, self.one(apply[2], cell)), cell

    def seen(self, gate: str, cell: str, weight: Array) -> str:
        """Add to a gate what it sees of the cell."""
        return self.pair("Add", gate, self.pair("Mul", cell, self.constant(weight)))

    def gru(
        self,
        x: str,
        state: str,
        recurrent: Array,
        bias: Array,
        apply: list[Function],
    ) -> str:
        size = self.hidden
        gates = self.pair(
            "Add", self.cut(x, 1, 0, 2 * size), self.product(state, recurrent[: 2 * size])
        )
        gates = self.gate(apply[0], gates)
        update, reset = self.cut(gates, 1, 0, size), self.cut(gates, 1, size, 2 * size)
        if self.node.int("linear_before_reset", 0):
            past = self.pair("Mul", reset, self.product(state, recurrent[2 * size :], bias))
        else:
            past = self.product(self.pair("Mul", reset, state), recurrent[2 * size :], bias)
        fresh = self.gate(apply[1], self.pair("Add", self.cut(x, 1, 2 * size, 3 * size), past))
        # (1 - z) * fresh + z * state
        return self.pair("Add", fresh, self.pair("Mul", update, self.pair("Sub", state, fresh)))

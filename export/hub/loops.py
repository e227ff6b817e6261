"""Loop and Scan of a known number of rounds, written out: no target repeats a graph.

Given:   count, condition, states -> Loop(body) -> states, what each round gave, stacked
Result:  states -> body -> states -> body ... ; Unsqueeze and Concat of what the rounds gave

Given:   states, sequences -> Scan(body) -> states, what each round gave, stacked
Result:  the same, a round reading its place of each sequence by Gather
"""

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.export.hub.bodies import replace_node, write_body
from edgeconv.export.hub.known import Known

MOST_NODES = 20_000
"""What all rounds of one loop may hold."""


@dataclass
class _Rounds:
    """What has been written: nodes, initializers, the states' names now, and each round's results."""

    prefix: str
    states: list[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    stacked: list[list[str]] = field(default_factory=list)

    def integer(self, value: Any, name: str) -> str:
        made = f"{self.prefix}{name}{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), made))
        return made

    def write(self, body: onnx.GraphProto, given: Sequence[str]) -> list[str]:
        """Write one round that reads ``given``; return the names of what it gives."""
        written = write_body(body, given, f"{self.prefix}{len(self.stacked)}_")
        self.nodes += written.nodes
        self.initializers += written.initializers
        return written.results

    def finish(self, outputs: Sequence[str], axes: Sequence[int], backwards: Sequence[int]) -> None:
        """Give the last states and the stacked results the names of the node's outputs."""
        for name, out in zip(self.states, outputs, strict=False):
            if out:
                self.nodes.append(helper.make_node("Identity", [name], [out]))
        for place, out in enumerate(outputs[len(self.states) :]):
            if not out:
                continue
            axis = self.integer(np.array([axes[place]], np.int64), "axis")
            names = [f"{out}_{number}" for number in range(len(self.stacked))]
            for name, row in zip(names, self.stacked, strict=True):
                self.nodes.append(helper.make_node("Unsqueeze", [row[place], axis], [name]))
            order = names[::-1] if backwards[place] else names
            self.nodes.append(helper.make_node("Concat", order, [out], axis=axes[place]))


def unroll_loop(graph: onnx.GraphProto, place: int, known: Known, prefix: str) -> bool:
    """Write the Loop at ``place`` out; False where its number of rounds is not known."""
    node = graph.node[place]
    body = _body(node)
    most = known.value(node.input[0]) if node.input[0] else None
    goes_on = known.value(node.input[1]) if node.input[1] else np.array(True)
    if goes_on is None or (node.input[0] and most is None):
        return False
    rounds = _Rounds(prefix, list(node.input[2:]))
    condition = rounds.integer(np.array(True), "condition")
    limit, states = MOST_NODES // max(1, len(body.node)), len(rounds.states)
    while goes_on and (most is None or len(rounds.stacked) < int(most.reshape(-1)[0])):
        if len(rounds.stacked) >= limit:
            return False
        number = rounds.integer(np.array(len(rounds.stacked), np.int64), "round")
        condition, *results = rounds.write(body, [number, condition, *rounds.states])
        rounds.states, row = results[:states], results[states:]
        rounds.stacked.append(row)
        found = _with(known, rounds).value(condition)
        if found is None:
            return False
        goes_on = found.reshape(-1)[0]
    extra = len(node.output) - states
    if extra and not rounds.stacked:
        return False  # the shape of what no round gives is nowhere
    rounds.finish(node.output, [0] * extra, [0] * extra)
    replace_node(graph, place, rounds.nodes, rounds.initializers)
    return True


def unroll_scan(graph: onnx.GraphProto, place: int, known: Known, prefix: str) -> bool:
    """Write the Scan at ``place`` out; False where the length of its sequences is not known."""
    node = graph.node[place]
    body, given = _body(node), {a.name: helper.get_attribute_value(a) for a in node.attribute}
    count = given["num_scan_inputs"]
    states = len(node.input) - count
    sequences, extra = list(node.input[states:]), len(node.output) - states
    axes = given.get("scan_input_axes", [0] * count)
    backwards = given.get("scan_input_directions", [0] * count)
    shapes = [known.shapes.get(name) for name in sequences]
    if known.opset < 9 or not shapes or shapes[0] is None:
        return False
    length = shapes[0][axes[0]]
    if not 0 < length <= MOST_NODES // max(1, len(body.node)):
        return False
    rounds = _Rounds(prefix, list(node.input[:states]))
    for step in range(length):
        read = []
        for name, axis, turned in zip(sequences, axes, backwards, strict=True):
            at = rounds.integer(np.array(length - 1 - step if turned else step, np.int64), "at")
            read.append(f"{at}_read")
            rounds.nodes.append(helper.make_node("Gather", [name, at], [read[-1]], axis=axis))
        results = rounds.write(body, [*rounds.states, *read])
        rounds.states, row = results[:states], results[states:]
        rounds.stacked.append(row)
    rounds.finish(
        node.output,
        given.get("scan_output_axes", [0] * extra),
        given.get("scan_output_directions", [0] * extra),
    )
    replace_node(graph, place, rounds.nodes, rounds.initializers)
    return True


def _body(node: onnx.NodeProto) -> onnx.GraphProto:
    body: onnx.GraphProto = next(a.g for a in node.attribute if a.name == "body")
    return body


def _with(known: Known, rounds: _Rounds) -> Known:
    """Return what is known with the rounds written so far."""
    made = {name: node for node in rounds.nodes for name in node.output}
    constants = {item.name: item for item in rounds.initializers}
    return replace(
        known,
        makers=ChainMap(made, dict(known.makers)),
        constants=ChainMap(constants, dict(known.constants)),
    )

"""LSTM, GRU and RNN of static length: Core ML's own operator or steps, TFLite in steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_net_kit import hub_of, same_everywhere
from graph_kit import floats
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.tflite.table import check_supported

LENGTH, BATCH, WIDTH, HIDDEN = 4, 2, 3, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def net(
    op: str,
    direction: str = "forward",
    *,
    state: bool = False,
    peepholes: bool = False,
    **attrs: Any,
) -> ModelProto:
    ways = 2 if direction == "bidirectional" else 1
    rows = GATES[op] * HIDDEN
    constants = {
        "W": floats(ways, rows, WIDTH, seed=1),
        "R": floats(ways, rows, HIDDEN, seed=2),
        "B": floats(ways, 2 * rows, seed=3),
    }
    names = ["x", "W", "R", "B", "", "h" if state else ""]
    outputs = {"y": (LENGTH, ways, BATCH, HIDDEN), "yh": (ways, BATCH, HIDDEN)}
    if op == "LSTM":
        names.append("c" if state else "")
        outputs["yc"] = (ways, BATCH, HIDDEN)
    if peepholes:
        names.append("P")
        constants["P"] = floats(ways, 3 * HIDDEN, seed=4)
    inputs = {"x": (LENGTH, BATCH, WIDTH)}
    if state:
        inputs |= {name: (ways, BATCH, HIDDEN) for name in ("h", "c") if name in names}
    node = helper.make_node(
        op, names, list(outputs), op, hidden_size=HIDDEN, direction=direction, **attrs
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def feeds(model: ModelProto) -> dict[str, Any]:
    return {
        value.name: floats(*[dim.dim_value for dim in value.type.tensor_type.shape.dim], seed=7 + i)
        for i, value in enumerate(model.graph.input)
    }


FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "lstm backwards": ("LSTM", {"direction": "reverse"}),
    "lstm both ways from a state": ("LSTM", {"direction": "bidirectional", "state": True}),
    "gru": ("GRU", {}),
    "gru as PyTorch has it, both ways": (
        "GRU",
        {"direction": "bidirectional", "linear_before_reset": 1, "state": True},
    ),
    "gru as Keras had it": (
        "GRU",
        {
            "activations": ["HardSigmoid", "Tanh", "HardSigmoid", "Softsign"],
            "activation_alpha": [0.25],
            "direction": "bidirectional",
        },
    ),
    "lstm that sees its cell": (
        "LSTM",
        {"activations": ["HardSigmoid", "LeakyRelu", "Tanh"], "peepholes": True},
    ),
    "lstm that is clipped and forgets what enters": (
        "LSTM",
        {"clip": 0.4, "input_forget": 1, "direction": "bidirectional"},
    ),
    "gru that is clipped": ("GRU", {"clip": 0.4}),
    "rnn that is clipped": ("RNN", {"clip": 0.4}),
    "rnn backwards": ("RNN", {"direction": "reverse"}),
    "rnn of rectifiers both ways": (
        "RNN",
        {"direction": "bidirectional", "activations": ["Relu", "Tanh"]},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_recurrent_operator_is_right_on_every_target(form: str, tmp_path: Path) -> None:
    op, options = FORMS[form]
    model = net(op, **options)
    same_everywhere(model, feeds(model), tmp_path)


def test_what_has_no_steps_is_refused_by_name() -> None:
    rare = net("LSTM", activations=["Sigmoid", "ScaledTanh", "Tanh"])
    with pytest.raises(UnsupportedOpError, match="its activations are not the usual ones"):
        check_supported(hub_of(rare))


def test_a_net_may_want_the_last_state_alone(tmp_path: Path) -> None:
    model = net("GRU")
    model.graph.node[0].output[0] = ""
    del model.graph.output[0]
    same_everywhere(model, feeds(model), tmp_path)


def test_a_run_keeps_no_state_for_the_next(tmp_path: Path) -> None:
    from edgeconv.export.tflite.emit import emit_tflite
    from edgeconv.runtimes.litert import open_model

    model = net("LSTM")
    feed = feeds(model)
    with open_model(emit_tflite(hub_of(model)).data) as runner:
        first, second = (runner.infer(feed)["y"].copy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("op", "direction"), [("GRU", "bidirectional"), ("LSTM", "forward"), ("RNN", "reverse")]
)
@pytest.mark.parametrize("known", [True, False])
def test_sequences_end_at_their_own_length(
    op: str, direction: str, known: bool, tmp_path: Path
) -> None:
    model = net(op, direction, state=True)
    node = model.graph.node[0]
    node.input[4] = "lengths"
    lengths = np.array([3, 4], np.int32)
    if known:
        model.graph.initializer.append(numpy_helper.from_array(lengths, "lengths"))
    else:
        value = helper.make_tensor_value_info("lengths", TensorProto.INT32, (BATCH,))
        model.graph.input.append(value)
    given = {name: value for name, value in feeds(model).items() if name != "lengths"}
    same_everywhere(model, given if known else {**given, "lengths": lengths}, tmp_path)

"""INT8 of operators that most targets lack, between layers: what they compute stays as close as the layers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_net_kit import hub_of
from graph_kit import floats, ints, model_of, run
from numpy.typing import NDArray
from tflite_kit import Worker, run_nchw

from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.hub.refused_forms import write_refused_forms
from edgeconv.export.prepare import prepare
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant import sessions
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.runtimes.mil_reference import open as open_package

Arrays = dict[str, NDArray[Any]]
LEAST = 25.0
"""The SQNR in dB that two layers in INT8 leave, with some room."""
UNPOOLED = 15.0
"""Where two values of a window round to one, the first's place counts: quantize_static gives 18.4 dB too."""


def weights(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return floats(*shape, seed=seed) * np.float32(max(1, int(np.prod(shape[1:]))) ** -0.5)


def sampled(mode: str, padding: str) -> str:
    return (
        "(float[1,3,8,8] x, float[1,6,6,2] g) => (float[1,4,6,6] y) {"
        " a = Conv<pads=[1,1,1,1]>(x, w)\n b = Relu(a)\n"
        f' s = GridSample<mode = "{mode}", padding_mode = "{padding}">(b, g)\n y = Conv(s, v) }}'
    )


def regions(mode: str, samples: int) -> str:
    return (
        "(float[1,3,8,8] x, float[3,4] r) => (float[3,4,2,2] y) {"
        " a = Conv<pads=[1,1,1,1]>(x, w)\n b = Relu(a)\n"
        f' s = RoiAlign<mode = "{mode}", sampling_ratio = {samples}, output_height = 2, output_width = 2>'
        "(b, r, n)\n y = Conv(s, v) }"
    )


def sequence(op: str, more: str, batch_first: bool = False) -> str:
    order, turned = ("[0,2,1]", "[0,2,3,1]") if batch_first else ("[2,0,1]", "[1,2,3,0]")
    return (
        "(float[1,3,5] x) => (float[1,4,5] y) { a = Conv<pads=[1,1]>(x, w)\n b = Relu(a)\n"
        f" t = Transpose<perm = {order}>(b)\n h = {op}<hidden_size = 6{more}>(t, k, r, q)\n"
        f" u = Transpose<perm = {turned}>(h)\n m = Reshape(u, size)\n y = Conv(m, v) }}"
    )


PICTURE = {"w": weights(4, 3, 3, 3), "v": weights(4, 4, 1, 1, seed=1)}
POOL = "kernel_shape = [2,2], strides = [2,2]"


def recurrent(gates: int) -> dict[str, NDArray[Any]]:
    return {
        "w": weights(4, 3, 3),
        "v": weights(4, 6, 1, seed=1),
        "k": floats(1, 6 * gates, 4, seed=2) * np.float32(0.5),
        "r": floats(1, 6 * gates, 6, seed=3) * np.float32(0.4),
        "q": floats(1, 12 * gates, seed=4) * np.float32(0.1),
        "size": ints(1, 6, 5),
    }


WRITTEN: dict[str, tuple[str, dict[str, NDArray[Any]]]] = {
    "maxima that return to their places": (
        "(float[1,3,8,8] x) => (float[1,4,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)\n"
        f" p, i = MaxPool<{POOL}>(a)\n q = Conv(p, v)\n y = MaxUnpool<{POOL}>(q, i) }}",
        PICTURE,
    ),
    "maxima and their places as outputs": (
        "(float[1,3,8,8] x) => (float[1,4,4,4] y, int64[1,4,4,4] i) {"
        f" a = Conv<pads=[1,1,1,1]>(x, w)\n y, i = MaxPool<{POOL}>(a) }}",
        PICTURE,
    ),
    **{
        f"a picture sampled {mode} with {padding}": (sampled(mode, padding), PICTURE)
        for mode, padding in (
            ("bilinear", "reflection"),
            ("bicubic", "border"),
            ("nearest", "zeros"),
        )
    },
    **{
        f"regions, {mode} of {count or 'as many samples as fit'}": (
            regions(mode, count),
            {**PICTURE, "n": ints(0, 0, 0)},
        )
        for mode, count in (("avg", 0), ("max", 2))
    },
    "an LSTM that is clipped": (sequence("LSTM", ", clip = 0.6"), recurrent(4)),
    "a GRU batch first": (
        sequence("GRU", ", layout = 1, linear_before_reset = 1", batch_first=True),
        recurrent(3),
    ),
    "an RNN of rectifiers": (sequence("RNN", ', activations = ["Relu"], clip = 2.0'), recurrent(1)),
    "a crop that pads": (
        "(float[1,3,8,8] x) => (float[1,4,9,5] y) { a = Conv<pads=[1,1,1,1]>(x, w)\n"
        " c = CenterCropPad<axes = [2,3]>(a, s)\n b = Relu(c)\n y = Conv(b, v) }",
        {**PICTURE, "s": ints(9, 5)},
    ),
    "groups of channels with a scale a group": (
        "(float[1,3,8,8] x) => (float[1,4,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)\n"
        " c = GroupNormalization<num_groups = 2>(a, s, s)\n b = Relu(c)\n y = Conv(b, v) }",
        {**PICTURE, "s": np.array([1.0, 0.7], np.float32)},
    ),
}


def feeds(shapes: dict[str, tuple[int, ...]], count: int, seed: int) -> list[Arrays]:
    """Return pictures, places around -1 to 1, and regions inside of 8 by 8 pixels."""
    random = np.random.default_rng(seed)

    def value(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        if name == "g":
            return random.uniform(-1.2, 1.2, shape).astype(np.float32)
        if name == "r":
            low, size = random.uniform(0, 4, (shape[0], 2)), random.uniform(1, 4, (shape[0], 2))
            return np.concatenate([low, low + size], axis=1).astype(np.float32)
        return random.normal(size=shape).astype(np.float32)

    return [{name: value(name, shape) for name, shape in shapes.items()} for _ in range(count)]


def sqnr(real: NDArray[Any], got: NDArray[Any]) -> float:
    noise = ((real.astype(np.float64) - got) ** 2).sum()
    return float(10 * np.log10((real.astype(np.float64) ** 2).sum() / max(noise, 1e-30)))


@pytest.mark.parametrize("name", WRITTEN)
def test_operators_that_targets_lack_are_right_between_layers_in_int8(
    name: str, worker: Worker, tmp_path: Path
) -> None:
    body, constants = WRITTEN[name]
    model = model_of(body, **constants)
    write_refused_forms(model)
    graph = prepare(hub_of(model), int8=True).graph
    shapes = {name: graph.shape(name) for name in graph.inputs}
    made = quantize(graph, feeds(shapes, 32, 1), recipe="fast")
    assert {"Conv"}.isdisjoint(
        node.op for node in made.graph.nodes if node.name in made.recipe.float_nodes
    )
    fresh = feeds(shapes, 6, 9)
    wanted = [dict(zip(graph.outputs, run(model, feed), strict=True)) for feed in fresh]
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    lite = emit_tflite(made.graph, made.recipe, precision="int8")
    emit_coreml(made.graph, made.recipe, path=tmp_path / "m.mlpackage", precision="int8")
    with open_package(tmp_path / "m.mlpackage") as opened:
        package = [opened.infer(feed) for feed in fresh]
    files = {
        "onnx": [
            dict(zip(graph.outputs, session.run(graph.outputs, f), strict=True)) for f in fresh
        ],
        "tflite": [run_nchw(worker, lite, feed)[0] for feed in fresh],
        "coreml": package,
    }
    least = UNPOOLED if "return" in name else LEAST
    for target, rows in files.items():
        for output in graph.outputs:
            real = np.stack([row[output] for row in wanted])
            got = np.stack([row[output] for row in rows])
            if real.dtype.kind == "f":
                assert sqnr(real, got) > least, (target, output)
            else:  # places: neighbours may round to the same value
                assert (real == got).mean() > 0.9, (target, output)

"""A grouped INT8 convolution in OpenVINO is what onnxruntime gives, or its runner says that it is not."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from graph_kit import model_of

pytest.importorskip("openvino", reason="needs edgeconv[openvino]")

from edgeconv.runtimes.base import Doubts, open_runner
from edgeconv.runtimes.openvino import why_refused
from edgeconv.runtimes.openvino_doubts import wrong_convolutions, wrong_strides


def grouped(
    path: Path, groups: int, channels: int, outputs: int = 16, strides: tuple[int, int] = (1, 1)
) -> Path:
    """Write a 1x1 convolution with integer borders: uint8 in and out, ``channels`` and ``outputs`` a group."""
    body = f"""(uint8[1,{groups * channels},8,8] x) => (uint8[1,{groups * outputs},8,8] y)
        {{ xr = DequantizeLinear(x, xs, zero)
          wr = DequantizeLinear<axis = 0>(w, ws, wz)
          c = Conv<group = {groups}, kernel_shape = [1, 1], strides = {list(strides)}>(xr, wr)
          y = QuantizeLinear(c, ys, zero) }}"""
    count = groups * outputs
    constants = {
        "w": np.random.default_rng(0).integers(-127, 128, (count, channels, 1, 1)).astype(np.int8),
        "ws": np.full(count, 0.002, np.float32),
        "wz": np.zeros(count, np.int8),
        "xs": np.float32(0.02),
        "ys": np.float32(0.003 * channels**0.5),
        "zero": np.uint8(0),
    }
    onnx.save(model_of(body, **{k: np.asarray(v) for k, v in constants.items()}), path)
    return path


@pytest.mark.parametrize(
    ("groups", "channels"), [(1, 80), (2, 64), (2, 80), (2, 128), (3, 72), (2, 65), (4, 16)]
)
def test_a_layer_is_right_unless_its_runner_doubts_it(
    groups: int, channels: int, tmp_path: Path
) -> None:
    path = grouped(tmp_path / "net.onnx", groups, channels)
    off, doubts = compared(path, (1, groups * channels, 8, 8))
    assert bool(doubts) == (off > 1), (off, doubts)


def compared(path: Path, shape: tuple[int, ...]) -> tuple[int, tuple[str, ...]]:
    """Return how many quanta OpenVINO is from onnxruntime at most, and what its runner doubts."""
    feeds = {"x": np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)}
    given = {}
    for runtime in ("onnxruntime", "openvino"):
        with open_runner(path, runtime=runtime) as runner:
            given[runtime] = runner.infer(feeds)["y"].astype(int)
            doubts = runner.doubts() if isinstance(runner, Doubts) else ()
    return int(np.abs(given["onnxruntime"] - given["openvino"]).max()), doubts


@pytest.mark.parametrize("strides", [(2, 1), (1, 2), (2, 2)])
def test_unequal_strides_are_right_unless_their_runner_doubts_them(
    strides: tuple[int, int], tmp_path: Path
) -> None:
    off, doubts = compared(grouped(tmp_path / "net.onnx", 1, 16, strides=strides), (1, 16, 8, 8))
    assert bool(doubts) == (off > 1), (off, doubts)


SHUFFLE = (0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11)


@pytest.mark.parametrize(
    ("order", "groups"),
    [(SHUFFLE, 1), (SHUFFLE, 12), (SHUFFLE[::-1], 1), (range(11, -1, -1), 1), (range(12), 1)],
    ids=["shuffle", "before a depthwise layer", "backwards", "reversed", "as they are"],
)
def test_channels_in_another_order_are_right_unless_their_runner_doubts_it(
    order: Sequence[int], groups: int, tmp_path: Path
) -> None:
    path = grouped(tmp_path / "net.onnx", groups, 12 // groups, 24 // groups)
    model = onnx.load(path)
    first = next(node for node in model.graph.node if "x" in node.input)
    first.input[0] = "ordered"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(order), "order"))
    gather = onnx.helper.make_node("Gather", ["x", "order"], ["ordered"], axis=1)
    model.graph.node.insert(0, gather)
    onnx.save(model, path)
    off, doubts = compared(path, (1, 12, 8, 8))
    assert bool(doubts) == (off > 1), (off, doubts)


def node(kernel: str, *weights: int, strides: Sequence[int] = (1, 1), origin: str = "") -> Any:
    """A stand-in for a layer of a model, or for the one that it became in a compiled model."""
    facts = {"primitiveType": kernel, "originalLayersNames": origin}
    return SimpleNamespace(
        get_rt_info=lambda: {k: SimpleNamespace(astype=lambda _, v=v: v) for k, v in facts.items()},
        get_friendly_name=lambda: "conv",
        get_attributes=lambda: {"strides": list(strides)},
        input=lambda _place: SimpleNamespace(get_shape=lambda: list(weights)),
    )


def graph(*nodes: Any) -> Any:
    """A stand-in for a model of these layers."""
    return SimpleNamespace(get_ops=lambda: list(nodes))


@pytest.mark.parametrize(
    ("kernel", "strides", "doubted"),
    [
        ("acl_i8", (2, 1), True),
        ("acl_I8", (1, 2), True),
        ("acl_i8", (2, 2), False),
        ("acl_f32", (2, 1), False),
        ("brgconv_avx512_i8", (2, 1), False),
        ("acl_i8", (2,), False),
    ],
)
def test_an_arm_kernel_is_doubted_where_strides_differ_in_int8(
    kernel: str, strides: Sequence[int], doubted: bool
) -> None:
    running = graph(node(kernel, origin="pad,conv"), node(kernel, origin="other"))
    said = wrong_strides(graph(node("", strides=strides)), running)
    assert bool(said) == doubted
    assert all("conv wrong on ARM" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Exception from core.cpp:117:\nobject is not initialized\n\n\n", "float16"),
        ("Check 'a' failed at b.cpp:49:\nConvolution input precision should be single\n", "ARM"),
        ("Exception from a:1:\nSummary:\n-- No conversion rule for operations: my.Foo\n", "my.Foo"),
        ("Exception from a:1:\n", "Exception from a:1:"),
        ("", "no reason"),
    ],
)
def test_a_refusal_says_why_and_not_where_it_was_thrown(text: str, why: str) -> None:
    said = why_refused(text)
    assert why in said
    assert "\n" not in said


def test_the_kernel_is_known_by_its_name_and_its_groups() -> None:
    def said(*nodes: Any) -> tuple[str, ...]:
        return wrong_convolutions(graph(*nodes))

    amx, other = "brgconv_avx512_amx_1x1_I8", "brgconv_avx512_1x1_I8"
    assert not said(
        node(other, 3, 20, 80, 1, 1), node(amx, 60, 80, 1, 1), node(amx, 3, 20, 64, 1, 1)
    )
    (sentence,) = said(node(amx, 3, 20, 80, 1, 1), node(amx, 2, 16, 96, 1, 1))
    assert sentence.startswith("openvino computes conv and 1 more wrong")

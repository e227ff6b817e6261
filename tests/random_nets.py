"""Random CNNs as ONNX models, drawn by hypothesis."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tflite_kit import Arrays

Draw = Callable[[Any], Any]


@dataclass(frozen=True)
class RandomNet:
    """A model and one feed; prints as its operators."""

    model: onnx.ModelProto
    feeds: Arrays

    def __repr__(self) -> str:
        return " ".join(node.op_type for node in self.model.graph.node)


@dataclass
class Net:
    """A model under construction; ``tip`` is the tensor that the next operator reads."""

    draw: Draw
    random: np.random.Generator
    shape: tuple[int, ...]
    tip: str = "input"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    earlier: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32))

    def add(self, op: str, *inputs: str, shape: tuple[int, ...] | None = None, **attrs: Any) -> str:
        name = f"t{len(self.nodes)}"
        sources = [self.tip, *inputs]
        self.nodes.append(helper.make_node(op, sources, [name], name=f"{op}_{name}", **attrs))
        self.shape = shape or self.shape
        self.earlier.append((name, self.shape))
        self.tip = name
        return name

    def model(self) -> onnx.ModelProto:
        first = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.start)
        last = helper.make_tensor_value_info(self.tip, TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "random", [first], [last], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return model

    start: tuple[int, ...] = ()


def _window(net: Net, kernel: int, dilation: int = 1) -> dict[str, Any]:
    """Draw strides and pads that leave at least one window; returns attributes and the size."""
    strides = [net.draw(st.integers(1, 2)) for _ in range(2)]
    pads = [net.draw(st.integers(0, kernel // 2)) for _ in range(4)]
    span = (kernel - 1) * dilation + 1
    for a in range(2):
        if net.shape[2 + a] + pads[a] + pads[a + 2] < span:
            pads[a] = pads[a + 2] = span // 2
    size = [(net.shape[2 + a] + pads[a] + pads[a + 2] - span) // strides[a] + 1 for a in range(2)]
    return {"strides": strides, "pads": pads, "size": size}


def conv(net: Net) -> None:
    inside = net.shape[1]
    kernel = net.draw(st.sampled_from([1, 3, 3, 5]))
    dilation = net.draw(st.sampled_from([1, 1, 2])) if kernel == 3 else 1
    group = net.draw(st.sampled_from([g for g in (1, 2, inside) if inside % g == 0]))
    outside = group * net.draw(st.integers(1, 3)) if group > 1 else net.draw(st.integers(1, 9))
    w = _window(net, kernel, dilation)
    size = w.pop("size")
    if min(size) < 1:
        return
    fan = inside // group * kernel**2
    net.add(
        "Conv",
        net.weight(outside, inside // group, kernel, kernel, scale=fan**-0.5),
        net.weight(outside, scale=0.2),
        shape=(net.shape[0], outside, *size),
        group=group,
        dilations=[dilation] * 2,
        kernel_shape=[kernel] * 2,
        **w,
    )


def pool(net: Net) -> None:
    kernel = net.draw(st.integers(2, 3))
    if min(net.shape[2:]) < kernel:
        return
    w = _window(net, kernel)
    size = w.pop("size")
    attrs: dict[str, Any] = {}
    op = net.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    if op == "AveragePool":
        attrs["count_include_pad"] = net.draw(st.integers(0, 1))
    shape = (*net.shape[:2], *size)
    net.add(op, shape=shape, kernel_shape=[kernel] * 2, **w, **attrs)


def activation(net: Net) -> None:
    name = net.draw(st.sampled_from(["Relu", "Relu6", "Clip", "LeakyRelu", "HardSwish", "Sigmoid"]))
    if name == "Relu6":
        net.add("Clip", net.constant(np.float32(0)), net.constant(np.float32(6)))
    elif name == "Clip":
        low = net.draw(st.sampled_from([-1.0, -0.3, 0.0]))
        high = net.draw(st.sampled_from([0.4, 1.0]))
        net.add("Clip", net.constant(np.float32(low)), net.constant(np.float32(high)))
    else:
        net.add(name)


def rare_activation(net: Net) -> None:
    name = net.draw(st.sampled_from(["Tanh", "Elu", "HardSigmoid", "Softplus", "PRelu", "Erf"]))
    slope = [net.weight(net.shape[1], 1, 1, scale=0.3)] if name == "PRelu" else []
    net.add(name, *slope)


def batch_norm(net: Net) -> None:
    c = net.shape[1]
    spread = net.constant((net.random.random(c) + 0.5).astype(np.float32))
    net.add("BatchNormalization", net.weight(c), net.weight(c), net.weight(c), spread)


def merge(net: Net) -> None:
    same = [name for name, shape in net.earlier if shape == net.shape]
    if same:
        net.add(net.draw(st.sampled_from(["Add", "Mul", "Sub"])), net.draw(st.sampled_from(same)))


def concat(net: Net) -> None:
    fits = [
        (name, shape)
        for name, shape in net.earlier
        if len(shape) == 4 and shape[2:] == net.shape[2:]
    ]
    if fits:
        name, shape = net.draw(st.sampled_from(fits))
        channels = net.shape[1] + shape[1]
        net.add("Concat", name, shape=(net.shape[0], channels, *net.shape[2:]), axis=1)


def scale(net: Net) -> None:
    shape = net.draw(st.sampled_from([(net.shape[1], 1, 1), (1,), (1, net.shape[1], 1, 1)]))
    net.add(net.draw(st.sampled_from(["Mul", "Add"])), net.weight(*shape))


def shuffle(net: Net) -> None:
    n, c, h, w = net.shape
    groups = [g for g in (2, 3, 4) if c % g == 0]
    if groups:
        g = net.draw(st.sampled_from(groups))
        split = net.constant(np.array([n, g, c // g, h, w]))
        net.add("Reshape", split, shape=(n, g, c // g, h, w))
        net.add("Transpose", shape=(n, c // g, g, h, w), perm=[0, 2, 1, 3, 4])
        net.add("Reshape", net.constant(np.array([n, c, h, w])), shape=(n, c, h, w))


def squeeze_excite(net: Net) -> None:
    x, (n, c, h, w) = net.tip, net.shape
    net.add("GlobalAveragePool", shape=(n, c, 1, 1))
    net.add("Conv", net.weight(c, c, 1, 1, scale=c**-0.5), net.weight(c))
    net.add(net.draw(st.sampled_from(["HardSigmoid", "Sigmoid"])))
    net.add("Mul", x, shape=(n, c, h, w))


def resize(net: Net) -> None:
    n, c, h, w = net.shape
    if h * w > 400:
        return
    mode = net.draw(st.sampled_from(["nearest", "linear"]))
    how = net.draw(st.sampled_from(["half_pixel", "align_corners", "asymmetric"]))
    sizes = np.array([n, c, 2 * h, net.draw(st.sampled_from([2 * w, w]))])
    net.add(
        "Resize",
        "",
        "",
        net.constant(sizes),
        shape=tuple(int(s) for s in sizes),
        mode=mode,
        coordinate_transformation_mode=how,
        **({"nearest_mode": "floor"} if mode == "nearest" else {}),
    )


def upsample(net: Net) -> None:
    n, c, h, w = net.shape
    if h * w > 400:
        return
    outside = net.draw(st.integers(1, 4))
    kernel, pad = net.draw(st.sampled_from([(2, 0), (3, 1), (4, 1)]))
    extra = 1 if kernel == 3 else 0
    net.add(
        "ConvTranspose",
        net.weight(c, outside, kernel, kernel, scale=c**-0.5),
        net.weight(outside),
        shape=(n, outside, 2 * h, 2 * w),
        strides=[2, 2],
        pads=[pad] * 4,
        output_padding=[extra] * 2,
        kernel_shape=[kernel] * 2,
    )


def cut(net: Net) -> None:
    n, c, h, w = net.shape
    if h > 3 and c > 1:
        starts, ends, axes = (net.constant(np.array(v)) for v in ([1, 0], [h, c - 1], [2, 1]))
        net.add("Slice", starts, ends, axes, shape=(n, c - 1, h - 1, w))


def pad(net: Net) -> None:
    n, c, h, w = net.shape
    if min(h, w) < 3:
        return
    mode = net.draw(st.sampled_from(["constant", "reflect", "edge"]))
    top, left, bottom, right = (net.draw(st.integers(0, 2)) for _ in range(4))
    amounts = net.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
    net.add("Pad", amounts, shape=(n, c, h + top + bottom, w + left + right), mode=mode)


def depth_to_space(net: Net) -> None:
    n, c, h, w = net.shape
    if c % 4 == 0 and h * w < 400:
        mode = net.draw(st.sampled_from(["DCR", "CRD"]))
        net.add("DepthToSpace", shape=(n, c // 4, 2 * h, 2 * w), blocksize=2, mode=mode)


COMMON = (conv, conv, conv, activation, activation, batch_norm, merge, concat, squeeze_excite, pool)
RARE = (rare_activation, scale, shuffle, resize, upsample, cut, pad, depth_to_space)


def head(net: Net) -> None:
    """Draw an end: pictures, a classifier over pooled features, over flattened ones, or boxes."""
    n, c, h, w = net.shape
    kind = net.draw(st.sampled_from(["picture", "pooled", "flat", "boxes"]))
    if kind == "boxes":  # a detection head: to channels last and flat
        net.add("Transpose", shape=(n, h, w, c), perm=[0, 2, 3, 1])
        net.add("Reshape", net.constant(np.array([n, h * w, c])), shape=(n, h * w, c))
        net.add("Softmax", axis=-1)
        return
    if kind == "picture":
        return
    if kind == "pooled":
        net.add("GlobalAveragePool", shape=(n, c, 1, 1))
        h = w = 1
    net.add("Flatten", shape=(n, c * h * w), axis=1)
    width = c * h * w
    net.add("Gemm", net.weight(5, width, scale=width**-0.5), net.weight(5), shape=(n, 5), transB=1)


@st.composite
def random_nets(draw: Draw) -> "RandomNet":
    """Draw a model of 2 to 8 operators and a head, and one feed."""
    shape = (1, draw(st.integers(1, 6)), draw(st.integers(5, 14)), draw(st.integers(5, 14)))
    net = Net(draw, np.random.default_rng(draw(st.integers(0, 10**6))), shape, start=shape)
    conv(net)
    for _ in range(draw(st.integers(1, 7))):
        draw(st.sampled_from(COMMON + RARE))(net)
    head(net)
    if not net.nodes:
        net.add("Relu")
    return RandomNet(net.model(), {"input": net.random.standard_normal(shape).astype(np.float32)})

"""The two sides of a layer comparison: the file opened up at chosen tensors, and the reference."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import match_names
from edgeconv.errors import EdgeconvError
from edgeconv.parity.codec import Codec, fits
from edgeconv.tensors import Quantization, TensorSpec

Array = NDArray[Any]
Kind = Literal["onnx", "tflite", "coreml"]

PROPORTIONAL = (0.3, 0.05)
"""Residual, as a share of a channel's own size, up to which it counts as rescaled, not as wrong: with
the errors that it inherits, and fed the reference's own inputs."""


ONE_LAYER = ("Relu", "Clip", "BatchNormalization", "HardSigmoid", "Reshape", "Transpose")
"""What belongs to the layer before or behind it where nothing else reads between them."""


class Infers(Protocol):
    """What a layer comparison needs of a runner."""

    @property
    def name(self) -> str:
        """The runtime, as figures quote it."""
        ...

    @property
    def version(self) -> str:
        """The runtime's version."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` gives."""
        ...

    def infer(self, feeds: Mapping[str, Array], /) -> dict[str, Array]:
        """Run once."""
        ...


@dataclass
class Opened:
    """A file exposed and severed at the tensors that have a counterpart in the reference.

    ``outs`` and ``feds`` map reference tensors to the file's own outputs and new inputs.
    """

    exposed: Infers | None
    severed: Infers
    outs: Mapping[str, str]
    feds: Mapping[str, str]
    known: Mapping[str, Quantization] = field(default_factory=dict)
    channels_first: bool = False
    kind: Kind = "onnx"
    orders: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)
    codecs: dict[str, Codec] = field(default_factory=dict)

    def plan_codecs(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        grids: Mapping[str, Quantization],
    ) -> None:
        """Say how each tensor is stored."""
        specs = {spec.name: spec for spec in self.severed.outputs}
        for tensor, out in self.outs.items():
            spec = specs[out]
            options = [
                last
                for last in fits(shapes[tensor], spec.shape)
                if not (last and self.channels_first)
            ]
            grid = grids.get(tensor)
            if grid is not None and spec.dtype == "uint8":
                grid = replace(grid, zero_point=grid.zero_point + 128)
            quantization = grid or self.known.get(out) or spec.quantization
            self.codecs[tensor] = Codec(
                shapes[tensor],
                spec.shape,
                spec.dtype,
                quantization,
                bool(options and options[0]),
                snap=grid if self.kind == "coreml" else None,
                order=None if options else self.orders[tensor],
            )

    def settle(self, reference: Mapping[str, Array], inherited: Mapping[str, Array]) -> None:
        """Where both layouts fit a shape, take the one whose values lie nearer the reference."""
        for tensor, codec in self.codecs.items():
            if self.channels_first or len(fits(codec.shape, codec.stored)) < 2:
                continue
            other = replace(codec, last=not codec.last)
            stored = inherited[self.outs[tensor]]
            wrong = [np.abs(c.decode(stored) - reference[tensor]).sum() for c in (codec, other)]
            if wrong[1] < wrong[0]:
                self.codecs[tensor] = other

    def rescale(
        self, runs: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]], tolerance: float
    ) -> None:
        """Find the factor of every channel that equalisation has scaled.

        ``runs`` are (reference's tensors, outputs) of some pictures. A channel that is proportional to
        the reference's holds the same numbers in another unit; one that is not keeps the factor that
        it has, at first 1, and shows as an error.
        """
        for tensor, codec in self.codecs.items():
            if len(codec.shape) < 2:
                continue
            plain, name = replace(codec, factors=None), self.outs[tensor]
            pairs = [(real[tensor], plain.decode(seen[name])) for real, seen in runs]
            wanted, got = (_by_channel(side) for side in zip(*pairs, strict=True))
            power = np.square(wanted).sum(axis=1)
            factors = (wanted * got).sum(axis=1) / np.where(power > 0, power, 1.0)
            left = np.square(got - factors[:, None] * wanted).sum(axis=1)
            same = left <= tolerance**2 * np.square(got).sum(axis=1)
            sound = (factors > 0) & (power > 0) & same
            known = np.ones_like(factors) if codec.factors is None else codec.factors
            self.codecs[tensor] = replace(codec, factors=np.where(sound, factors, known))

    def feeds(self, reference: Mapping[str, Array]) -> dict[str, Array]:
        """Return the severed model's new inputs, from the reference's own tensors."""
        own = {spec.name for spec in self.severed.inputs}
        fed = {}
        for tensor, name in self.feds.items():
            if name in own:
                fed[name] = self.codecs[tensor].encode(reference[tensor])
        return fed


def _by_channel(arrays: Sequence[Array]) -> Array:
    """Return (channels, values), float64, of (1, channels, ...) arrays."""
    moved = [np.moveaxis(a.astype(np.float64), 1, 0) for a in arrays]
    return np.concatenate([a.reshape(len(a), -1) for a in moved], axis=1)


def open_onnx(
    data: bytes,
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    optimize: bool,
    threads: int,
    expose: bool = True,
    orders: Mapping[str, NDArray[np.intp]] | None = None,
) -> Opened:
    """Open an ONNX model for ``names``, reference tensor -> its tensor.

    Tensors that are not of the shape that ``shapes`` gives for the reference's, nor padded as
    ``orders`` says (reference tensor -> channels of the file), are left inside the pieces.
    """
    import onnx

    from edgeconv.parity.surgery_onnx import FED, inferred, made_by, quantizations, rewire
    from edgeconv.runtimes.onnxrt import open_model

    model = onnx.load_from_string(data)
    made = made_by(model)
    held = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in inferred(model)
    }
    outs = unique(
        {
            t: n
            for t, n in names.items()
            if n in made and n in held and _fits_padded(shapes[t], held[n], (orders or {}).get(t))
        }
    )

    def opened(sever: bool) -> Infers:
        changed = rewire(model, list(outs.values()), sever=sever)
        return open_model(changed.SerializeToString(), threads=threads, optimize=optimize)

    feds = {t: n + FED for t, n in outs.items()}
    exposed = opened(False) if expose else None
    known = quantizations(model)
    return Opened(
        exposed, opened(True), outs, feds, known, channels_first=True, orders=orders or {}
    )


def _fits_padded(
    shape: tuple[int, ...], stored: tuple[int, ...], order: NDArray[np.intp] | None
) -> bool:
    if False in fits(shape, stored):
        return True
    return order is not None and stored == (shape[0], len(order), *shape[2:])


def open_tflite(
    data: bytes,
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    runtime: str,
    xnnpack: bool,
    threads: int,
) -> Opened:
    """Open a TFLite model for ``names``, reference tensor -> its tensor, as open_onnx does."""
    from edgeconv.parity.surgery_tflite import FED, OUT, read_model, rewire, tensor_indices

    if runtime != "ai-edge-litert":
        raise EdgeconvError(f"layers of a .tflite need ai-edge-litert, not {runtime}")
    from edgeconv.runtimes.litert import open_model

    model = read_model(data)
    indices = tensor_indices(model)
    stored = model.subgraphs[0].tensors
    own = {
        t: indices[n]
        for t, n in unique({t: n for t, n in names.items() if n in indices}).items()
        if fits(shapes[t], tuple(int(size) for size in stored[indices[n]].shape))
    }
    outs = {t: f"{OUT}{i}" for t, i in own.items()}

    def opened(sever: bool) -> Infers:
        changed = rewire(model, list(own.values()), sever=sever)
        return open_model(changed, threads=threads, xnnpack=xnnpack)

    feds = {t: f"{FED}{i}" for t, i in own.items()}
    return Opened(opened(False), opened(True), outs, feds, kind="tflite")


def open_coreml(
    path: Path, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> Opened:
    """Open a Core ML package for ``names``, reference tensor -> its tensor, in mil-reference."""
    from edgeconv.parity.surgery_mil import FED, open_program_at

    exposed, severed = open_program_at(path, unique(names), shapes)
    held = {spec.name for spec in severed.outputs}
    outs = {t: n for t, n in unique(names).items() if n in held}
    feds = {t: n + FED for t, n in outs.items()}
    return Opened(exposed, severed, outs, feds, channels_first=True, kind="coreml")


def unique(names: Mapping[str, str]) -> dict[str, str]:
    """Drop later tensors that share a counterpart: a reshape that only relabels has no layer."""
    seen: set[str] = set()
    kept = {}
    for tensor, name in names.items():
        if name not in seen:
            seen.add(name)
            kept[tensor] = name
    return kept


class Reference:
    """The reference graph with every tensor exposed, in onnxruntime without rewrites."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnx

        from edgeconv.parity.surgery_onnx import inferred, made_by, rewire
        from edgeconv.runtimes.onnxrt import open_model

        self.model = onnx.load(str(path))
        self.makers = makers = made_by(self.model)
        shaped = {value.name for value in inferred(self.model)}
        self.tensors = [t for t in makers if t in shaped and makers[t].op_type != "Constant"]
        self.nodes = {t: _credited(t, makers) for t in self.tensors}
        data = rewire(self.model, self.tensors, sever=False).SerializeToString()
        self.runner = open_model(data, threads=threads, optimize=False)
        self.shapes = {spec.name: spec.shape for spec in self.runner.outputs}
        for spec in self.runner.inputs:
            self.shapes[spec.name] = spec.shape
            self.nodes[spec.name] = (spec.name, "input")

    def inside(self, tensor: str, named: Collection[str]) -> bool:
        """Whether ``tensor`` only leads to a relabelling or an activation in ``named``: one layer."""
        readers = [node for node in self.model.graph.node if tensor in node.input]
        if len(readers) != 1 or readers[0].op_type not in ONE_LAYER or tensor in named:
            return False
        out = readers[0].output[0]
        return out in named or self.inside(out, named)

    def together(self, tensor: str, known: Collection[str]) -> tuple[str, ...]:
        """Return the nodes before that of ``tensor`` that run in one piece with it.

        ``known`` are the tensors that pieces are fed.
        """
        found: list[str] = []
        waiting, seen = list(self.makers[tensor].input), set(known)
        while waiting:
            source = waiting.pop()
            maker = self.makers.get(source)
            if maker is None or source in seen:
                continue
            seen.add(source)
            name, op = self.nodes.get(source, (maker.name, maker.op_type))
            if op not in ONE_LAYER and name not in found and name != self.nodes[tensor][0]:
                found.append(name)
            waiting.extend(maker.input)
        return tuple(reversed(found))

    def run(self, hub: Mapping[str, Array], picture: int) -> dict[str, Array]:
        """Return every tensor, the inputs included, for one picture."""
        names = match_names([spec.name for spec in self.runner.inputs], list(hub), "input")
        feeds = {
            spec.name: np.asarray(hub[names[spec.name]][picture : picture + 1], spec.dtype)
            for spec in self.runner.inputs
        }
        return {**feeds, **self.runner.infer(feeds)}


def _credited(tensor: str, makers: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and operator of the layer that makes ``tensor``: a fused clamp is its producer's."""
    node = makers[tensor]
    if node.op_type in ("Relu", "Clip") and node.input[0].endswith("_before_clamp"):
        node = makers.get(node.input[0], node)
    return node.name or tensor, node.op_type

"""Open an ONNX, TFLite or Core ML file at the tensors that have a counterpart in the reference."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeconv.parity.layers.codec import fits
from edgeconv.parity.layers.opened import Infers, Opened


def open_onnx(
    data: bytes,
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    opens: Callable[[bytes], Infers],
    *,
    expose: bool = True,
    orders: Mapping[str, NDArray[np.intp]] | None = None,
) -> Opened:
    """Open an ONNX model for ``names``, reference tensor -> its tensor, edited, by ``opens``.

    Tensors that are not of the shape that ``shapes`` gives for the reference's, nor padded as
    ``orders`` says (reference tensor -> channels of the file), are left inside the pieces.
    """
    import onnx

    from edgeconv.parity.layers.surgery_onnx import FED, inferred, made_by, quantizations, rewire

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
        return opens(changed.SerializeToString())

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
    opens: Callable[[bytes], Infers],
) -> Opened:
    """Open a TFLite model for ``names``, reference tensor -> its tensor, as open_onnx does."""
    from edgeconv.parity.layers.surgery_tflite import FED, OUT, read_model, rewire, tensor_indices

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
        return opens(rewire(model, list(own.values()), sever=sever))

    feds = {t: f"{FED}{i}" for t, i in own.items()}
    return Opened(opened(False), opened(True), outs, feds, kind="tflite")


def open_coreml(
    path: Path, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> Opened:
    """Open a Core ML package for ``names``, reference tensor -> its tensor, in mil-reference."""
    from edgeconv.parity.layers.surgery_mil import FED, open_program_at

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

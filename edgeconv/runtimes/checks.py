"""What every runtime checks in the same way and says in the same words."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import refuse_no_file
from edgeconv.tensors import Layout, TensorSpec

Source = str | Path | bytes
Shapes = Mapping[str, tuple[int, ...]]


def check_threads(threads: int) -> int:
    """Return ``threads``, or raise UsageError where it is below 1 or far beyond this machine."""
    processors = os.cpu_count() or 1
    most = max(8, 4 * processors)
    if not 1 <= threads <= most:
        raise UsageError(
            f"{threads} threads cannot be right: this machine has {processors} processors,"
            f" give 1 to {most}"
        )
    return threads


CUT_SHORT = "Protobuf parsing failed"
"""What onnxruntime says of a file that ends too early."""


def label(source: Source) -> str:
    """How messages call a model: its file name, or "the model" when it came as bytes."""
    return "the model" if isinstance(source, bytes) else str(source)


def first_line(error: BaseException | str) -> str:
    """Return the first line of an error that says something, without the runtime's prefixes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    # "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Failed to load ..." -> "Failed to load ..."
    return text.rpartition(" : ")[2] if text.startswith("[ONNXRuntimeError]") else text


def unreadable(source: Source, runtime: str, error: BaseException | str) -> EdgeconvError:
    """The error for a file that ``runtime`` does not take."""
    reason = first_line(error)
    if CUT_SHORT in reason:
        reason = "it is damaged or cut short"
    return EdgeconvError(f"{runtime} cannot open {label(source)}: {reason}")


def check_readable(source: Source) -> None:
    """Raise EdgeconvError where a path is no readable, non-empty file (or bytes are empty)."""
    if isinstance(source, bytes):
        if not source:
            raise EdgeconvError("the model is empty")
        return
    path = Path(source)
    refuse_no_file(path)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise EdgeconvError(f"{path} is empty")
    except OSError as error:
        raise EdgeconvError(f"cannot read {path}: {error.strerror or error}") from error


def fixed_shape(
    model: str, name: str, dims: Sequence[object], given: Shapes | None
) -> tuple[int, ...]:
    """Return a concrete shape for an input whose ``dims`` may hold names, None or -1.

    A batch that alone is open is 1 unless ``given`` says otherwise, as an export takes it. Raises EdgeconvError where a dimension is open and ``given`` does not settle it, or contradicts
    a fixed one.
    """
    shape = tuple(d if isinstance(d, int) and d >= 0 else None for d in dims)
    wanted = (given or {}).get(name)
    if wanted is None:
        if len(shape) > 1 and shape[0] is None and None not in shape[1:]:
            shape = (1, *shape[1:])
        settled = tuple(d for d in shape if d is not None)
        if len(settled) == len(shape):
            return settled
        shown = ",".join("?" if d is None else str(d) for d in shape)
        hint = ",".join("1" if d is None else str(d) for d in shape)
        raise EdgeconvError(
            f"{model}: input {name} has the dynamic shape [{shown}]; settle it with"
            f" --shape {name}={hint} (your own numbers)"
        )
    clash = len(wanted) != len(shape) or any(
        d is not None and d != w for d, w in zip(shape, wanted, strict=False)
    )
    if clash:
        shown = ",".join("?" if d is None else str(d) for d in shape)
        raise UsageError(f"{model}: input {name} is [{shown}], so it cannot be {list(wanted)}")
    return wanted


def check_known_inputs(model: str, names: Sequence[str], given: Shapes | None) -> None:
    """Raise UsageError where ``given`` settles an input that the model does not have."""
    for name in given or {}:
        if name not in names:
            raise UsageError(f"{model} has no input {name}: it has {', '.join(names)}")


def check_shapes(model: str, specs: Sequence[TensorSpec], given: Shapes | None) -> None:
    """Raise UsageError where ``given`` contradicts a model whose shapes are all fixed."""
    check_known_inputs(model, [spec.name for spec in specs], given)
    for spec in specs:
        fixed_shape(model, spec.name, spec.shape, given)


def picture_layout(shape: Sequence[int], layout: Layout) -> Layout:
    """Return ``layout`` for a rank-4 tensor and "other" for anything else."""
    return layout if len(shape) == 4 else "other"

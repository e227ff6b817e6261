"""The child process of simplify.py: onnxsim and onnx's version converter.

They are native code that can crash; here they take nothing with them.
"""

import contextlib
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LIBRARIES = ("onnx", "onnxruntime")
"""What opens a foreign file: an export's own process does so with both afterwards."""
CONTRIBUTED = ("fuse_attention", "fuse_gqa")
"""Passes of onnxsim's that write operators of onnxruntime's own, which no other runtime has."""
MISCOUNTED = "fuse_consecutive_reduce_unsqueeze"
"""One that keeps too many axes where a reduction follows a reduction: x.mean(2).mean(2)[:, :, None, None]."""


def serve(
    foreign: str | None, asked: Iterator[tuple[str, str, int]]
) -> Generator[str | None, None, None]:
    """Import onnxsim, which takes a second, and convert each (source, target, opset) asked for.

    The answer is the reason where that fails, None where it does not. A ``foreign`` file is opened
    by each library first, with an answer after each.
    """
    if foreign is not None:
        yield from map(open_foreign, ((library, foreign) for library in LIBRARIES))
    try:
        _import_onnxsim()
        broken = None
    except Exception as error:
        broken = _reason(error)
    for source, target, opset in asked:
        try:
            yield broken or _simplify(source, target, opset)
        except Exception as error:
            yield _reason(error)


def open_foreign(asked: tuple[str, str]) -> None:
    """Let (library, path) be opened: what crashes does so here. What is merely wrong the parent says."""
    from edgeconv.export.hub.onnx_io import load_model
    from edgeconv.runtimes.base import run_once

    library, path = asked
    with contextlib.suppress(Exception):
        model = load_model(Path(path))  # what this refuses may crash onnxruntime
        if library == "onnx":
            from edgeconv.export.hub.light import inferred

            inferred(model, data_prop=True)
        else:
            run_once({"path": path, "runtime": library, "threads": 1, "shapes": {}})


def simplify(asked: tuple[str, str, int]) -> str | None:
    """Convert (source, target, opset) at once; the answer is that of ``serve``."""
    try:
        return _simplify(*asked)
    except Exception as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    # not the place in onnx
    return (lines[0].rpartition("failed: ")[2] if lines else "") or type(error).__name__


def _import_onnxsim() -> None:
    # it imports these where they are installed, for what is not used here: two seconds
    hidden = [name for name in ("torch", "sympy") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import onnxsim  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def _simplify(source: str, target: str, opset: int) -> str | None:
    import onnx

    from edgeconv.export.hub.graphs import opset_of

    model = onnx.load(source)
    _prune(model.graph)
    if opset_of(model) != opset:
        model = converted(model, opset)
        _save(model, target)
    _count_axes(model)
    _import_onnxsim()
    import onnxsim

    simplified, passed = onnxsim.simplify(model, skipped_optimizers=_skipped(model.graph))
    if not passed:
        return "onnxsim's own check of its result failed"
    _save(simplified, target)
    return None


def _count_axes(model: "onnx.ModelProto") -> None:
    """Say how many axes outputs have that inference cannot tell, by running once: onnxsim wants to know."""
    import numpy as np
    import onnxruntime
    from onnx import helper

    silent = [o for o in model.graph.output if not o.type.tensor_type.HasField("shape")]
    if not silent:
        return
    feeds = {
        value.name: np.zeros(
            [dim.dim_value for dim in value.type.tensor_type.shape.dim],
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in model.graph.input
    }
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for value, made in zip(silent, session.run([o.name for o in silent], feeds), strict=True):
        value.type.tensor_type.shape.SetInParent()
        for _ in made.shape:
            value.type.tensor_type.shape.dim.add()


def _skipped(graph: "onnx.GraphProto") -> list[str]:
    makers = {out: node.op_type for node in graph.node for out in node.output}
    chained = any(
        node.op_type.startswith("Reduce") and makers.get(node.input[0], "").startswith("Reduce")
        for node in graph.node
    )
    return [*CONTRIBUTED, *([MISCOUNTED] if chained else [])]


def _prune(graph: "onnx.GraphProto") -> None:
    """Drop the initializers that nothing reads: onnxsim's time grows with the square of their number."""
    from edgeconv.export.hub.graphs import names_read

    read = names_read(graph)
    kept = [item for item in graph.initializer if item.name in read]
    if len(kept) < len(graph.initializer):
        gone = {item.name for item in graph.initializer} - read
        del graph.initializer[:]
        graph.initializer.extend(kept)
        inputs = [value for value in graph.input if value.name not in gone]
        del graph.input[:]
        graph.input.extend(inputs)


def converted(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    """Return ``model`` at ``opset``; a newer one that has no form there stays as it is."""
    import onnx
    from onnx import shape_inference, version_converter

    from edgeconv.export.hub.graphs import opset_of
    from edgeconv.export.hub.ingest import flatten_old_hardmaxes, keep_old_resizes

    now = opset_of(model)

    try:
        made = version_converter.convert_version(model, opset)
        if now > opset:  # the converter also passes attributes that are newer
            onnx.checker.check_model(shape_inference.infer_shapes(made))
    except Exception:
        if now < opset:
            raise
        return model
    if now <= 10:
        keep_old_resizes(made)
    if now <= 12:
        flatten_old_hardmaxes(made)
    return made


def _save(model: "onnx.ModelProto", target: str) -> None:
    """Write in one step: the parent reads ``target`` even where this process dies."""
    import onnx

    onnx.save(model, f"{target}.part")
    os.replace(f"{target}.part", target)

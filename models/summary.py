"""``summarize``: the architecture of a net, a module or an .onnx file, layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.models.layer_cost import Comparison, ConvShape, Layer, Summary
from edgeconv.models.specs import Value, find_spec, is_own, resolve_options

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Comparison", "ConvShape", "Layer", "Summary", "summarize"]


def summarize(
    source: "str | Path | nn.Module",
    *,
    options: Mapping[str, Value | None] | None = None,
    classes: int = 1000,
    resolution: int | None = None,
    input_shape: Sequence[int] | None = None,
    input_shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] = (),
) -> Summary:
    """Return each layer's output shape, parameters, multiply-adds, bytes, and savings by grouping.

    ``source`` is one of the four nets, ``path/file.py:factory``, ``package.module:factory``, a saved
    program (.pt2, TorchScript), an .onnx file, or a module.
    ``options`` (width, groups, ...) and ``classes`` are for the four nets, ``resolution`` in
    pixels for all that take one picture (default 224), ``input_shapes`` for all else,
    by name for an .onnx file.
    Raises UsageError for what does not go together, EdgeconvError for what cannot be read or run.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    named = {}
    if isinstance(input_shapes, Mapping):
        named = {key: tuple(shape) for key, shape in input_shapes.items()}
        input_shapes = tuple(named.values())
    shapes = tuple(tuple(shape) for shape in (input_shapes or filter(None, [input_shape])))
    if resolution is not None:
        if shapes:
            raise UsageError("--resolution and --input-shape say the same thing: give one of them")
        if resolution < 1:
            raise UsageError(f"--resolution must be at least 1, not {resolution}")
        shapes = ((1, 3, resolution, resolution),)
    name = str(source)
    is_file = not isinstance(source, str | Path) or name.endswith(".onnx") or is_own(name)
    if is_file and given:
        raise UsageError(f"--{next(iter(given))} is for the four nets only")
    if isinstance(source, str | Path) and name.endswith(".onnx"):
        require("onnx", "export")
        from edgeconv.models.onnx_summary import summarize_onnx

        return summarize_onnx(Path(source), named or shapes)
    if named:
        raise UsageError(
            "--input-shape NAME= is for .onnx files: give the shapes in the inputs' order"
        )
    if not is_file:
        spec = find_spec(name)
        resolve_options(name, given)
        size = spec.resolution if resolution is None else resolution
        shapes = shapes or ((1, 3, size, size),)
    require("torch", "torch")
    if not is_file:
        return _summarize_net(name, given, classes, shapes)
    from edgeconv.models.module_summary import summarize_module

    usual = ((1, 3, 224, 224),)
    if isinstance(source, str | Path):
        from edgeconv.models.script_trial import refuse_endless
        from edgeconv.models.user_net import open_user_net

        net = open_user_net(name)
        shapes = shapes or tuple(net.shapes.values()) or usual
        if net.loops:
            refuse_endless(Path(name), [(shape, "float32") for shape in shapes])
        return summarize_module(net.module, shapes, name)
    return summarize_module(source, shapes or usual, type(source).__name__)


def _summarize_net(
    name: str,
    options: Mapping[str, Value],
    classes: int,
    shapes: tuple[tuple[int, ...], ...],
) -> Summary:
    import torch

    from edgeconv.models import build
    from edgeconv.models.module_summary import summarize_module

    given: dict[str, object] = dict(options)
    with torch.device("meta"):  # shapes alone: no weights are made, nothing is computed
        module = build(name, classes=classes, **given)  # type: ignore[arg-type] # checked by resolve_options
    title = ", ".join(
        [find_spec(name).title, *(f"{key} {value}" for key, value in options.items())]
    )
    return summarize_module(module, shapes, title, "meta")

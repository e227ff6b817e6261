"""An nn.Module to ONNX, by torch's two exporters."""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.adaptive_pools import adaptive_pools
from edgeconv.export.hub.exact_norms import Held, exact_norms, unfolded_as_they_were
from edgeconv.export.hub.fake_quantizers import fake_quantizers, untraceable_integers
from edgeconv.export.hub.lacking import lacking_functions
from edgeconv.log import muted
from edgeconv.runtimes.pytorch import named_tensors

if TYPE_CHECKING:
    import onnx
    import torch

HUB_OPSET = 18
OF_TYPES = re.compile(r"\b(Long|Int|Bool|Byte|int64|integer|integral|dtype|scalar types?)\b")
"""Words of torch's about an input of the wrong type."""


def trace_module(
    module: "torch.nn.Module",
    shapes: Mapping[str, Sequence[int]],
    output_names: Sequence[str] | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> "onnx.ModelProto":
    """Return ``module`` in eval mode as ONNX at opset 18; inputs of ``shapes`` by name.

    Inputs are float32 where ``dtypes`` (numpy's names) says nothing else.

    torch.jit tracing comes first (MobileNetV2: under a second), torch.export for modules it
    cannot take. A trace that bakes control flow in is found by the comparison that follows every
    export. Raises EdgeconvError with both reasons where neither works.
    """
    torch = require("torch", "torch")
    generator = torch.Generator().manual_seed(0)
    kinds = dtypes or {}
    feeds = tuple(_feed(torch, s, kinds.get(n, "float32"), generator) for n, s in shapes.items())
    module.eval()
    with torch.nn.utils.parametrize.cached():  # weights that are computed become constants
        if output_names is None:
            found, nested = _output_names(torch, module, feeds, shapes)
            # torch renames an input that has the name of an output
            output_names = [f"{name}_out" if name in shapes else name for name in found]
            if nested:
                module = _flat(torch, module)
        return _by_either(torch, module, feeds, list(shapes), output_names)


def _by_either(
    torch: Any,
    module: "torch.nn.Module",
    feeds: tuple["torch.Tensor", ...],
    names: list[str],
    output_names: Sequence[str],
) -> "onnx.ModelProto":
    onnx_package = require("onnx", "export")
    reasons = []
    for dynamo in (False, True):
        buffer = io.BytesIO()
        try:
            with _quiet(), torch.no_grad():
                held = _export(torch, module, feeds, buffer, names, output_names, dynamo)
            model: onnx.ModelProto = onnx_package.load_from_string(buffer.getvalue())
            unfolded_as_they_were(model, held)
            return model
        except Exception as error:  # torch's exporters raise of every kind
            reasons.append(_reason(error))
    raise EdgeconvError(
        f"{type(module).__name__} cannot be traced to ONNX: torch.jit.trace says {reasons[0]!r}, "
        f"torch.export says {reasons[1]!r}{untraceable_integers(module)}"
    )


def _feed(torch: Any, shape: Sequence[int], kind: str, generator: Any) -> Any:
    if kind == "float32":
        return torch.randn(tuple(shape), generator=generator)
    return torch.randint(0, 2, tuple(shape), generator=generator).to(getattr(torch, kind))


def _output_names(
    torch: Any,
    module: "torch.nn.Module",
    feeds: tuple["torch.Tensor", ...],
    shapes: Mapping[str, Sequence[int]],
) -> tuple[list[str], bool]:
    """Name what the module returns (output, or output_0, output_1, or by its keys), and say whether
    it is nested, so that the exporters need it flat."""
    try:
        with _quiet(), torch.no_grad():
            result = module(*feeds)
    except Exception as error:  # a user's forward may raise anything
        tried = ", ".join(str(list(feed.shape)) for feed in feeds)
        said = f"{type(module).__name__} does not run on inputs of {tried}: {_reason(error)}"
        if OF_TYPES.search(str(error)) and any(feed.is_floating_point() for feed in feeds):
            name, sizes = next(iter(shapes)), ",".join(map(str, next(iter(shapes.values()))))
            said += (
                f". Say the type of inputs that are no real numbers: --input-shape {name}={sizes}:int64 "
                f'(in Python, input_types={{"{name}": "int64"}})'
            )
        raise EdgeconvError(said) from error
    named = named_tensors(type(module).__name__, result)
    plain = isinstance(result, (list, tuple)) and len(named) == len(result)
    return [name for name, _ in named], not (plain or hasattr(result, "detach"))


def _flat(torch: Any, module: "torch.nn.Module") -> Any:
    """Return a module that gives the tensors of ``module``'s nested result as one tuple."""

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *feeds: Any) -> Any:
            return tuple(tensor for _, tensor in named_tensors("", self.inner(*feeds)))

    return Flat().eval()


def _scripts_traced(
    torch: Any, module: "torch.nn.Module", feeds: tuple["torch.Tensor", ...]
) -> Any:
    """Return a module that holds TorchScript as one trace: the exporter's own finds no scripts inside."""
    parts = [part for part in module.modules() if part is not module]
    if isinstance(module, torch.jit.ScriptModule) or not any(
        isinstance(part, torch.jit.ScriptModule) for part in parts
    ):
        return module
    return torch.jit.trace(module, feeds, check_trace=False, strict=False)


def _export(
    torch: Any,
    module: "torch.nn.Module",
    feeds: tuple["torch.Tensor", ...],
    buffer: io.BytesIO,
    input_names: list[str],
    output_names: Sequence[str],
    dynamo: bool,
) -> list[Held]:
    """Write the traced ``module`` into ``buffer``; return the batch norms that were others meanwhile."""
    common = {
        "input_names": input_names,
        "output_names": list(output_names),
        "opset_version": HUB_OPSET,
    }
    if not dynamo:
        module = _scripts_traced(torch, module, feeds)
        written = adaptive_pools(torch), fake_quantizers(torch), lacking_functions(torch)
        with contextlib.ExitStack() as stack:
            for context in written:
                stack.enter_context(context)
            held = stack.enter_context(exact_norms(torch, module))
            torch.onnx.export(module, feeds, buffer, dynamo=False, **common)
        return held
    program = torch.onnx.export(module, feeds, dynamo=True, external_data=False, **common)
    buffer.write(program.model_proto.SerializeToString())
    return []


def _reason(error: BaseException) -> str:
    """Return the first line of the root cause: torch.export wraps it in general advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporters say about themselves; what they say of the model, they raise."""
    with muted(), contextlib.redirect_stdout(io.StringIO()), _native_stdout_closed():
        yield


@contextlib.contextmanager
def _native_stdout_closed() -> Iterator[None]:
    """Drop what native code writes to descriptor 1: torch prints a graph that it cannot export."""
    try:
        saved = os.dup(1)
    except OSError:  # a process without standard output has nothing to protect
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)

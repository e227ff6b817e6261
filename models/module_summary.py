"""Summarize a PyTorch module by running it once and watching its layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeconv.errors import EdgeconvError
from edgeconv.models.layer_cost import ConvShape, Layer, Summary, compare_with_standard

Row = tuple[str, nn.Module, tuple[int, ...], int, int]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SILENT = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)


def summarize_module(
    module: nn.Module, shapes: Sequence[tuple[int, ...]], title: str, device: str = "cpu"
) -> Summary:
    """Return the layers of ``module`` as it runs on float32 zeros of ``shapes``, in eval mode.

    Multiply-adds outside layers (torch.matmul, functional convolutions) and parameters that no
    layer owns get a row of their own at the end. With ``device`` "meta" nothing is computed.
    Raises EdgeconvError where the module cannot take these inputs.
    """
    rows, flops = _run(module, shapes, device)
    convolutions = [
        (name, shape)
        for name, layer, output, _, consumed in rows
        if (shape := _conv_shape(layer, output, consumed)) is not None
    ]
    compared = compare_with_standard(convolutions)
    seen: set[int] = set()
    layers = []
    for name, layer, output, bytes_out, bytes_in in rows:
        own = [p for p in layer.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        layers.append(
            Layer(
                name,
                _kind(layer),
                output,
                sum(p.numel() for p in own),
                _multiply_adds(layer, output, bytes_in),
                bytes_out,
                bytes_in,
                compared.get(name),
            )
        )
    left = sum(p.numel() for p in module.parameters() if id(p) not in seen)
    outside = max(0, flops // 2 - sum(layer.multiply_adds for layer in layers))
    if left or outside:
        layers.append(Layer("(outside layers)", "functions", (), left, outside, 0, 0))
    return Summary(title, tuple(shapes), tuple(layers))


def _run(
    module: nn.Module, shapes: Sequence[tuple[int, ...]], device: str
) -> tuple[list[Row], int]:
    """Run once; return a row a layer call and the floating-point operations torch counted."""
    rows: list[Row] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            tensors = _tensors(output)
            if tensors and not isinstance(layer, SILENT):
                shape = tuple(tensors[0].shape)
                rows.append((name, layer, shape, _bytes(tensors), _bytes(_tensors(inputs))))

        return hook

    leaves = [
        (name, layer)
        for name, layer in module.named_modules()
        if not any(True for _ in layer.children()) and not isinstance(layer, torch.jit.ScriptModule)
    ]  # torch watches no layer of a script
    handles = [m.register_forward_hook(watch(n or type(m).__name__)) for n, m in leaves]
    inputs = [torch.zeros(shape, device=device) for shape in shapes]
    module.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*inputs)
    except Exception as error:
        given = " and ".join("x".join(map(str, shape)) for shape in shapes)
        raise EdgeconvError(
            f"the net fails on an input of {given} ({type(error).__name__}: {_reason(error)}): "
            "name what it takes with --input-shape"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return rows, int(counter.get_total_flops())


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _conv_shape(layer: nn.Module, output: tuple[int, ...], bytes_in: int) -> ConvShape | None:
    """Return the convolution that ``layer`` is on this output, or None."""
    if not isinstance(layer, CONVOLUTIONS + TRANSPOSED):
        return None
    if isinstance(layer, TRANSPOSED):  # each input position meets each weight once
        positions = bytes_in // 4 // layer.in_channels
    else:
        positions = math.prod(output) // layer.out_channels
    kernel = tuple(int(k) for k in layer.kernel_size)
    return ConvShape(layer.in_channels, layer.out_channels, kernel, layer.groups, positions)


def _multiply_adds(layer: nn.Module, output: tuple[int, ...], bytes_in: int) -> int:
    conv = _conv_shape(layer, output, bytes_in)
    if conv is not None:
        return conv.multiply_adds
    return math.prod(output) * layer.in_features if isinstance(layer, nn.Linear) else 0


def _kind(layer: nn.Module) -> str:
    """Return the class name, and for convolutions kernel, stride and groups."""
    kind = type(layer).__name__
    if not isinstance(layer, CONVOLUTIONS + TRANSPOSED):
        return kind
    kind += " " + "x".join(map(str, layer.kernel_size))
    if max(layer.stride) > 1:
        kind += f" /{layer.stride[0]}"
    if layer.groups == layer.in_channels > 1:
        return f"{kind} depthwise"
    return f"{kind} {layer.groups} groups" if layer.groups > 1 else kind


def _reason(error: Exception) -> str:
    """Return what torch says; of TorchScript, whose errors begin with a traceback, the last line."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Traceback of TorchScript" in text else text

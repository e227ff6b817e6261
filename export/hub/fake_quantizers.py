"""Modules from quantization-aware training while they are traced: torch's exporters lack some of their quantizers."""

from typing import TYPE_CHECKING, Any

from edgeconv.errors import UnsupportedOpError

if TYPE_CHECKING:
    import torch

EIGHT_BITS = ((0, 255), (-128, 127))
TRACED = (*EIGHT_BITS, (0, 127))
"""The integers, first and last, that torch's exporter has a form for."""
ROUNDING = (
    "torch.ao.quantization.fake_quantize",
    "torch.ao.nn.quantized",
    "torch.ao.nn.intrinsic.quantized",
)
"""Where torch has its fake quantizers, and its layers that hold integers."""

DYNAMIC = ("torch.ao.nn.quantized.dynamic", "torch.ao.nn.intrinsic.quantized.dynamic")
"""Where torch has its layers that quantize their inputs anew in every run."""

DECOMPOSED = "quantized_decomposed"
"""Whose operators convert_pt2e leaves in what torch.export gave."""


def holds_integers(module: "torch.nn.Module") -> bool:
    """Whether a module was quantized by torch.ao or torchao: it rounds while it computes, or computes in integers."""
    parts = list(module.modules())
    kinds = {base for part in parts for base in type(part).__mro__}
    nodes = (node for part in parts for node in getattr(getattr(part, "graph", None), "nodes", ()))
    return any(kind.__module__.startswith(ROUNDING) for kind in kinds) or any(
        getattr(node.target, "namespace", "") == DECOMPOSED for node in nodes
    )


def refuse_dynamic_layers(module: "torch.nn.Module") -> None:
    """Raise UnsupportedOpError for a module with layers that torch.ao or torchao quantized dynamically."""
    layers = (
        f"{type(part).__name__} {name}"
        for name, part in module.named_modules()
        if type(part).__module__.startswith(DYNAMIC)
    )
    weights = (name for name, weight in module.named_parameters() if _quantizes_inputs(weight))
    if found := next(layers, None) or next(weights, None):
        raise UnsupportedOpError(
            f"{type(module).__name__} is quantized dynamically ({found}): its activations get their scales anew with "
            "every input, which no target here does; export the float module it was made from with --int8 --calib"
        )


def _quantizes_inputs(weight: Any) -> bool:
    """Whether torchao's weight has what it is multiplied with quantized first, by scales of that run."""
    how, scale = (getattr(weight, f"act_quant_{name}", None) for name in ("kwargs", "scale"))
    return how is not None and scale is None


def untraceable_integers(module: "torch.nn.Module") -> str:
    """Return what to do with a quantized module that torch's exporters do not trace, or nothing for others."""
    if not holds_integers(module):
        return ""
    return (
        ". It was quantized by torch.ao, and not all of its integer operators have an ONNX form: export it as it was "
        "before torch's convert (fake quantizers of training are traced), or the float module it was made from with --int8 --calib"
    )


def fake_quantizers(torch: Any) -> Any:
    """Return a context in which every fake quantizer of torch's is one that its exporter traces.

    Those that observe too (torch.fused_moving_avg_obs_fake_quant, the default of get_default_qat_qconfig) stay at
    what they have observed. Those of fewer bits, or of -127 to 127, cut real values first.
    """
    fused = torch.fused_moving_avg_obs_fake_quant
    by_tensor, by_channel = (
        torch.fake_quantize_per_tensor_affine,
        torch.fake_quantize_per_channel_affine,
    )

    class Quantizers(torch.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is fused and not kwargs:
                x, _, on, _, _, scale, zero, _, low, high, axis, each = args[:12]
                if not bool(on):
                    return x
                return _rounded(x, scale, zero, axis if each else None, low, high)
            if func is by_tensor and not kwargs and len(args) == 5:
                x, scale, zero, low, high = args
                return _rounded(x, scale, zero, None, low, high)
            if func is by_channel and not kwargs and len(args) == 6:
                return _rounded(*args[:6])
            return func(*args, **(kwargs or {}))

    def _rounded(x: Any, scale: Any, zero: Any, axis: int | None, low: int, high: int) -> Any:
        if (low, high) not in TRACED:
            bounds = [(bound - zero) * scale for bound in (low, high)]
            if axis is not None:
                shape = [-1 if k == axis else 1 for k in range(x.dim())]
                bounds = [bound.reshape(shape) for bound in bounds]
            x = torch.minimum(torch.maximum(x, _tensor(bounds[0])), _tensor(bounds[1]))
            low, high = next(whole for whole in EIGHT_BITS if whole[0] <= low and high <= whole[1])
        if axis is None:
            return by_tensor(x, scale, zero, low, high)
        return by_channel(x, scale, zero, axis, low, high)

    def _tensor(bound: Any) -> Any:
        return torch.as_tensor(bound, dtype=torch.float32)

    return Quantizers()

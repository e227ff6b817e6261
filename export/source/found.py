"""What is exported, wherever it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions

if TYPE_CHECKING:
    import onnx
    import torch


@dataclass(frozen=True)
class Source:
    """What is exported. Exactly one of ``module`` and ``model`` is set.

    ``stem`` begins the files' names; ``shapes`` are the inputs' by name; ``preprocessing`` is None for
    a net that takes no picture, ``origin`` says who says so and ``better`` has
    the options of one that fits the net better. ``net`` and ``weights`` go into the manifest. ``bundled``: the weights
    are ours, so are the calibration pictures. ``dtypes`` are numpy's names for inputs that are not
    float32; ``limits``: integers of an input stay below this (rows of the table it looks up). ``frozen``:
    what the inputs hold that are inputs no more, as nested lists. ``assumed`` says which size nobody gave.
    ``warnings`` are of what makes every verdict worth little: what is fed is not what the net was trained with.
    """

    title: str
    stem: str
    module: "torch.nn.Module | None"
    model: "onnx.ModelProto | None"
    shapes: Mapping[str, tuple[int, ...]]
    output_names: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    labels: list[str] | None
    net: Mapping[str, Any]
    weights: Mapping[str, Any]
    origin: str = "weights"
    better: Mapping[str, Any] = field(default_factory=dict)
    bundled: bool = False
    dtypes: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    frozen: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())
    assumed: str = ""


def net_options(options: ExportOptions) -> dict[str, float | int | str | None]:
    """Return the options that shape one of our nets; None is the net's own."""
    return {
        "width": options.width,
        "groups": options.groups,
        "ratio": options.ratio,
        "activation": options.activation,
    }


def refuse_net_options(options: ExportOptions, name: str) -> None:
    """Raise UsageError for an option of our nets: ``name`` is none of them."""
    for key, value in {**net_options(options), "classes": options.classes}.items():
        if value is not None:
            raise UsageError(f"--{key} is for the nets that edgeconv builds, not for {name}")

"""Whose names a checkpoint uses: for each net, our layer -> their layer in each known layout."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeconv.models.mobilenet_v2 import TABLE as MOBILENET_V2_TABLE
from edgeconv.models.shufflenet_v1 import REPEATS

Shape = tuple[int, ...]
Shapes = dict[str, dict[str, Shape]]
"""Layer prefix -> parameter name -> shape, in the net's own order."""


@dataclass(frozen=True)
class Layout:
    """``source(prefix)`` is their name of our layer ``prefix``; ``missing`` parameters are zeros.

    ``options`` are the net options that such a checkpoint needs.
    """

    name: str
    source: Callable[[str], str]
    missing: frozenset[str] = frozenset()
    options: tuple[tuple[str, str], ...] = ()


def group_layers(shapes: Iterable[tuple[str, Shape]]) -> Shapes:
    """Group ``layer.parameter`` keys by layer, in order of first sight.

    >>> group_layers([("a.0.weight", (4, 3)), ("a.0.bias", (4,))])
    {'a.0': {'weight': (4, 3), 'bias': (4,)}}
    """
    layers: Shapes = {}
    for key, shape in shapes:
        prefix, _, parameter = key.rpartition(".")
        layers.setdefault(prefix, {})[parameter] = shape
    return layers


def layouts(net: str) -> tuple[Layout, ...]:
    """Return the layouts known for ``net``, its own first."""
    own = {
        "mobilenet_v1": "edgeconv layout",
        "mobilenet_v2": "torchvision layout",
        "shufflenet_v1": "edgeconv layout",
        "ghostnet": "official GhostNet layout, which timm shares",
    }
    known = [Layout(own.get(net, f"{net} layout"), lambda prefix: prefix)]
    if net == "mobilenet_v1":
        known.append(Layout("timm layout", _lookup(_timm_mobilenet_v1())))
    if net == "mobilenet_v2":
        known.append(Layout("timm layout", _lookup(_timm_mobilenet_v2())))
    if net == "shufflenet_v1":
        known.append(
            Layout(
                "official ShuffleNet layout",
                _lookup(_official_shufflenet_v1()),
                missing=frozenset({"classifier.bias"}),  # their head has none
                options=(("shuffle", "official"),),
            )
        )
    return tuple(known)


def _lookup(table: Mapping[str, str]) -> Callable[[str], str]:
    return lambda prefix: table.get(prefix, "")


def _timm_mobilenet_v1() -> dict[str, str]:
    table = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier": "classifier"}
    index = 1
    for stage, repeat in enumerate((1, 2, 2, 6, 2)):
        for block in range(repeat):
            theirs = f"blocks.{stage}.{block}"
            for conv, norm in (("conv_dw", "bn1"), ("conv_pw", "bn2")):
                table[f"features.{index}.0"] = f"{theirs}.{conv}"
                table[f"features.{index}.1"] = f"{theirs}.{norm}"
                index += 1
    return table


def _timm_mobilenet_v2() -> dict[str, str]:
    table = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier.1": "classifier"}
    wide = (
        *(("0.0", "conv_pw"), ("0.1", "bn1")),
        *(("1.0", "conv_dw"), ("1.1", "bn2")),
        *(("2", "conv_pwl"), ("3", "bn3")),
    )
    plain = (("0.0", "conv_dw"), ("0.1", "bn1"), ("1", "conv_pw"), ("2", "bn2"))
    index = 1
    for stage, (expansion, _, repeat, _) in enumerate(MOBILENET_V2_TABLE):
        for block in range(repeat):
            for ours, theirs in plain if expansion == 1 else wide:
                table[f"features.{index}.conv.{ours}"] = f"blocks.{stage}.{block}.{theirs}"
            index += 1
    return table | {f"features.{index}.0": "conv_head", f"features.{index}.1": "bn2"}


def _official_shufflenet_v1() -> dict[str, str]:
    table = {"stem.0": "first_conv.0", "stem.1": "first_conv.1", "classifier": "classifier.0"}
    parts = (("reduce", "branch_main_1", 0), ("depthwise", "branch_main_1", 3))
    for unit in range(sum(REPEATS)):
        for ours, theirs, first in (*parts, ("expand", "branch_main_2", 0)):
            for child in (0, 1):
                table[f"features.{unit}.{ours}.{child}"] = (
                    f"features.{unit}.{theirs}.{first + child}"
                )
    return table


def shuffle_before_depthwise(state: dict[str, Tensor], groups: int) -> dict[str, Tensor]:
    """Move the official ShuffleNet's shuffle, which follows the depthwise convolution, before it.

    Exact: a depthwise layer acts on each channel alone, so its channels are dealt out in turn.
    """
    moved = dict(state)
    for key, value in state.items():
        if ".depthwise." in key and groups > 1:
            order = torch.arange(len(value)).view(len(value) // groups, groups).T.flatten()
            moved[key] = value[order]
    return moved

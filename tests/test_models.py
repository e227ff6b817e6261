"""The four nets have the papers' sizes and costs, and refuse options that cannot be."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn

from edgeconv.errors import UsageError
from edgeconv.models import SPECS, build, find_spec, register, resolve_options
from edgeconv.models.layers import make_divisible
from edgeconv.models.summary import summarize


@pytest.mark.parametrize(
    ("net", "parameters_m", "multiply_adds_m"),
    [
        ("mobilenet_v1", 4.232, (569, 569)),
        ("mobilenet_v2", 3.505, (300, 301)),
        ("shufflenet_v1", 1.866, (137, 140)),
        ("ghostnet", 5.183, (141, 142)),
    ],
)
def test_each_net_costs_what_its_paper_says(
    net: str, parameters_m: float, multiply_adds_m: tuple[int, int]
) -> None:
    found = summarize(net)
    assert round(found.parameters / 1e6, 3) == parameters_m
    assert multiply_adds_m[0] <= round(found.multiply_adds / 1e6) <= multiply_adds_m[1]


@pytest.mark.parametrize("net", SPECS)
def test_the_specs_state_exactly_what_the_nets_are(net: str) -> None:
    found = summarize(net)
    assert (found.parameters, found.multiply_adds) == (
        SPECS[net].parameters,
        SPECS[net].multiply_adds,
    )


@pytest.mark.parametrize(
    ("width", "parameters_m", "multiply_adds_m"),
    [(0.75, 2.6, 325), (0.5, 1.3, 149), (0.25, 0.5, 41)],
)
def test_mobilenet_v1_shrinks_as_in_table_6(
    width: float, parameters_m: float, multiply_adds_m: int
) -> None:
    found = summarize("mobilenet_v1", options={"width": width})
    assert round(found.parameters / 1e6, 1) == parameters_m
    assert round(found.multiply_adds / 1e6) in (multiply_adds_m, multiply_adds_m + 1)


@pytest.mark.parametrize(("resolution", "multiply_adds_m"), [(192, 418), (160, 290), (128, 186)])
def test_mobilenet_v1_at_smaller_pictures_costs_as_in_table_7(
    resolution: int, multiply_adds_m: int
) -> None:
    found = summarize("mobilenet_v1", resolution=resolution)
    assert found.multiply_adds / 1e6 == pytest.approx(multiply_adds_m, abs=1)


def test_mobilenet_v2_at_width_1_4_costs_as_in_table_4() -> None:
    found = summarize("mobilenet_v2", options={"width": 1.4})
    assert round(found.parameters / 1e6, 1) == 6.1
    assert 582 <= found.multiply_adds / 1e6 <= 586


@pytest.mark.parametrize(("groups", "multiply_adds_m"), [(1, 143), (2, 140), (3, 137), (4, 133)])
def test_shufflenet_costs_as_in_table_1(groups: int, multiply_adds_m: int) -> None:
    found = summarize("shufflenet_v1", options={"groups": groups}).multiply_adds / 1e6
    assert multiply_adds_m <= found < multiply_adds_m + 1.5


@pytest.mark.parametrize(
    ("groups", "width", "multiply_adds_m"),
    [
        *((3, 0.25, 13), (3, 0.5, 38), (3, 1.5, 292), (3, 2.0, 524)),
        *((8, 0.5, 40), (8, 1.0, 138), (8, 1.5, 290), (8, 2.0, 522)),
    ],
)
def test_shufflenet_scales_as_published(groups: int, width: float, multiply_adds_m: int) -> None:
    found = summarize("shufflenet_v1", options={"groups": groups, "width": width})
    assert round(found.multiply_adds / 1e6) == multiply_adds_m


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("width", [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])
def test_shufflenet_builds_at_every_scale_and_group_count(groups: int, width: float) -> None:
    summarize("shufflenet_v1", options={"groups": groups, "width": width}, resolution=64)


def test_shufflenet_does_not_group_the_first_unit_of_stage_2() -> None:
    net = build("shufflenet_v1", groups=4)
    convolutions = [
        m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)
    ]
    assert [conv.groups for conv in convolutions[:3]] == [1, 4, 4]


def test_mobilenet_v2_halves_the_picture_at_the_64_channel_stage_and_not_at_the_96() -> None:
    shapes = {layer.name: layer.output_shape for layer in summarize("mobilenet_v2").layers}
    assert shapes["features.7.conv.3"] == (1, 64, 14, 14)
    assert shapes["features.11.conv.3"] == (1, 96, 14, 14)


@pytest.mark.parametrize(("width", "parameters_m"), [(0.5, 2.6), (1.3, 7.3)])
def test_ghostnet_scales_as_in_table_7(width: float, parameters_m: float) -> None:
    found = summarize("ghostnet", options={"width": width})
    assert found.parameters / 1e6 == pytest.approx(parameters_m, abs=0.06)


def test_ghostnet_gets_smaller_with_its_ratio() -> None:
    sizes = [summarize("ghostnet", options={"ratio": ratio}).parameters for ratio in (2, 3, 4, 5)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("net", SPECS)
def test_a_net_gives_one_row_of_finite_logits_a_picture(net: str) -> None:
    torch.manual_seed(0)
    module = build(net, classes=7).eval()
    with torch.inference_mode():
        logits = module(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 7)
    assert bool(torch.isfinite(logits).all())


def test_relu_replaces_every_relu6_on_request() -> None:
    kinds = {type(m) for m in build("mobilenet_v1", activation="relu").modules()}
    assert nn.ReLU in kinds
    assert nn.ReLU6 not in kinds


def test_an_unknown_net_is_answered_with_the_nearest_names_and_the_list() -> None:
    with pytest.raises(UsageError, match=r"did you mean mobilenet_v2.*ghostnet"):
        find_spec("MobileNet-V2")
    with pytest.raises(UsageError, match="unknown net 'resnet50': choose one of"):
        find_spec("resnet50")


@pytest.mark.parametrize(
    ("net", "options", "text"),
    [
        ("mobilenet_v2", {"groups": 3}, "mobilenet_v2 has no option groups: it takes width, act"),
        ("shufflenet_v1", {"groups": 5}, "groups 1, 2, 3, 4, 8, not 5"),
        ("shufflenet_v1", {"width": 3.0}, "width from 0.25 to 2.0"),
        ("ghostnet", {"ratio": 1}, "ratio 2, 3, 4, 5, not 1"),
        ("ghostnet", {"activation": "relu"}, "no option activation"),
        ("mobilenet_v1", {"activation": "selu"}, "activation relu6, relu, not selu"),
        ("mobilenet_v1", {"width": float("nan")}, "not nan"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(
    net: str, options: dict[str, float | int | str], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        resolve_options(net, options)


def test_a_net_needs_at_least_one_class() -> None:
    with pytest.raises(UsageError, match="at least one class"):
        build("ghostnet", classes=0)


def test_registering_a_name_twice_raises() -> None:
    with pytest.raises(ValueError, match="already registered"):
        register(dataclasses.replace(SPECS["ghostnet"], title="another"))


def test_the_specs_load_without_torch() -> None:
    code = "import edgeconv.models.overview, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_make_divisible_stays_within_a_tenth_below() -> None:
    for value in range(8, 400):
        rounded = make_divisible(value)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * value

"""Weights load from every layout people have, and what does not fit is named."""

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.models import build
from edgeconv.models.key_layouts import group_layers, shuffle_before_depthwise
from edgeconv.models.layer_order import Mismatch, match_by_order, natural
from edgeconv.models.shufflenet_v1 import channel_shuffle
from edgeconv.models.weights import LoadedWeights, load_weights

KEYS = Path(__file__).parent / "golden" / "keys"


def recorded(name: str) -> dict[str, Tensor]:
    """Return a state dict with the recorded keys and shapes; each tensor tells by its values apart."""
    state: dict[str, Tensor] = {}
    for number, line in enumerate((KEYS / f"{name}.txt").read_text().splitlines()):
        key, _, text = line.partition(" ")
        shape = tuple(int(size) for size in text.split("x")) if text else ()
        state[key] = torch.full(shape, 1.0 + number / 1000)
    return state


def small(net: str = "mobilenet_v1", classes: int = 5, width: float = 0.25) -> nn.Module:
    torch.manual_seed(1)
    return build(net, classes=classes, width=width).eval()


def stored(net: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


def load_small(path: Path) -> LoadedWeights:
    return load_weights("mobilenet_v1", {"width": 0.25}, str(path))


@pytest.mark.parametrize(
    ("keys", "net", "options", "layout"),
    [
        ("torchvision_mobilenet_v2", "mobilenet_v2", {}, "torchvision layout"),
        ("timm_mobilenetv1_100", "mobilenet_v1", {}, "timm layout"),
        ("timm_mobilenetv2_100", "mobilenet_v2", {}, "timm layout"),
        ("timm_ghostnet_100", "ghostnet", {}, "official GhostNet layout, which timm shares"),
        ("official_shufflenet_v1_g3_1.0", "shufflenet_v1", {}, "official ShuffleNet layout"),
        (
            "official_shufflenet_v1_g8_0.5",
            "shufflenet_v1",
            {"groups": 8, "width": 0.5},
            "official ShuffleNet layout",
        ),
    ],
)
def test_every_recorded_layout_loads_with_each_tensor_in_its_place(
    tmp_path: Path, keys: str, net: str, options: dict[str, float], layout: str
) -> None:
    state = recorded(keys)
    path = tmp_path / "net.pth"
    torch.save(state, path)
    loaded = load_weights(net, options, str(path))
    assert (loaded.matched, loaded.classes) == (layout, 1000)
    theirs = sorted(float(v.flatten()[0]) for k, v in state.items() if "num_batches" not in k)
    ours = sorted(float(v.flatten()[0]) for k, v in loaded.state.items() if v.any())
    assert ours == theirs
    ours_first, theirs_first = next(iter(loaded.state.values())), next(iter(state.values()))
    assert torch.equal(ours_first, theirs_first)
    loaded.build()


def test_timm_names_map_to_the_layer_of_the_same_role(tmp_path: Path) -> None:
    state = recorded("timm_mobilenetv2_100")
    torch.save(state, tmp_path / "net.pth")
    loaded = load_weights("mobilenet_v2", {}, str(tmp_path / "net.pth")).state
    for ours, theirs in {
        "features.0.0.weight": "conv_stem.weight",
        "features.1.conv.0.0.weight": "blocks.0.0.conv_dw.weight",
        "features.1.conv.2.running_mean": "blocks.0.0.bn2.running_mean",
        "features.2.conv.2.weight": "blocks.1.0.conv_pwl.weight",
        "features.17.conv.1.1.bias": "blocks.6.0.bn2.bias",
        "features.18.1.running_var": "bn2.running_var",
        "classifier.1.bias": "classifier.bias",
    }.items():
        assert torch.equal(loaded[ours], state[theirs]), ours


def official_unit(x: Tensor, groups: int) -> Tensor:
    """The official code's shuffle: channels read as (C/groups, groups), then transposed."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels // groups, groups, height, width)
    return x.permute(0, 2, 1, 3, 4).reshape(batch, channels, height, width)


@given(st.sampled_from([(3, 5), (8, 3), (2, 2), (1, 4)]))
@settings(max_examples=4)
def test_the_official_shuffle_after_a_depthwise_layer_equals_ours_before_it(
    sizes: tuple[int, int],
) -> None:
    groups, each = sizes
    channels = groups * each
    weight = torch.arange(1.0, channels + 1).view(channels, 1, 1, 1)
    x = torch.rand(1, channels, 3, 3)
    official = official_unit(nn.functional.conv2d(x, weight, groups=channels), groups)
    moved = shuffle_before_depthwise({"u.depthwise.0.weight": weight}, groups)
    shuffled = channel_shuffle(x, each) if groups > 1 else x
    ours = nn.functional.conv2d(shuffled, moved["u.depthwise.0.weight"], groups=channels)
    assert torch.equal(ours, official)


def test_an_official_shufflenet_gets_the_official_channel_order_and_a_zero_bias(
    tmp_path: Path,
) -> None:
    torch.save(recorded("official_shufflenet_v1_g3_1.0"), tmp_path / "net.pth")
    loaded = load_weights("shufflenet_v1", {}, str(tmp_path / "net.pth"))
    assert loaded.options["shuffle"] == "official"
    assert float(loaded.state["classifier.bias"].abs().max()) == 0


@pytest.mark.parametrize(
    "wrap", ["plain", "state_dict", "model", "lightning", "ema", "nested", "module."]
)
def test_wrapped_checkpoints_load(tmp_path: Path, wrap: str) -> None:
    net = small()
    state = dict(net.state_dict())
    data: object = {
        "plain": state,
        "state_dict": {"epoch": 3, "state_dict": state},
        "model": {"model": state, "optimizer": {"lr": 0.1}},
        "lightning": {
            "state_dict": {f"net.{key}": value for key, value in state.items()},
            "epoch": 3,
        },
        "ema": {"model": {k: torch.zeros_like(v) for k, v in state.items()}, "ema": state},
        "nested": {"ema": {"model": state}},
        "module.": {f"module.{key}": value for key, value in state.items()},
    }[wrap]
    path = tmp_path / ("net.ckpt" if wrap == "lightning" else "net.pt")
    torch.save(data, path)
    loaded = load_small(path)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded.build()(x), net(x))
    assert ("in the file" in loaded.matched) == (wrap not in ("plain", "module."))


def test_half_precision_safetensors_load_as_float32(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in stored(small()).items()}
    save_file(state, tmp_path / "net.safetensors")
    loaded = load_small(tmp_path / "net.safetensors")
    assert {value.dtype for value in loaded.state.values()} == {torch.float32}
    assert loaded.classes == 5


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Nobody's names, whose alphabetical order is not the layers' order."""
    names = {"reduce": "zz", "depthwise": "mm", "expand": "aa"}
    return {
        ".".join(names.get(part, part) for part in key.split(".")).replace("features", "body"): v
        for key, v in state.items()
    }


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_unknown_names_are_matched_by_order_and_shape_and_said_so(
    tmp_path: Path, ending: str
) -> None:
    net = small("shufflenet_v1", width=0.5)
    path = tmp_path / f"net{ending}"
    state = {k.replace("classifier", "head"): v for k, v in renamed(stored(net)).items()}
    state = {k.replace("stem", "a_first"): v for k, v in state.items()}
    if ending == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    loaded = load_weights("shufflenet_v1", {"width": 0.5}, str(path))
    assert loaded.matched == "matched by order and shape"
    for key, value in stored(net).items():
        assert torch.equal(loaded.state[key], value), key


def test_a_1x1_convolution_may_be_the_head(tmp_path: Path) -> None:
    state = stored(small())
    state["classifier.weight"] = state["classifier.weight"][:, :, None, None]
    torch.save(state, tmp_path / "net.pt")
    assert load_small(tmp_path / "net.pt").state["classifier.weight"].shape == (5, 256)


def test_siblings_keep_one_order_in_every_block() -> None:
    theirs = group_layers(
        (f"b.{block}.{name}.weight", shape)
        for block in (0, 1, 10, 2)
        for name, shape in (("x", (4, 4)), ("y", (4, 2) if block == 10 else (4, 4)))
    )
    shapes = [(4, 4)] * 6 + [(4, 2), (4, 4)]
    ours = group_layers((f"l{n}.weight", shape) for n, shape in enumerate(shapes))
    found = match_by_order(ours, theirs)
    assert not isinstance(found, Mismatch)
    assert list(found.values()) == [f"b.{b}.{n}" for b in (0, 1, 2, 10) for n in "yx"]


def test_a_wrong_width_names_the_first_tensor_with_both_shapes(tmp_path: Path) -> None:
    torch.save(stored(small()), tmp_path / "net.pt")
    with pytest.raises(
        EdgeconvError,
        match=r"features\.0\.0\.weight is 8x3x3x3 in the file.*is 16x3x3x3 in the net",
    ):
        load_weights("mobilenet_v1", {"width": 0.5}, str(tmp_path / "net.pt"))


def test_another_nets_weights_name_a_tensor_with_both_shapes(tmp_path: Path) -> None:
    torch.save({f"x.{n}": torch.zeros(3, 3) for n in range(4)}, tmp_path / "net.pt")
    with pytest.raises(EdgeconvError, match="does not fit ghostnet"):
        load_weights("ghostnet", {}, str(tmp_path / "net.pt"))
    torch.save(stored(small()), tmp_path / "v1.pt")
    with pytest.raises(EdgeconvError, match=r"is 8x3x3x3 in the file, .* is 16x3x3x3 in the net"):
        load_weights("ghostnet", {}, str(tmp_path / "v1.pt"))


def test_a_missing_and_a_surplus_tensor_are_named(tmp_path: Path) -> None:
    state = stored(small())
    torch.save(state | {"extra.weight": torch.zeros(2, 2)}, tmp_path / "more.pt")
    with pytest.raises(EdgeconvError, match=r"extra\.weight \(2x2\) of .*more\.pt is not in"):
        load_small(tmp_path / "more.pt")
    del state["features.3.0.weight"]
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(EdgeconvError, match=r"features\.3\.0\.weight"):
        load_small(tmp_path / "less.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, bad: float) -> None:
    state = {k: v.double() if v.is_floating_point() else v for k, v in stored(small()).items()}
    state["features.2.0.weight"][0, 0, 0, 0] = bad
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(EdgeconvError, match=r"features\.2\.0\.weight holds (NaN|Inf)"):
        load_small(tmp_path / "net.pt")


class Evil:
    """Pickles as a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch.__get__(Path("never")), ())  # type: ignore[return-value] # on purpose


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    for name, data in {"module.pt": small(), "evil.pt": {"state_dict": Evil()}}.items():
        torch.save(data, tmp_path / name)
        with pytest.raises(EdgeconvError, match=r"does not run code from a file"):
            load_small(tmp_path / name)
    assert not Path("never").exists()


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(stored(small()), path)
    else:
        save_file(stored(small()), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(EdgeconvError, match="truncated or not a"):
        load_small(path)


def test_other_things_given_as_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"no weights file nowhere\.pt"):
        load_small(Path("nowhere.pt"))
    (tmp_path / "net.txt").write_text("weights")
    with pytest.raises(UsageError, match="does not look like weights"):
        load_small(tmp_path / "net.txt")
    with (tmp_path / "list.pt").open("wb") as file:
        pickle.dump([1, 2], file)
    with pytest.raises(EdgeconvError, match=r"list\.pt"):
        load_small(tmp_path / "list.pt")
    torch.save([torch.zeros(2)], tmp_path / "tensors.pt")
    with pytest.raises(EdgeconvError, match="holds a list, not weights"):
        load_small(tmp_path / "tensors.pt")
    torch.save({"w.weight": torch.zeros(3, dtype=torch.int8)}, tmp_path / "int8.pt")
    with pytest.raises(EdgeconvError, match=r"w\.weight is torch\.int8"):
        load_small(tmp_path / "int8.pt")


def test_other_classes_than_the_heads_are_refused(tmp_path: Path) -> None:
    torch.save(stored(small()), tmp_path / "net.pt")
    with pytest.raises(UsageError, match="for 5 classes, not 7"):
        load_weights("mobilenet_v1", {"width": 0.25}, str(tmp_path / "net.pt"), classes=7)


def test_random_weights_come_from_the_seed() -> None:
    one, same, other = (
        load_weights("mobilenet_v1", {"width": 0.25}, "random", classes=3, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.sha256 == same.sha256 != other.sha256
    assert (one.classes, one.accuracy) == (3, None)


def test_what_only_looks_like_a_number_in_a_name_counts_as_a_word() -> None:
    assert natural("b\u00b2") == [(-1, "b\u00b2")]
    assert natural("b10")[1] == (10, "")
    assert natural("9" * 5000)[1] == (-1, "9" * 5000)

"""How pictures become tensors: said in every run, named, and checked by the net's own statistics."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.artifact import Preprocessing, load_artifact
from edgeconv.cli import main
from edgeconv.errors import UsageError
from edgeconv.preprocessing import NAMED, as_wished, named, scaling, turned

torch = pytest.importorskip("torch", reason="needs the torch extra")
onnx = pytest.importorskip("onnx", reason="needs the export extra")

PICTURES = Path(__file__).parents[1] / "calib_data" / "calibration"


@pytest.mark.parametrize("net", ["mobilenet_v1", "shufflenet_v1"])
def test_the_first_batch_norm_names_what_a_net_was_trained_with(net: str) -> None:
    """The bundled weights kept the statistics of pictures on -1..1."""
    from edgeconv.export.fit_preprocessing import fit_preprocessing
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.source import open_source

    source = open_source(ExportOptions(net=net))
    assert source.preprocessing is not None
    assert named(source.preprocessing) == "symmetric"
    for name in NAMED:
        mean, std = scaling(name)
        how = replace(source.preprocessing, mean=mean, std=std)
        fit = fit_preprocessing(source.module, None, how, str(PICTURES))
        assert fit is not None
        if name == "symmetric":
            assert fit.better is None, str(fit)
        else:
            assert fit.better is not None
            assert (fit.better.name, fit.turned) == ("symmetric", False)
            assert "try --preprocessing symmetric" in str(fit)


def test_an_onnx_file_with_batch_norm_is_judged_and_a_folded_one_is_not() -> None:
    from edgeconv.export.fit_preprocessing import fit_preprocessing
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.source import open_source

    source = open_source(ExportOptions(net="mobilenet_v1"))
    assert source.module is not None
    conv = next(m for m in source.module.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in source.module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    wrong = Preprocessing(*NAMED["imagenet"], 1.0, (64, 64))
    for folded in (False, True):
        fit = fit_preprocessing(None, stem(conv, norm, folded), wrong, str(PICTURES))
        assert (fit is None) is folded
        assert fit is None or (fit.better is not None and fit.better.name == "symmetric")


def stem(conv: Any, norm: Any, folded: bool) -> Any:
    """Return the stem of a net as an .onnx model: its convolution, and its batch norm or none."""
    from onnx import TensorProto, helper, numpy_helper

    stored = {"g": norm.weight, "b": norm.bias, "m": norm.running_mean, "v": norm.running_var}
    tensors = {"w": conv.weight, **stored}
    pads, strides = [conv.padding[0]] * 4, list(conv.stride)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=pads, strides=strides)]
    if folded:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    else:
        nodes.append(helper.make_node("BatchNormalization", ["c", *stored], ["y"]))
    size = [1, conv.out_channels, 32, 32]
    graph = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, size)],
        [numpy_helper.from_array(t.detach().numpy(), name) for name, t in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_statistics_that_no_training_changed_judge_nothing() -> None:
    from edgeconv.export.fit_preprocessing import fit_preprocessing

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    how = Preprocessing(*NAMED["imagenet"], 1.0, (32, 32))
    assert fit_preprocessing(net, None, how, str(PICTURES)) is None
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)).eval()
    assert fit_preprocessing(plain, None, how, str(PICTURES)) is None


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("trained", {}, "the first batch norm's statistics fit"),
        ("fresh", {}, "cannot be judged: its batch norm's statistics are of no training"),
        ("none", {}, "cannot be judged: the net has no batch norm's statistics; --truth"),
        ("folded", {}, "cannot be judged: the file has no batch norm's statistics; --truth"),
        ("folded", {"preprocessing": "auto"}, "no statistics that --preprocessing auto"),
        ("none", {"truth": "folders"}, "by the true classes no other preprocessing is surely"),
        ("folded", {"calib": None}, ""),
    ],
)
def test_what_cannot_judge_a_preprocessing_is_said(
    kind: str, given: dict[str, Any], says: str, tmp_path: Path
) -> None:
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.settle_preprocessing import settle_preprocessing
    from edgeconv.export.source import open_source

    source = open_source(ExportOptions(net="mobilenet_v1"))
    conv, norm = torch.nn.Conv2d(3, 4, 3, 2), torch.nn.BatchNorm2d(4)
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 5)]
    nets: dict[str, Any] = {
        "trained": {},
        "fresh": {"module": torch.nn.Sequential(conv, norm, *head).eval()},
        "none": {"module": torch.nn.Sequential(conv, *head).eval()},
        "folded": {"module": None, "model": stem(conv, norm, True)},
    }
    source = replace(source, origin="given", bundled=False, **nets[kind])
    for name in "ab":
        coloured(tmp_path / name, 4)
    said: list[str] = []
    folder = str(PICTURES if kind == "trained" else tmp_path)
    options = ExportOptions(net="mobilenet_v1", **{"calib": folder, **given})
    settle_preprocessing(source, options, ["a", "b", "c", "d", "e"], said.append)
    assert len(said) == 1 + bool(says)
    assert says in said[-1]


def coloured(folder: Path, count: int = 64, grey: bool = False) -> Path:
    """Write pictures whose red moves most, a class in each name: what colour the patch has."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        pixels = rng.normal(90, 12, size=(16, 16, 3)) + np.array([70, 0, -40]) * rng.normal(1, 0.5)
        kind = number % 3
        pixels[4:12, 4:12] = 40
        pixels[4:12, 4:12, kind] = 220
        if grey:
            pixels[:] = pixels.mean(axis=2, keepdims=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
            folder / f"{number}_{kind}.png"
        )
    return folder


def with_statistics(folder: Path, how: Preprocessing) -> Any:
    """Return a random convolution and the batch norm that saw ``folder`` as ``how`` prepares it."""
    from edgeconv.export.fit_preprocessing import some_pictures
    from edgeconv.pictures import to_input

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, 2), torch.nn.BatchNorm2d(16, momentum=None))
    seen = [to_input(picture, how, 3) for picture in some_pictures(str(folder), how, 64)]
    with torch.no_grad():
        net.train()(torch.from_numpy(np.concatenate(seen)))
    return net.eval()


def test_channel_order_is_named_where_the_first_batch_norm_decides(tmp_path: Path) -> None:
    from edgeconv.export.fit_preprocessing import fit_preprocessing

    how = Preprocessing(*NAMED["imagenet"], 1.0, (16, 16))
    folder, grey = coloured(tmp_path / "c"), coloured(tmp_path / "g", grey=True)
    net = with_statistics(folder, how)
    for flipped in (False, True):
        fit = fit_preprocessing(net, None, how, str(folder))
        assert fit is not None
        assert fit.better is None
        assert fit.wish == ({"channel_order": "bgr"} if flipped else {})
        assert ("BGR" in str(fit)) is flipped
        other = fit_preprocessing(net, None, turned(how), str(folder))
        assert other is not None
        assert other.wish == ({} if flipped else {"channel_order": "rgb"})
        without = fit_preprocessing(net, None, how, str(grey))
        assert without is not None
        assert not without.turned
        net[0].weight.data = net[0].weight.data.flip(1)


@pytest.mark.parametrize("kind", ["coloured", "palette"])
def test_negatives_are_named_and_are_taken_for_no_other_order(kind: str, tmp_path: Path) -> None:
    """Negatives of a palette of heat look like its pictures in the other order: both are named then, and no option."""
    from PIL import Image

    from edgeconv.export.fit_preprocessing import fit_preprocessing

    how = Preprocessing(*NAMED["symmetric"], 1.0, (16, 16))
    folder, changed = coloured(tmp_path / "seen"), tmp_path / "changed"
    changed.mkdir()
    rng = np.random.default_rng(3)

    def shown(change: Any) -> Any:
        for path in folder.iterdir():
            Image.fromarray(change(np.asarray(Image.open(path)))).save(changed / path.name)
        return fit_preprocessing(net, None, how, str(changed))

    if kind == "palette":
        for path in folder.iterdir():
            heat = rng.random((4, 4, 1)).repeat(4, 0).repeat(4, 1) * 3 - [0, 1, 2]
            Image.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8)).save(path)
    net = with_statistics(folder, how)
    negatives = shown(lambda pixels: 255 - pixels)
    assert (negatives.negative, negatives.turned) == (True, kind == "palette")
    assert negatives.wrong
    assert "negatives (255 - x)" in str(negatives)
    assert negatives.wish == {}
    turned_over = shown(lambda pixels: np.ascontiguousarray(pixels[:, :, ::-1]))
    assert (turned_over.turned, turned_over.negative) == (True, kind == "palette")
    assert turned_over.wish == ({} if kind == "palette" else {"channel_order": "bgr"})


def test_true_classes_are_asked_where_statistics_leave_two_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where they say nothing, what the statistics say stands."""
    from edgeconv.export import settle_preprocessing as settle
    from edgeconv.export.fit_by_scores import Claim
    from edgeconv.export.fit_preprocessing import Candidate, Fit
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.source import open_source

    folder = coloured(tmp_path / "c", 3)
    rows = "".join(f"{path.name},{path.stem[-1]}\n" for path in folder.iterdir())
    (tmp_path / "truth.csv").write_text("file,class\n" + rows)
    options = ExportOptions("mobilenet_v1", calib=str(folder), truth=str(tmp_path / "truth.csv"))
    fit = Fit((Candidate("unit", 0.9),), 0.9, 3, turned=True, negative=True)
    monkeypatch.setattr(settle, "fit_preprocessing", lambda *_: fit)
    for told in (Claim("BGR", {"channel_order": "bgr"}), None):
        monkeypatch.setattr(settle, "better_by_truth", lambda *_, told=told, **__: told)
        found, _ = settle.settle_preprocessing(open_source(options), options, None, lambda _: None)
        assert found.better == ({} if told is None else told.wish)
        assert found.warnings[0].startswith("PICTURES LOOK WRONG" if told is None else "BGR")


def test_pictures_of_other_things_are_told_no_scaling(tmp_path: Path) -> None:
    """Of half the contrast, they come seven times closer to ImageNet's scaling than to the right one, and do not fit it."""
    from PIL import Image

    from edgeconv.export.fit_preprocessing import fit_preprocessing

    how = Preprocessing(*NAMED["symmetric"], 1.0, (16, 16))
    folder, other = coloured(tmp_path / "seen"), tmp_path / "other"
    net = with_statistics(folder, how)
    other.mkdir()
    for path in folder.iterdir():
        pixels = np.asarray(Image.open(path)).astype(float)[::-1]
        noise = 8 * np.random.default_rng(int(path.name[0])).normal(size=pixels.shape)
        pale = 128 + 0.45 * (pixels - pixels.mean()) - 25.5 + noise
        Image.fromarray(np.clip(pale, 0, 255).astype(np.uint8)).save(other / path.name)
    fit = fit_preprocessing(net, None, how, str(other))
    assert fit is not None
    assert fit.present > 4 * fit.ranked[0].divergence
    assert not fit.wrong
    assert "no usual preprocessing fits" in str(fit)
    wrong = replace(how, mean=NAMED["imagenet"][0], std=NAMED["imagenet"][1])
    told = fit_preprocessing(net, None, wrong, str(folder))
    assert told is not None
    assert told.wish == {"preprocessing": "symmetric"}


@pytest.mark.parametrize("share", [0.6, 0.25, 0.05])
def test_pictures_that_are_far_too_dark_are_named(share: float, tmp_path: Path) -> None:
    """Those of dusk are not; nor is a scaling named that would be right for what nobody has."""
    from PIL import Image

    from edgeconv.export.fit_preprocessing import fit_preprocessing

    how = Preprocessing(*NAMED["symmetric"], 1.0, (16, 16))
    folder, dark = coloured(tmp_path / "c"), tmp_path / "dark"
    net = with_statistics(folder, how)
    dark.mkdir()
    for path in folder.iterdir():
        pixels = np.rint(np.asarray(Image.open(path)) * share).astype(np.uint8)
        Image.fromarray(pixels).save(dark / path.name)
    fit = fit_preprocessing(net, None, how, str(dark))
    assert fit is not None
    assert fit.wish == {}
    assert fit.wrong is (share < 0.5)
    assert ("times as bright: these are too dark" in str(fit)) is (share < 0.5)
    assert fit.brighter == (1.0 if share > 0.5 else pytest.approx(1 / share, rel=0.2))


@pytest.mark.parametrize(
    ("fed", "order", "claimed"),
    [("raw", [0, 1, 2], "raw"), ("raw", [2, 1, 0], "BGR"), ("symmetric", [0, 1, 2], "")],
)
def test_labelled_pictures_judge_a_net_without_batch_norm(
    tmp_path: Path, fed: str, order: list[int], claimed: str
) -> None:
    """The net tells the patch's colour, by thresholds on 0..255: other scalings say one class for all."""
    from edgeconv.export.fit_by_scores import better_by_truth, class_scores

    def colour(x: Any) -> Any:
        patch = x[:, order, 6:10, 6:10].mean((2, 3))
        return torch.relu(patch - (130.0 if fed == "raw" else 0.0))

    folder = coloured(tmp_path / "c")
    truth = {path.name: int(path.stem[-1]) for path in folder.iterdir()}
    given = {"raw": "raw", "BGR": "raw"}.get(claimed, "symmetric")
    how = Preprocessing(*NAMED["unit" if claimed == "raw" else given], 1.0, (16, 16))
    net = class_scores(cast(Any, colour), None, (1, 3, 16, 16))
    assert net is not None
    asked = []

    def counted(value: Any) -> Any:
        asked.append(value.shape)
        return net(value)

    claim = better_by_truth(counted, how, 3, str(folder), truth)
    barred = better_by_truth(net, how, 3, str(folder), truth, scalings=False)
    assert barred == (claim if claimed == "BGR" else None)  # where statistics fit
    assert (len(asked) == len(truth)) is not bool(claimed)  # all right: nothing can be better
    assert (claim is not None) == bool(claimed)
    if claim is not None:
        assert claimed.lower() in claim.text
        wish = {"preprocessing": "raw"} if claimed == "raw" else {"channel_order": "bgr"}
        assert claim.wish == wish


def test_labelled_negatives_are_named_where_another_order_classifies_them_better_too(
    tmp_path: Path,
) -> None:
    """BGR classifies a third of them right, and what is fed none: BGR was claimed."""
    from PIL import Image, ImageOps

    from edgeconv.export.fit_by_scores import better_by_truth, class_scores

    def colour(x: Any) -> Any:
        return torch.relu(x[:, :, 6:10, 6:10].mean((2, 3)) - 130.0)

    folder = coloured(tmp_path / "c")
    for path in folder.iterdir():
        ImageOps.invert(Image.open(path)).save(path)
    truth = {path.name: int(path.stem[-1]) for path in folder.iterdir()}
    net = class_scores(cast(Any, colour), None, (1, 3, 16, 16))
    assert net is not None
    claim = better_by_truth(net, Preprocessing(*NAMED["raw"], 1.0, (16, 16)), 3, str(folder), truth)
    assert claim is not None
    assert claim.wish == {}
    assert claim.text.startswith(
        "PICTURES LOOK WRONG: over 64 pictures top-1 is 0.0 %, and 100.0 %"
    )
    assert claim.text.endswith("with their negatives (255 - x)")


def test_scores_that_tell_pictures_apart_are_a_hint_and_no_more(tmp_path: Path) -> None:
    from edgeconv.export.fit_by_scores import class_scores, hint_by_scores

    def colour(x: Any) -> Any:
        return torch.relu(x[:, :, 6:10, 6:10].mean((2, 3)) - 130.0)

    folder = str(coloured(tmp_path / "c", 16))
    net = class_scores(cast(Any, colour), None, (1, 3, 16, 16))
    assert net is not None
    said = hint_by_scores(net, Preprocessing(*NAMED["unit"], 1.0, (16, 16)), 3, folder)
    assert said is not None
    assert said.startswith("a hint, no more: with --preprocessing raw")
    asked = []

    def one_hot(value: Any) -> Any:
        asked.append(value.shape)
        return 50.0 * np.eye(8)[len(asked) % 8][None]

    how = Preprocessing(*NAMED["unit"], 1.0, (16, 16))
    assert hint_by_scores(one_hot, how, 3, folder) is None
    assert len(asked) == 8  # scores that tell every picture apart are asked no further
    assert hint_by_scores(net, Preprocessing(*NAMED["raw"], 1.0, (16, 16)), 3, folder) is None


@pytest.mark.slow
def test_a_warning_is_in_the_verdict_the_page_and_the_manifest_and_quiet_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an equal export that was kept says it again."""
    from edgeconv.api import export_model
    from edgeconv.commands.progress import echo_closing
    from edgeconv.export.kept.report_data import from_data, to_data
    from edgeconv.export_page import write_report

    how = Preprocessing(*NAMED["unit"], 1.0, (16, 16))
    folder = coloured(tmp_path / "c")
    net = torch.nn.Sequential(
        *with_statistics(folder, how),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    ).eval()

    def export(name: str) -> Any:
        return export_model(
            net,
            input_shape=(1, 3, 16, 16),
            precision="fp32",
            targets=("onnx",),
            calib=str(folder),
            preprocessing=name,
            crop=1.0,
            output=tmp_path / name,
        )

    for name, warns in (("raw", True), ("unit", False)):
        report = export(name)
        assert bool(report)
        assert len(report.warnings) == warns
        assert report.to_json()["warnings"] == list(report.warnings)
        echo_closing(from_data(to_data(report), report.options), quiet=True)
        out, err = capsys.readouterr()
        assert ("PREPROCESSING LOOKS WRONG" in err) is warns
        assert ("all within budget, but the pictures look wrong (see above)" in out) is warns
        artifact = load_artifact(report.artifacts[0].path)
        assert artifact is not None
        assert tuple(artifact.manifest.get("warnings", ())) == report.warnings
        page = write_report(artifact.path)
        assert ("but the pictures look wrong:" in page) is warns
        assert ("try --preprocessing unit" in page) is warns


@pytest.mark.slow
def test_the_command_says_warns_and_finds(tmp_path: Path) -> None:
    export = ["export", "mobilenet_v1", "--target", "onnx", "--verify-count", "20"]
    ran = CliRunner().invoke(
        main, [*export, "--preprocessing", "imagenet", "--output", str(tmp_path / "a")]
    )
    assert "imagenet: mean 0.485,0.456,0.406" in " ".join(ran.output.split())
    assert "PREPROCESSING LOOKS WRONG" in " ".join(ran.output.split())
    ran = CliRunner().invoke(
        main, [*export, "--preprocessing", "auto", "--output", str(tmp_path / "b")]
    )
    assert "symmetric: mean 0.5, std 0.5 · crop" in " ".join(ran.output.split())
    assert "found by the first batch norm" in " ".join(ran.output.split())
    (file,) = (tmp_path / "b").glob("*.onnx")
    ran = CliRunner().invoke(main, ["parity", str(file), "--count", "5"])
    assert "pictures: symmetric: mean 0.5, std 0.5" in " ".join(ran.output.split())
    ran = CliRunner().invoke(main, ["run", str(file), str(next(PICTURES.glob("*.png")))])
    assert "pictures: symmetric: mean 0.5, std 0.5" in " ".join(ran.output.split())


def test_a_name_and_values_contradict_each_other() -> None:
    ran = CliRunner().invoke(
        main, ["export", "mobilenet_v1", "--preprocessing", "unit", "--mean", "0.5"]
    )
    assert ran.exit_code == 2
    assert "leave --mean and --std out" in ran.output


def test_parity_takes_a_name_and_says_that_folders_are_the_truth(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    from edgeconv.parity.api import check_parity
    from edgeconv.parity.report import summary

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 16, 16]), ("y", [1, 3]))
    ]
    graph = helper.make_graph(nodes, "colours", ends[:1], ends[1:])
    net = tmp_path / "net.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), net
    )
    folder = coloured(tmp_path / "c", 12)
    for path in list(folder.iterdir()):
        own = folder / path.stem[-1]
        own.mkdir(exist_ok=True)
        path.rename(own / path.name)
    asked: Any = {"reference": str(net), "data": str(folder)}
    matrix = check_parity([net], preprocessing="unit", **asked).matrix
    said = summary(matrix)
    assert "truth: folders (the pictures lie in folders of their classes)" in said
    assert any(line.startswith("pictures: unit: mean 0, std 1") for line in said)
    assert "top1" in matrix.rows[0].figures["y"]
    (folder / "3").mkdir()  # a fourth class, of a net with three: these are no classes of it
    next((folder / "0").iterdir()).rename(folder / "3" / "0.png")
    matrix = check_parity([net], preprocessing="unit", **asked).matrix
    assert "top1" not in matrix.rows[0].figures["y"]


@dataclass(frozen=True)
class Wish:
    """What a user says, in the names that every command has."""

    preprocessing: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: Any = None
    channel_order: Any = None


def test_wishes_stand_over_what_is_known_already() -> None:
    """A colour keeps its mean in the other order; values of the user's are the tensor's."""
    own = Preprocessing(*NAMED["imagenet"], 0.875, (8, 8), embedded=True)
    bgr = as_wished(own, Wish(channel_order="bgr"), 3)
    assert (bgr.mean, bgr.order, bgr.embedded) == (own.mean[::-1], "bgr", True)
    assert named(bgr) == "imagenet"
    assert as_wished(bgr, Wish(preprocessing="imagenet"), 3).mean == own.mean[::-1]
    assert as_wished(bgr, Wish(channel_order="rgb"), 3) == own
    given = as_wished(own, Wish(mean=(0.1, 0.2, 0.3), channel_order="bgr", crop="letterbox"), 3)
    assert (given.mean, given.crop, given.embedded) == ((0.1, 0.2, 0.3), "letterbox", False)
    with pytest.raises(UsageError, match="three channels"):
        as_wished(own, Wish(channel_order="bgr"), 1)


def test_a_net_of_bgr_pictures_goes_through_every_command(tmp_path: Path) -> None:
    """The net names the largest of its channels, in BGR: blue first."""
    from PIL import Image

    from edgeconv import export_model, run_model
    from edgeconv.evaluate import report as evaluation
    from edgeconv.evaluate.run import Asked

    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    for place, name in enumerate(("blue", "green", "red")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        pixels = np.zeros((16, 24, 3), np.uint8)
        pixels[:, :, 2 - place] = 200
        Image.fromarray(pixels).save(tmp_path / "photos" / name / "0.png")
    red = tmp_path / "photos" / "red" / "0.png"
    report = export_model(
        net.eval(), input_shape=[1, 3, 8, 8], output=tmp_path / "out", crop="letterbox",
        preprocessing="unit", channel_order="bgr", calib=tmp_path / "photos",
    )  # fmt: skip
    (made,) = report.artifacts
    artifact = load_artifact(made.path)
    assert artifact is not None
    assert artifact.preprocessing is not None
    assert (artifact.preprocessing.crop, artifact.preprocessing.order) == ("letterbox", "bgr")
    assert run_model(made.path, [red])[0].classes[0].index == 2
    assert run_model(made.path, [red], channel_order="rgb")[0].classes[0].index == 0
    (found,) = evaluation.evaluate([made.path], str(tmp_path / "photos"))
    assert found.classes is not None
    assert found.classes.top1.value == 1.0
    assert "letterbox · BGR" in found.prepared
    (wrong,) = evaluation.evaluate(
        [made.path], str(tmp_path / "photos"), None, Asked(channel_order="rgb")
    )
    assert wrong.classes is not None
    assert wrong.classes.top1.value == pytest.approx(1 / 3)
    ran = CliRunner().invoke(
        main,
        ["parity", str(made.path), "--data", str(tmp_path / "photos"), "--channel-order", "bgr"],
    )
    assert "letterbox · BGR" in " ".join(ran.output.split())
    assert ran.exit_code == 0, ran.output


def test_what_few_labelled_pictures_leave_open_is_asked_of_more(tmp_path: Path) -> None:
    """A corner, which the crop cuts off, tells the class of three pictures in four."""
    from PIL import Image

    from edgeconv.export.fit_by_scores import LABELLED, better_by_truth, class_scores

    rng = np.random.default_rng(0)
    truth = {}
    for number in range(300):
        kind = int(rng.integers(2))
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        pixels[:3, :3] = 255 * (kind if rng.random() < 0.75 else 1 - kind)
        Image.fromarray(pixels).save(tmp_path / f"{number:03d}.png")
        truth[f"{number:03d}.png"] = kind

    def corner(x: Any) -> Any:
        bright = x[:, :, :2, :2].mean((1, 2, 3))[:, None]
        return torch.cat([-bright, bright], 1)

    how = Preprocessing(*NAMED["symmetric"], 0.5, (16, 16))
    net = class_scores(cast(Any, corner), None, (1, 3, 16, 16))
    assert net is not None
    claim = better_by_truth(net, how, 3, str(tmp_path), truth)
    assert claim is not None
    assert claim.wish.keys() == {"crop"}
    assert f"over {300 - LABELLED} pictures" in claim.text
    few = dict(list(truth.items())[:LABELLED])
    assert better_by_truth(net, how, 3, str(tmp_path), few) is None
    right = Preprocessing(*NAMED["symmetric"], 1.0, (16, 16))
    assert better_by_truth(net, right, 3, str(tmp_path), truth) is None


def test_two_ways_that_classify_about_as_well_are_asked_of_more(tmp_path: Path) -> None:
    """Of the first pictures BGR has 40 right by chance and negatives 38, of all others a third and four fifths."""
    from PIL import Image

    from edgeconv.export.fit_by_scores import LABELLED, better_by_truth

    first = [place * 300 // LABELLED for place in range(LABELLED)]
    rest = [number for number in range(300) if number not in first]
    right = {100: {*first[:40], *rest[::3]}, 55: {*first[-38:], *rest[: len(rest) * 4 // 5]}}
    truth = {f"{number:03d}.png": number % 2 for number in range(300)}
    for number, name in enumerate(truth):
        pixels = np.zeros((16, 16, 3), np.uint8)
        pixels[0, :2] = [[200, number // 100, 100], [200, number % 100, 100]]
        Image.fromarray(pixels).save(tmp_path / name)

    def net(value: Any) -> Any:
        """Tell by red how the picture came, and by green which it is."""
        red, green = round(float(value[0, 0, 0, 0])), np.rint(value[0, 1, 0, :2]).astype(int)
        number = int(np.abs(green - (255 if red == 55 else 0)) @ [100, 1])
        kind = number % 2 if number in right.get(red, ()) else 1 - number % 2
        return np.eye(2)[[kind]]

    how = Preprocessing(*NAMED["raw"], 1.0, (16, 16))
    claim = better_by_truth(net, how, 3, str(tmp_path), truth, scalings=False)
    assert claim is not None
    assert f"over {len(rest)} pictures" in claim.text
    assert claim.text.endswith("with their negatives (255 - x)")


def test_pictures_that_a_crop_cuts_are_told_to_go_between_bars(tmp_path: Path) -> None:
    """The left end of a picture twice as wide as it is high tells its class."""
    from PIL import Image

    from edgeconv.export.fit_by_scores import better_by_truth, class_scores

    rng = np.random.default_rng(0)
    truth = {}
    for number in range(60):
        pixels = rng.integers(0, 256, (16, 32, 3), np.uint8)
        pixels[:, :6] = 255 * (number % 2)
        Image.fromarray(pixels).save(tmp_path / f"{number:03d}.png")
        truth[f"{number:03d}.png"] = number % 2

    def left(x: Any) -> Any:
        bright = x[:, :, 6:10, :2].mean((1, 2, 3))[:, None]
        return torch.cat([-bright, bright], 1)

    net = class_scores(cast(Any, left), None, (1, 3, 16, 16))
    assert net is not None
    how = Preprocessing(*NAMED["symmetric"], 1.0, (16, 16))
    claim = better_by_truth(net, how, 3, str(tmp_path), truth)
    assert claim is not None
    assert claim.wish == {"crop": "letterbox"}
    assert claim.text.endswith("with --crop letterbox: try that")
    bars = Preprocessing(*NAMED["symmetric"], "letterbox", (16, 16))
    assert better_by_truth(net, bars, 3, str(tmp_path), truth) is None


@pytest.mark.parametrize(("layout", "code"), [("nchw", 0), ("nhwc", 2)])
def test_a_layout_that_the_shape_denies_is_refused(tmp_path: Path, layout: str, code: int) -> None:
    import parity_kit
    from click.testing import CliRunner
    from PIL import Image

    from edgeconv.cli import main
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    (tmp_path / "net.onnx").write_bytes(save_model(to_onnx(parity_kit.small_net())))
    for number in range(2):
        folder = tmp_path / "pictures" / str(number)
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), (80 * number,) * 3).save(folder / "one.png")
    asked = ["eval", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "pictures")]
    ran = CliRunner().invoke(
        main, [*asked, "--preprocessing", "symmetric", "--input-layout", layout]
    )
    assert ran.exit_code == code, ran.output
    assert ("--input-layout says where channels are" in ran.output) is bool(code)


def test_what_is_no_picture_is_told_which_command_feeds_it(tmp_path: Path) -> None:
    """run has no --input-layout, and no layout makes a picture of a row of features."""
    from edgeconv.evaluate.run import Asked, _subject
    from edgeconv.runtimes.probe import Borders
    from edgeconv.tensors import TensorSpec

    borders = Borders("1", (TensorSpec("x", (1, 8), "float32", "other"),), ())
    with pytest.raises(UsageError, match=r"x \[1, 8\], not one picture \(parity and bench feed"):
        _subject(tmp_path / "net.onnx", "onnxruntime", borders, Asked())

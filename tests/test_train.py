"""Training: a folder of pictures to a checkpoint that export takes, exact in half precision."""

import errno
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("PIL.Image", reason="needs pillow")

from edgeconv.models import SPECS, build  # noqa: E402 - they need torch
from edgeconv.models.weights import load_weights  # noqa: E402
from edgeconv.train import keep, loop  # noqa: E402
from edgeconv.train.options import TrainOptions  # noqa: E402
from edgeconv.train.pictures import augmented, find_labelled, load, moved, split  # noqa: E402
from edgeconv.train.run import train  # noqa: E402
from edgeconv.train.snap import exact_root, pairs, snap  # noqa: E402

COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (210, 40, 30)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that differ in colour, 10 pictures each."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("train") / "photos"
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.clip(colour + generator.normal(0, 25, (24, 20, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def options(photos: Path, output: Path, **more: object) -> TrainOptions:
    given = {"width": 0.25, "resolution": 16, "epochs": 6, "batch": 8, "threads": 1, **more}
    return TrainOptions("mobilenet_v1", photos, output=output, **given)  # type: ignore[arg-type]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["train", *words])


def test_a_folder_becomes_a_checkpoint_that_says_what_it_is(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    words = shlex.split(
        "--width 0.25 --resolution 32 --epochs 8 --batch 12 --rate 0.01 --threads 1"
    )
    done = run("mobilenet_v1", "--data", str(photos), *words, "--output", str(path), "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["learnt"] == 24
    assert report["held_out"] == 6
    assert report["epochs"][-1]["loss"] < 0.8 * report["epochs"][0]["loss"]
    assert max(epoch["right"] for epoch in report["epochs"]) >= 4
    assert not list(tmp_path.glob("*.unfinished"))
    loaded = load_weights("mobilenet_v1", {}, str(path))  # no width given: the file knows
    assert loaded.options["width"] == 0.25
    assert loaded.labels == tuple(COLOURS)
    assert loaded.preprocessing.size == (32, 32)
    assert loaded.accuracy is not None
    assert loaded.accuracy.top1 == round(100 * report["top1"]["right"] / 6, 2)
    assert "no accuracy is claimed at 64x64" in str(loaded.resolution_note(64))
    with pytest.raises(UsageError, match="holds weights of mobilenet_v1, not of mobilenet_v2"):
        load_weights("mobilenet_v2", {}, str(path))
    with pytest.raises(UsageError, match="exists: --force"):
        options(photos, path).check()  # before torch is imported
    more = tmp_path / "more.safetensors"
    head = options(photos, more, width=None, weights=str(path), tune="head", epochs=1, batch=64)
    said: list[str] = []
    train(head, said.append)
    assert not any("the last layer is new" in line for line in said)
    assert "pictures: symmetric: mean 0.5, std 0.5 · crop 1 · RGB · NCHW · the weights' own" in said
    bare = tmp_path / "bare.pth"
    torch.save(load_weights("mobilenet_v1", {}, str(path)).state, bare)
    for wish, says in ((None, f"ASSUMED, {bare} does not say it"), ("unit", "given")):
        train(
            replace(head, width=0.25, weights=str(bare), preprocessing=wish, force=True),
            said.append,
        )
        assert any(line.startswith("pictures: ") and says in line for line in said)
    train(replace(head, force=True), said.append)
    before, after = (load_weights("mobilenet_v1", {}, str(p)).state for p in (path, more))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith("classifier") for key in changed)
    others = tmp_path / "others"
    shutil.copytree(photos, others)
    (others / "blue").rename(others / "violet")
    other = options(others, tmp_path / "o.safetensors", width=None, weights=str(path), epochs=1)
    train(other, said.append)
    assert f"the last layer is new: the classes of {path} are others" in said


def test_a_class_without_held_out_pictures_is_named(photos: Path, tmp_path: Path) -> None:
    for name in ("green", "red"):
        shutil.copytree(photos / name, tmp_path / "held" / name)
    said: list[str] = []
    held = tmp_path / "held"
    train(options(photos, tmp_path / "w.safetensors", epochs=1, held_out=held), said.append)
    told = "class blue: none of its pictures was held out, so nothing is known of it"
    assert told in said


def test_an_interrupted_training_goes_on_to_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    train(options(photos, whole, epochs=3, patience=0))
    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(options(photos, cut, epochs=3, patience=0), stop)
    with pytest.raises(EdgeconvError, match=r"with rate 0.002, which is 0.001 now: give --force"):
        train(options(photos, cut, epochs=3, patience=0, rate=1e-3))
    with pytest.raises(EdgeconvError, match=r"with seed 0, which is 1 now"):
        train(options(photos, cut, epochs=3, patience=0, seed=1))
    train(options(photos, cut, epochs=3, patience=0), lines.append)
    assert "goes on after epoch 2 of 3" in lines
    assert cut.read_bytes() == whole.read_bytes()
    other = tmp_path / "other.safetensors"
    train(options(photos, other, epochs=3, patience=0, seed=1))
    assert other.read_bytes() != whole.read_bytes()


def test_a_training_that_is_stopped_at_its_integers_goes_on_to_them(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights without the integers that were asked for would make the same command refuse to overwrite them."""
    from edgeconv.train import qat

    def stop(weights: Path, *_: Any) -> None:
        assert weights.is_file()
        raise KeyboardInterrupt

    path, lines = tmp_path / "w.safetensors", list[str]()
    monkeypatch.setattr(qat, "train_integers", stop)
    for said in ("epoch 1/1", "goes on after epoch 1 of 1"):
        with pytest.raises(KeyboardInterrupt):
            train(options(photos, path, epochs=1, qat=1), lines.append)
        assert [p.name for p in tmp_path.glob("w.*")] == ["w.safetensors.unfinished"]
        assert lines[-1].endswith("holds every whole epoch: the same command goes on")
        assert any(line.startswith(said) for line in lines[-3:])


def test_a_full_disk_is_one_sentence(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch and safetensors write their files past Python, and name no reason where that fails."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for name in ("w.safetensors.unfinished", "w.safetensors"):
        with pytest.raises(EdgeconvError, match=rf"cannot write .*{name}: No space left"):
            train(options(photos, tmp_path / "w.safetensors", epochs=1))
        assert not list(tmp_path.glob("*w.safe*"))
        monkeypatch.setattr(keep, "save_standing", lambda *_: None)


def test_training_ends_when_nothing_better_comes(photos: Path, tmp_path: Path) -> None:
    report = train(options(photos, tmp_path / "w.safetensors", epochs=30, rate=1e-9, patience=2))
    assert len(report.epochs) == report.best_epoch + 2 < 30


def assert_folds_exactly(net: Any) -> None:
    found = pairs(net, (32, 32))
    assert len(found) == sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    for convolution, norm in found:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = norm.weight / exact_root(norm.running_var + norm.eps)
        folded = convolution.weight * factor.view(-1, 1, 1, 1)
        shift = norm.bias - norm.running_mean * factor
        for value in (folded, shift):
            assert torch.equal(value.half().float(), value)


@pytest.mark.parametrize("name", SPECS)
def test_bundled_weights_fold_exactly_in_half_precision(name: str) -> None:
    assert_folds_exactly(load_weights(name, {}, "bundled").build())


@pytest.mark.parametrize("name", SPECS)
def test_a_snapped_net_folds_exactly_in_half_precision(name: str) -> None:
    net = build(name, classes=4, width=0.5 if name == "ghostnet" else 0.25).eval()
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as training leaves them, dead ones too
            for value, low, high in (
                (module.weight.data, -0.3, 2.0),
                (module.bias.data, -3.0, 3.0),
                (module.running_mean, -4.0, 4.0),
                (module.running_var, 1e-4, 9.0),
            ):
                value.copy_(low + (high - low) * torch.rand(value.shape, generator=generator))
            module.weight.data[0] = 0
    x = torch.randn(2, 3, 32, 32, generator=generator)
    with torch.no_grad():
        before = net.double()(x.double())
        net.float()
        snap(net, (32, 32))
        after = net.double()(x.double())
    net.float()
    assert_folds_exactly(net)
    assert float((after - before).norm() / before.norm()) < 0.02


def test_pictures_are_split_by_class_and_augmented_by_the_generator(photos: Path) -> None:
    labelled = find_labelled(photos)
    learnt, held = split(labelled, 0.2, seed=5)
    assert [int((held.classes == index).sum()) for index in range(3)] == [2, 2, 2]
    assert set(learnt.paths) | set(held.paths) == set(labelled.paths)
    assert not set(learnt.paths) & set(held.paths)
    pixels = torch.arange(2 * 3 * 6 * 6).remainder(251).to(torch.uint8).view(2, 3, 6, 6)
    plain = augmented(pixels, 4, "none", torch.Generator())
    assert torch.equal(plain, pixels[:, :, 1:5, 1:5].float())
    made = [augmented(pixels, 4, "full", torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert float(made[0].min()) >= 0
    assert float(made[0].max()) <= 255


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (("ghostnett", "--data", "."), "did you mean ghostnet", 2),
        (
            ("net.py:make", "--data", "."),
            "'net.py:make' is none of the nets here: mobilenet_v1,",
            2,
        ),
        (("ghostnet", "--data", "nowhere"), "nowhere does not exist", 2),
        (
            ("ghostnet", "--data", "flat"),
            "own, flat/cat/1.jpg and flat/dog/1.jpg: 1.png lies in none",
            2,
        ),
        (("ghostnet", "--data", "single"), "class a has 1 picture", 1),
        (("ghostnet", "--data", "broken", "--width", "0.5"), "is not a readable picture", 1),
        (("ghostnet", "--data", "single", "--held-out", "other"), "c is no class of", 2),
        (("ghostnet", "--data", "flat", "--held-out", "1.5"), "--held-out is a share", 2),
        (("ghostnet", "--data", "flat", "--epochs", "0"), "--epochs 0 trains nothing", 2),
        (("ghostnet", "--data", "flat", "--qat", "-1"), "--qat must be at least 0", 2),
        (("ghostnet", "--data", "flat", "--rate", "-1"), "--rate is a learning rate", 2),
        (("ghostnet", "--data", "flat", "--resolution", "8"), "16 pixels at least", 2),
        (("ghostnet", "--data", "flat", "--output", "a.pth"), "name a .safetensors file", 2),
        (("ghostnet", "--data", "flat", "--weights", "random", "--tune", "head"), "--tune head", 2),
        (("ghostnet", "--data", "flat", "--batch", "1"), "2 pictures a step", 2),
        (("ghostnet", "--data", "flat", "--threads", "9999"), "--threads must be at most 1024", 2),
        (("ghostnet", "--data", "flat", "--seed", "-1"), "--seed is a whole number from 0", 2),
        (("ghostnet", "--data", "flat", "--seed", "9" * 20), "--seed is a whole number from 0", 2),
        (("ghostnet", "--data", "flat", "--weight-decay", "nan"), "--weight-decay is a share", 2),
        (("ghostnet", "--data", "flat", "--label-smoothing", "5"), "--label-smoothing is a", 2),
        (("ghostnet", "--data", "flat", "--groups", "3"), "has no option groups", 2),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    words: tuple[str, ...],
    says: str,
    code: int,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = next(photos.rglob("*.png")).read_bytes()
    for name in (
        "flat/1.png",
        "single/a/1.png",
        "single/b/1.png",
        "other/c/1.png",
        "other/b/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture)
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "broken" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "broken" / name).write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == code, done.output
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_damaged_standing_and_a_missing_accelerator_are_named(
    photos: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    (tmp_path / "w.safetensors.unfinished").write_bytes(b"PK half")
    with pytest.raises(EdgeconvError, match="unfinished is damaged: give --force"):
        train(options(photos, path))
    if not torch.cuda.is_available():
        with pytest.raises(
            EdgeconvError, match=r"--accelerator cuda: torch .* sees no such device"
        ):
            train(options(photos, path, accelerator="cuda"))


EPOCH = {"loss": 1.0, "held_out_loss": 1.0, "right": 1, "seconds": 0.1}


def test_pictures_are_learnt_at_the_scale_at_which_they_are_judged(photos: Path) -> None:
    found = find_labelled(photos)
    how = load_weights("mobilenet_v1", {}, "random", classes=3).preprocessing
    for crop, edge in ((1.0, 16), (0.875, 24), (0.6, 17)):
        shown = replace(how, crop=crop, size=(edge, edge))
        plain = augmented(load(found, shown, margin=True), edge, "none", torch.Generator())
        assert torch.equal(plain, load(found, shown, margin=False).float())


def test_a_gpu_moves_pictures_as_the_processor_does() -> None:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (5, 3, 12, 12), dtype=torch.uint8, generator=generator)
    corner = torch.randint(0, 5, (5, 2), generator=generator)
    one_by_one = [
        p[:, t : t + 8, left : left + 8]
        for p, (t, left) in zip(pixels, corner.tolist(), strict=True)
    ]
    assert torch.equal(moved(pixels, corner, 8, at_once=True), torch.stack(one_by_one))
    assert torch.equal(moved(pixels, corner, 8, at_once=False), torch.stack(one_by_one))


@pytest.mark.parametrize(
    "wrong",
    [
        {"job": "["}, {"job": "[]"}, {"epochs": "[]"}, {"epochs": '[{"loss": "x"}]'}, {"net": {}}, {"net": None},
        {"best": {"weight": torch.zeros(1)}}, {"best_epoch": 2}, {"best_epoch": "1"}, {"score": ()}, {"extra": 1},
    ],
)  # fmt: skip
def test_a_standing_that_no_training_of_the_net_left_is_damaged(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    net = torch.nn.Linear(2, 3)
    state = net.state_dict()
    standing = keep.Standing([EPOCH], state, {}, state, 1, (0.5, -1.0))
    keep.save_standing(tmp_path / "w", standing, {"rate": 1.0})
    assert keep.load_standing(tmp_path / "w", {"rate": 1.0}, net).epochs == [EPOCH]
    data = torch.load(tmp_path / "w", weights_only=True)
    torch.save({**data, **wrong}, tmp_path / "w")
    with pytest.raises(EdgeconvError, match="w is damaged: give --force to start anew, or delete"):
        keep.load_standing(tmp_path / "w", {"rate": 1.0}, net)


def test_a_standing_of_which_a_bit_has_changed_is_damaged(tmp_path: Path) -> None:
    net = torch.nn.Linear(64, 64)
    state = net.state_dict()
    keep.save_standing(tmp_path / "w", keep.Standing([EPOCH], state, {}, state, 1, (0.5, -1.0)), {})
    content = bytearray((tmp_path / "w").read_bytes())
    content[content.index(state["weight"].numpy().tobytes())] ^= 1
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(EdgeconvError, match="w is damaged: give --force to start anew, or delete"):
        keep.load_standing(tmp_path / "w", {}, net)


def test_a_training_does_not_go_on_with_the_optimizer_of_other_weights() -> None:
    net = torch.nn.Linear(2, 3)
    other = torch.optim.AdamW(torch.nn.Linear(3, 2).parameters())
    for group in other.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    other.step()
    optimizers: tuple[Any, ...] = (other.state_dict(), {}, None, {"state": 1, "param_groups": []})
    for optimizer in optimizers:
        standing = keep.Standing([EPOCH], net.state_dict(), optimizer)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        with pytest.raises(EdgeconvError, match="optimizer is damaged: give --force"):
            loop.go_on(net, torch.optim.AdamW(net.parameters()), scaler, standing)


@pytest.mark.long
def test_integers_are_trained_with_labels_and_kept_only_where_better(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv import export_model
    from edgeconv.export.twin import distil
    from edgeconv.recipe import load_recipe
    from edgeconv.train import qat

    monkeypatch.setitem(distil.RATES, "weights", 10.0)  # of so few steps
    judged: list[Any] = []
    verdicts = iter([(3, 1.0), (3, 0.5), (3, 1.0), (3, 1.5)])

    def judge(graph: Any, recipe: Any, data: Any, threads: int) -> tuple[int, float]:
        right, loss = real(graph, recipe, data, threads)
        assert 0 <= right <= 6
        assert np.isfinite(loss)
        judged.append(recipe)
        return next(verdicts)

    real = qat._judged
    monkeypatch.setattr(qat, "_judged", judge)
    path = tmp_path / "w.safetensors"
    report = train(options(photos, path, epochs=1, qat=1))
    assert report.integers is not None
    assert report.integers.path == tmp_path / "w.recipe.json"
    kept = load_recipe(report.integers.path)
    before, after = judged
    moved = [(before.weights[n].values != after.weights[n].values).mean() for n in before.weights]
    assert 0 < np.mean(moved) < 1
    layer = next(iter(kept.weights))
    assert np.array_equal(kept.weights[layer].values, after.weights[layer].values)
    made = export_model(
        "mobilenet_v1", precision="int8", targets=("tflite",), weights=str(path),
        recipe=str(report.integers.path), calib=str(photos), output=tmp_path / "out",
    )  # fmt: skip
    assert made.artifacts[0].path.is_file()
    path.rename(tmp_path / "first.safetensors")
    again = options(photos, path, weights=str(tmp_path / "first.safetensors"), width=None)
    with pytest.raises(UsageError, match=r"w.recipe.json exists"):
        train(replace(again, qat=1))
    worse = train(replace(again, epochs=0, qat=1, force=True))
    assert worse.integers is not None
    assert worse.integers.path is None
    assert not (tmp_path / "w.recipe.json").exists()
    assert path.read_bytes() == (tmp_path / "first.safetensors").read_bytes()

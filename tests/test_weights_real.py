"""Real weights on real pictures: the shared test data's published figures, and the bundled nets."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pick_pictures import write_pictures
from torch import Tensor, nn

from edgeconv.demo_files import demo_folder
from edgeconv.errors import UsageError
from edgeconv.files import sha256
from edgeconv.models import SPECS, fashion_mnist
from edgeconv.models.bundle import bundled
from edgeconv.models.weights import load_weights

PICTURES = demo_folder("pictures")
SHARED = Path(__file__).resolve().parents[1].parent / "shared"
image = pytest.importorskip("PIL.Image", reason="needs pillow")


def picture(path: Path, size: int, crop: int | None) -> Tensor:
    """Return a picture as the README of its folder says: cropped, resized, in [-1, 1]."""
    with image.open(path) as opened:
        pixels = opened.convert("RGB")
    if crop is not None:
        edge = (pixels.width - crop) // 2
        pixels = pixels.crop((edge, edge, edge + crop, edge + crop))
    pixels = pixels.resize((size, size), image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(pixels, np.float32) / 127.5 - 1).permute(2, 0, 1)


def right(net: nn.Module, paths: list[Path], size: int, crop: int | None) -> int:
    """Count the pictures whose class, the number that starts their name, comes first."""
    count = 0
    with torch.inference_mode():
        for start in range(0, len(paths), 50):
            batch = paths[start : start + 50]
            logits = net(torch.stack([picture(path, size, crop) for path in batch]))
            truth = torch.tensor([int(path.name.partition("_")[0]) for path in batch])
            count += int((logits.argmax(1) == truth).sum())
    return count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "width", "size", "correct"),
    [
        ("mobilenet_v1", 0.25, 128, 224),
        pytest.param("mobilenet_v1", 0.75, 192, 386, marks=pytest.mark.long),
        pytest.param("mobilenet_v2", 1.0, 224, 427, marks=pytest.mark.long),
    ],
)
def test_imagenet_weights_recognize_as_many_of_500_pictures_as_published(
    net: str, width: float, size: int, correct: int
) -> None:
    folder = SHARED / "imagenet"
    if not folder.is_dir():
        pytest.skip(f"needs the test data {folder}")
    path = folder / "weights" / f"{net}_{width}_{size}.safetensors"
    loaded = load_weights(net, {"width": width}, str(path))
    found = right(loaded.build(), sorted((folder / "images").glob("*.jpg")), size, 224)
    assert abs(found - correct) <= 2  # libraries' JPEG decoders differ a little


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "net", "percent"),
    [
        ("shufflenet_v1_g3_1.0_64", "shufflenet_v1", 78.0),
        ("ghostnet_1.0_64", "ghostnet", 81.3),
    ],
)
def test_cifar_weights_of_nobodys_names_recognize_as_many_as_published(
    file: str, net: str, percent: float
) -> None:
    folder = SHARED / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"needs the test data {folder}")
    loaded = load_weights(net, {}, str(folder / "weights" / f"{file}.safetensors"))
    assert loaded.matched == "matched by order and shape"
    paths = sorted((folder / "images").glob("*.jpg"))
    assert 100 * right(loaded.build(), paths, 64, None) / len(paths) == pytest.approx(
        percent, abs=0.3
    )


def test_every_net_has_bundled_weights_of_92_percent_in_24_megabytes() -> None:
    entries = bundled()
    assert set(entries) == set(SPECS)
    for net, entry in entries.items():
        assert entry.top1 >= 92.0, net
        assert sha256(entry.path) == entry.sha256, net
    assert sum(path.stat().st_size for path in demo_folder("weights").iterdir()) <= 24e6


@pytest.mark.parametrize("net", SPECS)
def test_bundled_weights_say_how_they_are_fed_and_refuse_other_options(net: str) -> None:
    loaded = load_weights(net, {}, "bundled")
    assert loaded.classes == 10
    assert loaded.labels == fashion_mnist.LABELS
    assert loaded.preprocessing.size == (64, 64)
    assert loaded.preprocessing.crop == 1.0
    assert loaded.resolution_note(64) is None
    assert "no accuracy is claimed at 96x96" in str(loaded.resolution_note(96))
    with pytest.raises(UsageError, match=r"are for width 1\.0, not 0\.5"):
        load_weights(net, {"width": 0.5}, "bundled")
    with pytest.raises(UsageError, match="for 10 classes, not 11"):
        load_weights(net, {}, "bundled", classes=11)


def test_bundled_shufflenet_refuses_other_groups_by_name() -> None:
    with pytest.raises(UsageError, match="are for groups 3, not 8"):
        load_weights("shufflenet_v1", {"groups": 8}, "bundled")


@pytest.mark.slow
@pytest.mark.parametrize("net", SPECS)
def test_bundled_weights_recognize_the_shipped_test_pictures(net: str) -> None:
    paths = sorted((PICTURES / "test").glob("*.png"))
    assert right(load_weights(net, {}, "bundled").build(), paths, 64, None) >= 905


def test_the_shipped_pictures_are_those_of_the_manifest() -> None:
    manifest = json.loads((PICTURES / "manifest.json").read_text())
    for folder, count in (("calibration", 256), ("test", 1000)):
        entries = manifest[folder]
        files = sorted(path.name for path in (PICTURES / folder).iterdir())
        assert files == sorted(entry["file"] for entry in entries)
        assert len(files) == count
        for entry in entries:
            assert entry["file"].startswith(f"{entry['label']}_")
            assert sha256(PICTURES / folder / entry["file"]) == entry["sha256"]
    labels = (PICTURES / "labels.txt").read_text().splitlines()
    assert labels == manifest["labels"] == list(fashion_mnist.LABELS)


@pytest.mark.slow
def test_the_shipped_pictures_come_back_from_the_data_set(tmp_path: Path) -> None:
    if not fashion_mnist.FOLDER.is_dir():
        pytest.skip("needs the Debian package dataset-fashion-mnist")
    entries = {e["file"]: e["label"] for e in write_pictures(tmp_path)["test"]}
    manifest = json.loads((PICTURES / "manifest.json").read_text())
    assert entries == {entry["file"]: entry["label"] for entry in manifest["test"]}
    for file in entries:
        new = np.asarray(image.open(tmp_path / "test" / file))
        assert np.array_equal(new, np.asarray(image.open(PICTURES / "test" / file)))

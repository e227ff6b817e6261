"""The nets that make_zoo.py exports: those that a file builds, and trained files inside packages."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import edgeconv
from edgeconv.pictures import find_pictures, read_picture
from edgeconv.samples import load_function

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIGNED = ((0.5,), (0.5,))
PLAIN = ((0.0,), (1.0,))
LITE = ((127 / 255,), (128 / 255,))


@dataclass(frozen=True)
class Net:
    """A net: what export_model takes, and which samples it is shown.

    ``turned``: the pictures are stored upside down for other nets and are turned back for this one.
    ``tenth``: every tenth class calibrates and all the others verify, instead of counts.
    ``text``: lines of text are drawn on the pictures, which else hold none.
    ``values``: what is shown where the net takes no pictures ("bytes" or "sound"). ``frozen``: inputs
    that become constants.
    """

    source: str
    shapes: tuple[tuple[int, ...], ...] | Mapping[str, tuple[int, ...]]
    scale: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    turned: bool = False
    tenth: bool = False
    text: bool = False
    values: str | None = None
    package: str | None = field(default=None)
    frozen: Mapping[str, int] = field(default_factory=dict)


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_OCR = "rapidocr_onnxruntime"
TRAINED = {
    "real_ppocr_v4_det": Net(
        "models/ch_PP-OCRv4_det_infer.onnx", ((1, 3, 256, 256),), SIGNED, text=True, package=_OCR
    ),
    "real_ppocr_v4_rec": Net(
        "models/ch_PP-OCRv4_rec_infer.onnx", ((1, 3, 48, 320),), SIGNED, text=True, package=_OCR
    ),
    "real_ppocr_v2_cls": Net(
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        ((1, 3, 48, 192),),
        SIGNED,
        text=True,
        package=_OCR,
    ),
    "real_nudenet_yolov8n": Net("320n.onnx", ((1, 3, 320, 320),), PLAIN, package="nudenet"),
    "real_magika": Net(
        "models/standard_v3_3/model.onnx", ((1, 2048),), values="bytes", package="magika"
    ),
    "real_silero_vad": Net(
        "data/silero_vad.onnx",
        {"input": (1, 576), "state": (2, 1, 128)},
        values="sound",
        frozen={"sr": 16000},
        package="silero_vad",
    ),
}
"""Files of packages that have to be installed; ``source`` is a path inside the package."""
CHANGED: dict[str, dict[str, Any]] = {
    "real_efficientnet_lite0": {"scale": LITE, "turned": True, "tenth": True},
    "real_mnv2_torchvision": {"turned": True},
}
"""What differs of nets that a file builds with trained weights."""


def nets(file: Path) -> dict[str, Net]:
    """Return the nets by name: of the dictionary ZOO of ``file``, then of installed packages."""
    found = {
        name: Net(f"{file}:{name}", ((1, 3, *size),), **CHANGED.get(name, {}))
        for name, size in built(file).items()
    }
    return found | TRAINED


def built(file: Path) -> dict[str, tuple[int, int]]:
    """Return the heights and widths of the nets that ``file`` builds."""
    zoo: dict[str, Any] = load_function(file, "net").__globals__["ZOO"]
    return {name: size for name, (_, size) in zoo.items()}


def located(net: Net) -> str:
    """Return what export_model takes; raises FileNotFoundError where a package is missing."""
    if net.package is None:
        return net.source
    found = importlib.util.find_spec(net.package)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"the package {net.package} is not installed")
    return str(Path(found.origin).parent / net.source)


def lay_out(net: Net, pictures: Path, counts: tuple[int, int], folder: Path) -> tuple[str, str]:
    """Write what calibrates and what verifies into ``folder``; return both as export_model takes them."""
    if net.values:
        parts = _bytes(pictures, counts) if net.values == "bytes" else _sound(counts)
        for name, arrays in zip(("calib", "verify"), parts, strict=True):
            np.savez(folder / name, allow_pickle=False, **arrays)
        return str(folder / "calib.npz"), str(folder / "verify.npz")
    shown = find_pictures(pictures)
    calib, verify = shown[: counts[0]], shown[counts[0] : sum(counts)]
    if net.tenth:
        calib = [file for file in shown if int(file.name[:4]) % 10 == 0]
        verify = [file for file in shown if file not in calib]
    for name, files in (("calib", calib), ("verify", verify)):
        (folder / name).mkdir()
        for file in files:
            _show(file, folder / name / file.name, net)
    return str(folder / "calib"), str(folder / "verify")


def _show(file: Path, place: Path, net: Net) -> None:
    if not net.turned and not net.text:
        place.symlink_to(file.resolve())
        return
    picture = Image.fromarray(read_picture(file)[::-1, ::-1])
    if net.text:
        _write_on(picture, np.random.default_rng(list(file.name.encode())))
    picture.save(place.with_suffix(".png"))


def _write_on(picture: Image.Image, draw: np.random.Generator) -> None:
    """Draw lines of random words on a picture, one of them in the middle."""
    pen = ImageDraw.Draw(picture)
    middle = picture.height // 2
    for place in (middle, *(middle + 48 * k for k in (-2, -1, 1, 2) if draw.random() < 0.6)):
        font = ImageFont.load_default(size=int(draw.integers(14, 34)))
        words = ["".join(draw.choice(list(LETTERS), draw.integers(2, 9))) for _ in range(3)]
        left = int(draw.integers(0, picture.width // 3))
        colour = 255 * int(draw.random() < 0.5)
        pen.text((left, place), " ".join(words), (colour,) * 3, font, anchor="lm")


def _bytes(pictures: Path, counts: tuple[int, int]) -> list[dict[str, NDArray[Any]]]:
    """Return the first and last bytes of files, as magika shows them: of pictures and source text, mixed."""
    files = [*find_pictures(pictures)[: sum(counts) // 2], *_texts()][: sum(counts)]
    rows = []
    for file in np.random.default_rng(0).permutation(np.array(files, object)):
        read = np.frombuffer(file.read_bytes(), np.uint8).astype(np.int32)
        row = np.full(2048, 256, np.int32)
        first, last = read[:1024], read[-1024:]
        row[: len(first)], row[2048 - len(last) :] = first, last
        rows.append(row[None])
    stacked = np.stack(rows)
    return [{"bytes": stacked[: counts[0]]}, {"bytes": stacked[counts[0] :]}]


def _texts() -> list[Path]:
    return sorted(Path(edgeconv.__file__).parent.rglob("*.py"))


def _sound(counts: tuple[int, int]) -> list[dict[str, NDArray[Any]]]:
    """Return frames of a gliding, pulsing tone with noise, and states of a recurrent net."""
    draw = np.random.default_rng(0)
    made: list[dict[str, NDArray[Any]]] = []
    for count in counts:
        time = np.arange(count * 512 + 64) / 16000
        tone = np.sin(2 * np.pi * (120 + 80 * np.sin(3 * time)) * time) * (np.sin(9 * time) > 0)
        wave = (0.3 * tone + 0.02 * draw.normal(size=time.shape)).astype(np.float32)
        frames = np.stack([wave[i * 512 : i * 512 + 576][None] for i in range(count)])
        states = (0.3 * draw.normal(size=(count, 2, 1, 128))).astype(np.float32)
        made.append({"input": frames, "state": states})
    return made

"""The healthy files of other tasks than a classifier's: a detector's, a segmenter's, a training's, a cache's."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 16
PHOTOS = {"jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "gif": "GIF", "bmp": "BMP", "ppm": "PPM"}
FOLDERS = (
    "detector", "segmenter", "photos", "labels", "classes/0", "classes/1", "kept", "samples", "board", "trained",
    "unfinished",
)  # fmt: skip
CLASSES = ("cat", "dog", "a b", "é")


def build(folder: Path, run: Callable[[str], None]) -> None:
    """Make everything below ``folder``, which holds the classifier's files; ``run`` runs a command line."""
    from PIL import Image

    rng = np.random.default_rng(4)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("yolo", "masks"):
        (folder / "marked" / name).mkdir(parents=True, exist_ok=True)
    (folder / "detector/detector.onnx").write_bytes(detector())
    (folder / "segmenter/segmenter.onnx").write_bytes(segmenter())
    (folder / "labels/labels.txt").write_text("".join(f"class {n}\n" for n in range(10)))
    for number, path in enumerate(sorted((folder / "pics").iterdir())):
        mask = Image.fromarray(rng.integers(0, len(CLASSES), (20, 24), np.uint8))
        mask.save(folder / "marked/masks" / path.name)
        boxes = "0 0.5 0.5 0.4 0.4\n1 0.3 0.3 0.2 0.2\n"
        (folder / "marked/yolo" / f"{path.stem}.txt").write_text(boxes)
        shutil.copy(path, folder / "classes" / "01"[number % 2])
    shutil.copy(folder / "calib.npz", folder / "samples")
    (folder / "board/seed.txt").touch()
    for suffix, kind in PHOTOS.items():
        photo = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
        photo.save(folder / "photos" / f"photo.{suffix}", kind)
    for make in (_kept, _training):
        with contextlib.suppress(ImportError, AttributeError):  # a version that has none
            make(folder, run)


def _model(nodes: list[Any], output: str, shape: list[int], constants: dict[str, Any]) -> bytes:
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        output,
        [helper.make_tensor_value_info("images", 1, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(output, 1, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = made.SerializeToString()
    return data


def detector() -> bytes:
    """Return a net of YOLOv8's head: (1, 4 + 2 classes, 64 places), centres and sizes in pixels."""
    from onnx import helper

    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["maps"], "conv", strides=[2, 2]),
        helper.make_node("Reshape", ["maps", "shape"], ["rows"], "reshape"),
        helper.make_node("Sigmoid", ["rows"], ["shares"], "sigmoid"),
        helper.make_node("Mul", ["shares", "most"], ["output0"], "mul"),
    ]
    constants = {
        "weight": rng.standard_normal((6, 3, 2, 2)).astype(np.float32),
        "shape": np.array([1, 6, 64]),
        "most": np.array([16, 16, 8, 8, 1, 1], np.float32).reshape(1, 6, 1),
    }
    return _model(nodes, "output0", [1, 6, 64], constants)


def segmenter() -> bytes:
    """Return a net of one convolution: a map of scores for each of four classes."""
    from onnx import helper

    weight = np.random.default_rng(6).standard_normal((len(CLASSES), 3, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["images", "weight"], ["masks"], "conv")]
    return _model(nodes, "masks", [1, len(CLASSES), SIDE, SIDE], {"weight": weight})


def _kept(folder: Path, run: Callable[[str], None]) -> None:
    """Make a cache that holds the export whose command the cases repeat."""
    before = os.environ.get("EDGECONV_CACHE")
    os.environ["EDGECONV_CACHE"] = str(folder / "kept/.cache")
    try:
        run(f"export {folder}/tiny.onnx --calib {folder}/calib.npz --output {folder}/kept/out --target tflite")  # fmt: skip
    finally:
        os.environ.pop("EDGECONV_CACHE")
        if before is not None:
            os.environ["EDGECONV_CACHE"] = before
    shutil.rmtree(folder / "kept/out", ignore_errors=True)


TRAIN = "train mobilenet_v1 --width 0.25 --resolution 32 --held-out 0.34 --epochs 2 --batch 2"


class _StopError(Exception):
    """A training that stops after its first epoch."""


def _training(folder: Path, run: Callable[[str], None]) -> None:
    """Make the weights of a finished training, and what is left of one that stopped after an epoch."""
    from edgeconv.train.options import TrainOptions
    from edgeconv.train.run import train

    def stop(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise _StopError

    run(f"{TRAIN} --data {folder}/classes --output {folder}/trained/weights.safetensors")
    options = TrainOptions(
        net="mobilenet_v1", data=folder / "classes", width=0.25, resolution=32, held_out=0.34, epochs=2,
        batch=2, output=folder / "unfinished/w.safetensors",
    )  # fmt: skip
    with contextlib.suppress(_StopError):
        train(options, stop)

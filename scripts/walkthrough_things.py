"""What the users of walkthroughs.py own: ``python scripts/walkthrough_things.py FOLDER`` makes it.

A trained net, its pictures, a detector and quantized models.
"""

import shutil
import sys
import warnings
from pathlib import Path

import detection_sets
import numpy as np
import torch
import train_detector
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
THINGS = (
    "a small net of five classes of Fashion-MNIST, trained on half of the pictures of calib_data/test (net.py, net.pth, "
    "model.onnx), the other half of them as its photos; a detector of drawn shapes with two outputs and an open batch "
    "(detector.onnx); the net quantized by onnxruntime (qat.onnx), and a file that is worse (worse.tflite)."
)
NET = '''"""A net of depthwise and pointwise convolutions, with its weights."""

import torch
from torch import nn


def block(inputs, outputs, stride):
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs), nn.ReLU6(),
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6(),
    )


def net():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        block(16, 32, 1), block(32, 64, 2), block(64, 64, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    )


def make():
    made = net()
    made.load_state_dict(torch.load("net.pth"))
    return made.eval()
'''
SIDE, CLASSES, EPOCHS, BATCH = 32, 5, 30, 25


class Apart(nn.Module):
    """The detector with boxes and scores as two outputs."""

    def __init__(self, detector: train_detector.Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (n, 4, 64) and scores (n, classes, 64)."""
        boxes, scores = self.detector.logits(x)
        return boxes, scores.sigmoid()


def make_things(folder: Path, epochs: int = EPOCHS, steps: int = 400, count: int = 1000) -> None:
    """Write all of THINGS into ``folder``, which is new."""
    folder.mkdir()
    learnt = pictures(folder)
    (folder / "net.py").write_text(NET, encoding="utf-8")
    names: dict[str, object] = {}
    exec(NET, names)
    net = fit(names["net"](), *learnt, epochs)  # type: ignore[operator]
    torch.save(net.state_dict(), folder / "net.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own retirement
        torch.onnx.export(
            net, (torch.zeros(1, 3, SIDE, SIDE),), str(folder / "model.onnx"), dynamo=False
        )
        detector(folder, steps, count)
    quantized(folder, learnt[0])
    worse(folder, learnt[0])


def pictures(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Copy every other picture of five classes into photos/, a folder a class; return the others."""
    found = sorted((ROOT / "calib_data" / "test").glob("[0-4]_*.png"))
    labels = sorted({p.stem.rpartition("_")[0] for p in found})
    (folder / "names.txt").write_text(
        "".join(f"{label.partition('_')[2]}\n" for label in labels), encoding="utf-8"
    )
    for path in found[::2]:
        place = folder / "photos" / path.stem.rpartition("_")[0]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    mine = found[1::2]
    return np.stack([pixels(p) for p in mine]), np.array([int(p.name[0]) for p in mine], np.int64)


def pixels(path: Path) -> NDArray[np.float32]:
    """Return a picture as the net takes it: (3, SIDE, SIDE), -1..1."""
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return (np.asarray(image, np.float32) / 127.5 - 1).transpose(2, 0, 1)


def fit(net: nn.Module, x: NDArray[np.float32], y: NDArray[np.int64], epochs: int) -> nn.Module:
    """Train on all of ``x`` (N, 3, SIDE, SIDE) and ``y`` (N,)."""
    torch.manual_seed(0)
    inputs, wanted = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs)), BATCH):
            loss = nn.functional.cross_entropy(net(inputs[rows]), wanted[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return net.eval()


def detector(folder: Path, steps: int, count: int) -> None:
    """Write detector.onnx, shapes/calib and shapes/test with their COCO files."""
    draw = detection_sets.SETS["shapes"]
    made = draw(count, 1)
    net, loss = train_detector.small(made, 16)
    train_detector.train(net, loss, made, steps)
    (folder / "shapes").mkdir()
    detection_sets.write(draw(100, 2), folder / "shapes" / "calib")
    detection_sets.write(draw(100, 3), folder / "shapes" / "test")
    picture = torch.zeros(1, 3, detection_sets.SIDE, detection_sets.SIDE)
    open_batch = {name: {0: "batch"} for name in ("image", "boxes", "scores")}
    torch.onnx.export(
        Apart(net).eval(), (picture,), str(folder / "detector.onnx"), dynamo=False,
        input_names=["image"], output_names=["boxes", "scores"], dynamic_axes=open_batch,
    )  # fmt: skip


def quantized(folder: Path, x: NDArray[np.float32]) -> None:
    """Write qat.onnx: QuantizeLinear and DequantizeLinear as training with fake quantization leaves them."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
        def __init__(self, name: str) -> None:
            self.feeds = iter([{name: each[None]} for each in x[:64]])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.feeds, None)

    import onnx

    name = onnx.load(folder / "model.onnx").graph.input[0].name
    quantize_static(
        folder / "model.onnx", folder / "qat.onnx", Reader(name), per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


def worse(folder: Path, x: NDArray[np.float32]) -> None:
    """Write worse.tflite: the net, calibrated on pictures that are far too dark."""
    from edgeconv import export_model

    np.save(folder / "dark.npy", x[:32] * 0.05 - 0.95)
    report = export_model(
        folder / "model.onnx", precision="int8", targets="tflite", calib=folder / "dark.npy",
        recipe="fast", output=folder / "dark",
    )  # fmt: skip
    shutil.copy(report.artifacts[0].path, folder / "worse.tflite")
    shutil.rmtree(folder / "dark")


if __name__ == "__main__":
    make_things(Path(sys.argv[1]))

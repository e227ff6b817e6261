"""Train a small detector on a drawn set: ``python scripts/train_detector.py shapes --out FOLDER``.

FOLDER gets detector.onnx (YOLOv8's head: one output of 4 + classes figures a box), calib/ and test/ with
their COCO files. ``--graph yolov8n.yaml`` trains that graph from random weights, by its own loss, where the package
ultralytics is installed. Deterministic for one machine, thread count and version of torch.
"""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import detection_sets
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
SIDE = detection_sets.SIDE
CELLS = SIDE // STRIDE
BATCH = 32


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch norm and SiLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.SiLU())


class Detector(nn.Module):
    """One box and one score a class for each of 8x8 places of a 64x64 picture."""

    places: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(3, width, 2),
            block(width, 2 * width, 2),
            block(2 * width, 2 * width),
            block(2 * width, 4 * width, 2),
            block(4 * width, 4 * width),
            block(4 * width, 4 * width),
        )
        self.sides, self.scores = nn.Conv2d(4 * width, 4, 1), nn.Conv2d(4 * width, classes, 1)
        y, x = torch.meshgrid(torch.arange(CELLS), torch.arange(CELLS), indexing="ij")
        self.register_buffer("places", torch.stack([x, y]).reshape(1, 2, -1).float())
        with torch.no_grad():  # most places hold nothing
            self.scores.bias = nn.Parameter(torch.full((classes,), -4.0))

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (n, 4, 64) as centre and size in pixels, and class logits (n, classes, 64)."""
        seen = self.body(x)
        near = self.sides(seen).flatten(2).sigmoid()
        centre = (2 * near[:, :2] - 0.5 + self.places) * STRIDE
        size = (2 * near[:, 2:]) ** 2 * STRIDE
        return torch.cat([centre, size], 1), self.scores(seen).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return boxes and scores joined, (n, 4 + classes, 64)."""
        boxes, scores = self.logits(x)
        return torch.cat([boxes, scores.sigmoid()], 1)


def targets(made: detection_sets.DetectionSet) -> tuple[Tensor, Tensor]:
    """Return each place's class (n, 64), -1 for none, and box (n, 4, 64) as centre and size."""
    count = len(made.pictures)
    kinds, boxes = np.full((count, CELLS * CELLS), -1), np.zeros((count, 4, CELLS * CELLS))
    for number, own in enumerate(made.boxes):
        for kind, x1, y1, x2, y2 in own:
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            place = int(y // STRIDE) * CELLS + int(x // STRIDE)
            kinds[number, place] = kind
            boxes[number, :, place] = x, y, x2 - x1, y2 - y1
    return torch.from_numpy(kinds), torch.from_numpy(boxes).float()


Loss = Callable[[Tensor, list[int]], Tensor]
"""Of pictures (n, 3, 64, 64) on 0..1, and the rows of the set that they are."""


def small(made: detection_sets.DetectionSet, width: int) -> tuple[Detector, Loss]:
    """Return our own detector, and its loss of scores everywhere and of boxes where something is."""
    torch.manual_seed(0)
    net = Detector(len(made.names), width)
    kinds, boxes = targets(made)

    def loss(pictures: Tensor, rows: list[int]) -> Tensor:
        found, scores = net.logits(pictures)
        there = kinds[rows] >= 0
        wanted = torch.zeros_like(scores)
        wanted.scatter_(1, kinds[rows].clamp(min=0)[:, None], there[:, None].float())
        classes = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
        near = functional.smooth_l1_loss(found, boxes[rows], reduction="none").sum(1)[there].sum()
        total: Tensor = (classes + 0.5 * near) / there.sum().clamp(min=1)
        return total

    return net, loss


def of_ultralytics(made: detection_sets.DetectionSet, graph: str) -> tuple[nn.Module, Loss]:
    """Return a graph of the package ultralytics with random weights, and its own loss."""
    torch.manual_seed(0)
    net: Any = importlib.import_module("ultralytics.nn.tasks").DetectionModel(
        graph, nc=len(made.names), verbose=False
    )
    net.args = importlib.import_module("ultralytics.cfg").get_cfg()
    net.model[-1].export, net.model[-1].format = True, "onnx"  # one output, boxes in pixels
    sides = np.array([SIDE, SIDE])

    def loss(pictures: Tensor, rows: list[int]) -> Tensor:
        own = [made.boxes[row] for row in rows]
        whole = np.concatenate(own)
        low, high = whole[:, 1:3] / sides, whole[:, 3:] / sides
        batch = {
            "img": pictures,
            "batch_idx": torch.arange(len(own)).repeat_interleave(torch.tensor([*map(len, own)])),
            "cls": torch.from_numpy(whole[:, :1]).float(),
            "bboxes": torch.from_numpy(np.concatenate([(low + high) / 2, high - low], 1)).float(),
        }
        total: Tensor = net.loss(batch)[0].sum() / len(own)
        return total

    return net, loss


def train(net: nn.Module, loss: Loss, made: detection_sets.DetectionSet, steps: int) -> None:
    """Train a detector by AdamW on a one-cycle schedule."""
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(made.pictures).permute(0, 3, 1, 2)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    net.train()
    for step in range(steps):
        rows = rng.choice(len(pictures), BATCH, replace=False).tolist()
        lost = loss(pictures[rows].float() / 255, rows)
        optimizer.zero_grad()
        lost.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            click.echo(f"step {step + 1}: loss {lost.item():.2f}", err=True)
    net.eval()


@click.command()
@click.argument("name", type=click.Choice(list(detection_sets.SETS)))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--steps", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--graph", metavar="NAME.yaml", help="A graph of ultralytics. Default: ours.")
@click.option("--width", default=16, show_default=True, type=click.IntRange(1))
@click.option("--count", default=3000, show_default=True, type=click.IntRange(BATCH))
@click.option("--held", default=200, show_default=True, type=click.IntRange(1))
def command(
    name: str, out: Path, steps: int, graph: str | None, width: int, count: int, held: int
) -> None:
    """Draw the set NAME, train on COUNT pictures, and write what a conversion and its test need."""
    draw = detection_sets.SETS[name]
    made = draw(count, 1)
    net: nn.Module
    net, loss = small(made, width) if graph is None else of_ultralytics(made, graph)
    train(net, loss, made, steps)
    detection_sets.write(draw(held, 2), out / "calib")
    detection_sets.write(draw(held, 3), out / "test")
    picture = torch.zeros(1, 3, SIDE, SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own retirement
        torch.onnx.export(net, (picture,), str(out / "detector.onnx"), dynamo=False)
    click.echo(f"{out / 'detector.onnx'}: {sum(p.numel() for p in net.parameters())} weights")


if __name__ == "__main__":
    command()

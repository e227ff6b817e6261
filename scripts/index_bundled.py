"""Measure the bundled weights over all test pictures: ``python scripts/index_bundled.py``.

Writes bundled/bundled.json: for each net its file's hash, its top-1 and how it was trained.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from edgeconv.demo_files import demo_folder
from edgeconv.files import sha256, write_text
from edgeconv.models import SPECS, fashion_mnist
from edgeconv.models.weights import load_weights

RESOLUTION = 64
TRAIN = "scripts/train.py of 0.2.0"
REFINE = "--start start.safetensors --peak-rate 1e-3 --seed 1 --epochs"
SNAPPED = "then edgeconv.train.snap"
COMMANDS = {
    "mobilenet_v1": f"{TRAIN}: mobilenet_v1 --out start.safetensors --epochs 40:2,48:2,64:1 && "
    f"mobilenet_v1 --out mobilenet_v1.safetensors {REFINE} 64:3; {SNAPPED}",
    "mobilenet_v2": f"{TRAIN}: mobilenet_v2 --out mobilenet_v2.safetensors --epochs 32:4,64:3; {SNAPPED}",
    "shufflenet_v1": f"{TRAIN}: shufflenet_v1 --out start.safetensors --epochs 40:3,48:3,64:2 && "
    f"shufflenet_v1 --out shufflenet_v1.safetensors {REFINE} 64:2; {SNAPPED}",
    "ghostnet": f"{TRAIN}: ghostnet --out start.safetensors --epochs 32:5,64:2 && "
    f"ghostnet --out ghostnet.safetensors {REFINE} 64:2; {SNAPPED}",
}
"""How the files came to be. New ones: ``edgeconv train``, on what fashion_mnist_folders.py writes."""


def accuracy(net: nn.Module, grey: fashion_mnist.Pictures, labels: fashion_mnist.Pictures) -> float:
    """Return top-1 in percent over (N, S, S) grey pictures, fed as RGB in [-1, 1]."""
    right = 0
    with torch.inference_mode():
        for start in range(0, len(labels), 200):
            some = torch.from_numpy(grey[start : start + 200].astype(np.float32))
            logits = net((some / 127.5 - 1).unsqueeze(1).expand(-1, 3, -1, -1))
            right += int((logits.argmax(1).numpy() == labels[start : start + 200]).sum())
    return 100 * right / len(labels)


def index(folder: Path, data: Path) -> dict[str, Any]:
    """Measure every net's weights in ``folder`` over the 10,000 test pictures; return the index."""
    small, labels = fashion_mnist.load("t10k", data)
    grey = fashion_mnist.resize(small, RESOLUTION)
    nets = {}
    for net in SPECS:
        path = folder / f"{net}.safetensors"
        if not path.exists():
            continue
        module = load_weights(net, {}, str(path)).build()
        nets[net] = {
            "file": path.name,
            "sha256": sha256(path),
            "top1": round(accuracy(module, grey, labels), 2),
            "test_pictures": len(labels),
            "command": COMMANDS[net],
        }
    return {
        "data": {
            "name": "Fashion-MNIST",
            "origin": "https://github.com/zalandoresearch/fashion-mnist",
            "package": "dataset-fashion-mnist (Debian)",
            "licence": "MIT, copyright 2017 Zalando SE",
        },
        "input": {
            "shape": [1, 3, RESOLUTION, RESOLUTION],
            "resolution": RESOLUTION,
            "mean": [0.5],
            "std": [0.5],
            "crop": 1.0,
        },
        "labels": list(fashion_mnist.LABELS),
        "licence": "Apache-2.0, as edgeconv",
        "nets": nets,
    }


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), default=fashion_mnist.FOLDER)
@click.option("--folder", type=click.Path(path_type=Path), default=demo_folder("weights"))
def main(data: Path, folder: Path) -> None:
    """Measure, write, say so."""
    torch.set_num_threads(1)
    found = index(folder, data)
    write_text(folder / "bundled.json", json.dumps(found, indent=1) + "\n")
    for net, entry in found["nets"].items():
        click.echo(f"{net}: {entry['top1']} % of {entry['test_pictures']}")


if __name__ == "__main__":
    main()

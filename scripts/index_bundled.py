"""Measure the bundled weights over all test pictures: ``python scripts/index_bundled.py``.

Writes bundled/bundled.json: for each net its file's hash, its top-1 and how it was trained. With
``--trained DIR`` the weights that ``edgeconv train`` wrote there become the bundled ones before.
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
from edgeconv.train.keep import save_weights
from edgeconv.train.net import head_of

RESOLUTION = 64
EPOCHS = {"mobilenet_v1": 50, "mobilenet_v2": 45, "shufflenet_v1": 60, "ghostnet": 45}
FOLDERS = "fashion_mnist_folders.py fm; fashion_mnist_folders.py fm20 --train 2000"
TRAIN = "edgeconv train {net} --weights random --data fm/train --held-out 0.02 --resolution 64 --epochs {epochs} --batch 256 --rate 3e-3 --augment flip --patience 0 --accelerator cuda --output start.safetensors"
AGAIN = "edgeconv train {net} --weights start.safetensors --data fm20/train --held-out 0.02 --epochs 1 --batch 128 --rate 3e-4 --augment flip --patience 0 --threads 1 --seed 1 --output {net}.safetensors"
COMMANDS = {
    net: f"{FOLDERS}; {TRAIN}; {AGAIN}".format(net=net, epochs=epochs)
    for net, epochs in EPOCHS.items()
}
"""How the files came to be (docs/train.md says on what)."""


def take(
    trained: Path, folder: Path, grey: fashion_mnist.Pictures, labels: fashion_mnist.Pictures
) -> None:
    """Write what ``edgeconv train`` made of the folders of fashion_mnist_folders.py into ``folder``.

    Classes come in the data set's own order and by its names; nothing else changes.
    """
    folders = [label.lower().replace(" ", "-") for label in fashion_mnist.LABELS]
    for net in SPECS:
        loaded = load_weights(net, {}, str(trained / f"{net}.safetensors"))
        module = loaded.build()
        head = head_of(module)
        order = [(loaded.labels or ()).index(name) for name in folders]
        with torch.no_grad():
            for rows in (head.weight, head.bias):
                rows.copy_(rows[order])
        described = {
            "net": {"source": net, **loaded.options},
            "preprocessing": loaded.preprocessing.to_json(),
            "labels": fashion_mnist.LABELS,
            "accuracy": {
                "top1": round(accuracy(module, grey, labels), 2),
                "dataset": "Fashion-MNIST",
                "source": f"{len(labels):,} test pictures",
            },
        }
        save_weights(module, folder / f"{net}.safetensors", described)


def accuracy(net: nn.Module, grey: fashion_mnist.Pictures, labels: fashion_mnist.Pictures) -> float:
    """Return top-1 in percent over (N, S, S) grey pictures, fed as RGB in [-1, 1]."""
    right = 0
    with torch.inference_mode():
        for start in range(0, len(labels), 200):
            some = torch.from_numpy(grey[start : start + 200].astype(np.float32))
            logits = net((some / 127.5 - 1).unsqueeze(1).expand(-1, 3, -1, -1))
            right += int((logits.argmax(1).numpy() == labels[start : start + 200]).sum())
    return 100 * right / len(labels)


def test_pictures(data: Path) -> tuple[fashion_mnist.Pictures, fashion_mnist.Pictures]:
    """Return grey pictures (N, S, S) of the test half at RESOLUTION and their classes (N,)."""
    small, labels = fashion_mnist.load("t10k", data)
    return fashion_mnist.resize(small, RESOLUTION), labels


def index(folder: Path, data: Path) -> dict[str, Any]:
    """Measure every net's weights in ``folder`` over the 10,000 test pictures; return the index."""
    grey, labels = test_pictures(data)
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
@click.option(
    "--trained", type=click.Path(path_type=Path), help="Take NET.safetensors of this folder first."
)
@click.option("--data", type=click.Path(path_type=Path), default=fashion_mnist.FOLDER)
@click.option("--folder", type=click.Path(path_type=Path), default=demo_folder("weights"))
def main(trained: Path | None, data: Path, folder: Path) -> None:
    """Take, measure, write, say so."""
    torch.set_num_threads(1)
    if trained is not None:
        take(trained, folder, *test_pictures(data))
    found = index(folder, data)
    write_text(folder / "bundled.json", json.dumps(found, indent=1) + "\n")
    for net, entry in found["nets"].items():
        click.echo(f"{net}: {entry['top1']} % of {entry['test_pictures']}")


if __name__ == "__main__":
    main()

"""Train the bundled weights: ``python scripts/train.py NET --out FILE``.

Fashion-MNIST as 3x64x64 RGB, x = pixel / 127.5 - 1. Most epochs run at 32x32, which is four times
faster, the last ones at 64x64. Deterministic for one machine, thread count and version of torch; a
killed run goes on from its last whole epoch when the same command is given again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- PyTorch's own convention

from edgeconv.errors import UsageError
from edgeconv.files import replacing
from edgeconv.models import build, fashion_mnist
from edgeconv.models.weights import load_weights

RESOLUTION = 64


@dataclass(frozen=True)
class Schedule:
    """What one training run does: ``epochs`` lists the picture size of each epoch in pixels."""

    epochs: tuple[int, ...]
    batch: int
    peak_rate: float
    weight_decay: float
    label_smoothing: float
    seed: int


@dataclass
class Split:
    """Grey pictures (N, S, S) uint8 for each size S in use, and labels (N,) int64."""

    pictures: dict[int, Tensor]
    labels: Tensor


def load_split(name: str, folder: Path, sizes: set[int]) -> Split:
    """Read a split of Fashion-MNIST and resize it to each of ``sizes``."""
    pictures, labels = fashion_mnist.load(name, folder)
    return Split(
        {size: torch.from_numpy(fashion_mnist.resize(pictures, size)) for size in sorted(sizes)},
        torch.from_numpy(labels.astype(np.int64)),
    )


def to_input(grey: Tensor) -> Tensor:
    """Turn (N, S, S) uint8 into (N, 3, S, S) float32 in [-1, 1], channels last."""
    x = (grey.float() / 127.5 - 1).unsqueeze(1).expand(-1, 3, -1, -1)
    return x.contiguous(memory_format=torch.channels_last)


def accuracy(net: nn.Module, split: Split, size: int, batch: int = 200) -> float:
    """Top-1 in percent over the whole split, in eval mode."""
    net.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(split.labels), batch):
            logits = net(to_input(split.pictures[size][start : start + batch]))
            right += int((logits.argmax(1) == split.labels[start : start + batch]).sum())
    return 100 * right / len(split.labels)


def train(
    net: nn.Module, data: Split, test: Split, schedule: Schedule, checkpoint: Path
) -> nn.Module:
    """Train ``net`` in place by AdamW on a one-cycle schedule, saving after each epoch; return it."""
    decay = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]  # batch norms and biases: no decay
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    groups: list[dict[str, Any]] = [{"params": decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, schedule.peak_rate, weight_decay=schedule.weight_decay)
    steps = len(data.labels) // schedule.batch
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.peak_rate,
        total_steps=steps * len(schedule.epochs),
        pct_start=0.25,
        cycle_momentum=False,
    )
    parts: dict[str, Any] = {"net": net, "optimizer": optimizer, "rates": rates}
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved.pop("epoch")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for epoch in range(first, len(schedule.epochs)):
        started = time.monotonic()
        loss = _epoch(net, data, schedule, epoch, optimizer, rates)
        top1 = accuracy(net, test, schedule.epochs[epoch])
        click.echo(
            f"epoch {epoch + 1}/{len(schedule.epochs)} at {schedule.epochs[epoch]}: "
            f"loss {loss:.4f}, test top-1 {top1:.2f} %, {time.monotonic() - started:.0f} s"
        )
        state = {name: part.state_dict() for name, part in parts.items()}
        with replacing(checkpoint) as part_file:
            torch.save(state | {"epoch": epoch + 1}, part_file)
    return net


def _epoch(
    net: nn.Module,
    data: Split,
    schedule: Schedule,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    rates: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Run one epoch over shuffled, randomly mirrored pictures; return the mean loss."""
    net.train()
    torch.manual_seed(schedule.seed * 1000 + epoch)  # so that a resumed run repeats the epoch
    pictures = data.pictures[schedule.epochs[epoch]]
    order = torch.randperm(len(data.labels))
    steps = len(order) // schedule.batch
    total = 0.0
    for index in order[: steps * schedule.batch].view(steps, schedule.batch):
        grey = pictures[index]
        mirrored = torch.rand(len(index)) < 0.5
        grey = torch.where(mirrored[:, None, None], grey.flip(2), grey)
        loss = F.cross_entropy(
            net(to_input(grey)), data.labels[index], label_smoothing=schedule.label_smoothing
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rates.step()
        total += loss.item()
    return total / steps


def save(net: nn.Module, out: Path) -> None:
    """Write the weights as fp16 safetensors, without batch norm's counters, and load them back."""
    from safetensors.torch import save_file

    state = {
        key: value.to(torch.float16).contiguous()
        for key, value in net.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    with replacing(out) as part:
        save_file(state, part)
    net.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)


def parse_epochs(text: str) -> tuple[int, ...]:
    """Read ``32:5,64:2`` as five epochs at 32 pixels and two at 64.

    >>> parse_epochs("32:3,64:1")
    (32, 32, 32, 64)
    """
    try:
        pairs = [tuple(map(int, item.split(":"))) for item in text.split(",")]
        return tuple(size for size, count in pairs for _ in range(count))
    except ValueError as error:
        raise UsageError(f"--epochs is written like 32:5,64:2, not {text!r}") from error


@click.command(help=__doc__)
@click.argument("net")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="safetensors to write")
@click.option("--data", type=click.Path(path_type=Path), default=fashion_mnist.FOLDER)
@click.option("--start", type=click.Path(path_type=Path), help="weights to go on from")
@click.option("--epochs", default="32:5,64:2", show_default=True, help="picture size:epochs, ...")
@click.option("--batch", default=64, show_default=True)
@click.option("--peak-rate", default=2e-3, show_default=True)
@click.option("--weight-decay", default=0.05, show_default=True)
@click.option("--label-smoothing", default=0.05, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    net: str,
    out: Path,
    data: Path,
    start: Path | None,
    epochs: str,
    batch: int,
    peak_rate: float,
    weight_decay: float,
    label_smoothing: float,
    threads: int,
    seed: int,
) -> None:
    """Parse, train, save, measure."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    schedule = Schedule(parse_epochs(epochs), batch, peak_rate, weight_decay, label_smoothing, seed)
    classes = len(fashion_mnist.LABELS)
    if start is None:
        module = build(net, classes=classes)
    else:
        module = load_weights(net, {}, str(start), classes=classes).build()
    sizes = {*schedule.epochs, RESOLUTION}
    test = load_split("t10k", data, sizes)
    train(module, load_split("train", data, sizes), test, schedule, out.with_suffix(".ckpt"))
    save(module, out)
    click.echo(f"{out}: {accuracy(module, test, RESOLUTION):.2f} % top-1 over 10,000, as stored")


if __name__ == "__main__":
    main()

"""The training itself: AdamW on a cosine schedule, the best epoch kept, every epoch saved."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- PyTorch's own convention

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError
from edgeconv.train.keep import Standing, on_processor
from edgeconv.train.net import learn
from edgeconv.train.options import TrainOptions
from edgeconv.train.pictures import augmented, batches, to_input
from edgeconv.train.step import Learn, learning

WARM_UP = 0.05
"""Share of the steps in which the rate rises to its highest."""

SETTLING = 16
"""Batches at most on which the statistics of batch norms are measured."""

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Data:
    """Pictures (N, 3, S, S) uint8 and classes (N,) int64 to learn and to hold out, and how they are fed."""

    pixels: Tensor
    classes: Tensor
    held_pixels: Tensor
    held_classes: Tensor
    how: Preprocessing


def rate_at(step: int, steps: int, highest: float) -> float:
    """Return the learning rate of ``step`` of ``steps``: a short rise, then a half cosine to 0.

    >>> [round(rate_at(step, 101, 1.0), 2) for step in (0, 5, 53, 100)]
    [0.2, 1.0, 0.49, 0.0]
    """
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return highest * (step + 1) / rise
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - 1 - rise)))


def fit(
    net: nn.Module,
    data: Data,
    options: TrainOptions,
    standing: Standing,
    on_epoch: Callable[[Standing], None],
) -> Standing:
    """Train ``net`` from ``standing`` to its end; ``on_epoch`` is called after each whole epoch.

    Afterwards the net holds the best epoch. Raises EdgeconvError where the loss is no number.
    """
    place = next(net.parameters()).device
    optimizer = _optimizer(net, options)
    scaler = torch.amp.GradScaler(place.type, enabled=place.type == "cuda")
    if standing.epochs:
        go_on(net, optimizer, scaler, standing)
    size = min(options.batch, len(data.classes)), 3, *data.how.size
    example = to_input(torch.zeros(size, device=place), data.how)
    classes = torch.zeros(size[0], dtype=torch.int64, device=place)
    step = learning(net, scaler, options.label_smoothing, (example, classes))
    while len(standing.epochs) < options.epochs and not _tired(standing, options):
        started = time.monotonic()
        loss = _epoch(net, data, options, len(standing.epochs), optimizer, scaler, step)
        if options.tune == "all":
            settle_norms(net, data, options)
        right, held_loss = evaluate(net, data)
        share = right / len(data.held_classes)
        line = {"loss": round(loss, 4), "held_out_loss": round(held_loss, 4), "right": right}
        standing.epochs.append(line | {"seconds": round(time.monotonic() - started, 1)})
        if (share, -held_loss) > standing.score:
            standing.score, standing.best_epoch = (share, -held_loss), len(standing.epochs)
            standing.best = on_processor(net.state_dict())
        standing.net, standing.optimizer = on_processor(net.state_dict()), optimizer.state_dict()
        standing.scaler = scaler.state_dict()
        on_epoch(standing)
    net.load_state_dict(standing.best)
    return standing


def go_on(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    standing: Standing,
) -> None:
    """Let all be where ``standing`` stopped. Raises EdgeconvError for an optimizer of other weights."""
    net.load_state_dict(standing.net)
    try:
        optimizer.load_state_dict(standing.optimizer)
        scaler.load_state_dict(standing.scaler)
        fits = all(
            held.shape in (weight.shape, ())
            for weight, state in optimizer.state.items()
            for held in state.values()
        )
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        fits = False
    if not fits:
        raise EdgeconvError(
            "the unfinished training's optimizer is damaged: give --force to start anew"
        )


def settle_norms(net: nn.Module, data: Data, options: TrainOptions) -> None:
    """Measure the statistics of every batch norm anew, on pictures as they are.

    The running ones lag behind by some ten steps, which are whole epochs of a small folder, and they
    are those of augmented pictures.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    place = next(net.parameters()).device
    generator = torch.Generator().manual_seed(options.seed)
    net.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    with torch.no_grad():
        parts = batches(len(data.classes), max(options.batch, 32), generator)
        for index in itertools.islice(parts, SETTLING):
            plain = augmented(data.pixels[index], data.how.size[0], "none", generator)
            net(to_input(plain.to(place), data.how))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def evaluate(
    net: nn.Module, data: Data, logits: Logits | None = None, size: int = 100
) -> tuple[int, float]:
    """Return how many held-out pictures are right, and their mean cross entropy."""
    net.eval()
    run = net if logits is None else logits
    place = next(net.parameters()).device
    right, total = 0, 0.0
    with torch.inference_mode():
        for start in range(0, len(data.held_classes), size):
            wanted = data.held_classes[start : start + size].to(place)
            made = run(to_input(data.held_pixels[start : start + size].to(place), data.how)).float()
            right += int((made.argmax(1) == wanted).sum())
            total += float(F.cross_entropy(made, wanted, reduction="sum"))
    return right, total / len(data.held_classes)


def _tired(standing: Standing, options: TrainOptions) -> bool:
    """Whether nothing better came for the epochs that patience allows."""
    waited = len(standing.epochs) - standing.best_epoch
    return options.patience > 0 and waited >= options.patience


def _optimizer(net: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    learn(net, options.tune)
    learnt = [p for p in net.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learnt if p.ndim > 1]},
        # batch norms and biases: decay would pull them to 0
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]
    on_gpu = (
        next(net.parameters()).device.type == "cuda"
    )  # one kernel for all, which waits for nobody
    return torch.optim.AdamW(
        groups, options.rate, weight_decay=options.weight_decay, fused=on_gpu or None
    )


def _epoch(
    net: nn.Module,
    data: Data,
    options: TrainOptions,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    step: Learn,
) -> float:
    """Run one epoch and return the mean loss; the same again for the same seed and epoch."""
    place = next(net.parameters()).device
    learn(net, options.tune)
    generator = torch.Generator().manual_seed(options.seed * 100_003 + epoch)
    torch.manual_seed(options.seed * 100_003 + epoch)  # for dropout
    count = len(data.classes)
    steps = count // min(options.batch, count)
    total = torch.zeros((), device=place)
    for place_in_epoch, index in enumerate(batches(count, options.batch, generator)):
        rate = rate_at(epoch * steps + place_in_epoch, options.epochs * steps, options.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        varied = augmented(data.pixels[index], data.how.size[0], options.augment, generator, place)
        total += step(to_input(varied, data.how), data.classes[index].to(place))
        scaler.step(optimizer)
        scaler.update()
    if not math.isfinite(mean := float(total) / steps):
        raise EdgeconvError(
            f"the loss of epoch {epoch + 1} is no number: give a lower --rate than {options.rate:g}"
        )
    return mean

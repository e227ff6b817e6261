"""Small nets of many kinds, random in width and depth by a seed, trained on drawn scenes in seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import scene_classifiers as classifiers
import scene_decided as decided
import scene_heads as heads
import scene_others as others
import scene_tasks as tasks
import scenes
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.preprocessing import NAMED, Scaling

CLASSES = len(scenes.SHAPES)
GRID = 4


def seeded(kind: str, seed: int) -> nn.Module:
    """Return an untrained net of ``kind`` whose widths and weights follow from ``seed``."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    return KINDS[kind](int(rng.integers(2, 5)) * 8, int(rng.integers(1, 3)))


def trained(
    kind: str,
    seed: int,
    folder: Path,
    steps: int = 150,
    scaling: Scaling = NAMED["symmetric"],
) -> nn.Module:
    """Return the net trained on scenes under a mean and std of 0..1; its weights are kept in ``folder``."""
    mean, std = (torch.tensor(side).view(1, -1, 1, 1) for side in scaling)
    tag = "" if scaling == NAMED["symmetric"] else f"_{scaling[0][0]:g}_{scaling[1][0]:.3g}"
    net, kept = seeded(kind, seed), folder / f"{kind}_{seed}_{steps}{tag}.pt"
    if kept.exists():
        net.load_state_dict(torch.load(kept))
        return net.eval()
    data = scenes.draw(32 * 48, 10_000 + seed)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    loss: heads.Loss = {**heads.LOSSES, **others.LOSSES, **decided.LOSSES}.get(kind, loss_by_shapes)
    order = np.random.default_rng(seed)
    for _ in range(steps):
        rows = order.choice(len(data.pictures), 32, replace=False)
        seen = ((torch.from_numpy(data.pictures[rows]) + 1) / 2 - mean) / std
        lost = loss(net(seen), data, rows)
        optimizer.zero_grad()
        lost.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), kept)
    return net.eval()


def loss_by_shapes(
    outputs: Tensor | tuple[Tensor, ...], data: scenes.Scenes, rows: np.ndarray
) -> Tensor:
    """Return the loss of whatever task the outputs' shapes are of."""
    shapes, colours = (torch.from_numpy(a[rows]) for a in (data.shapes, data.colours))
    if isinstance(outputs, tuple) and outputs[0].shape == outputs[1].shape:
        first, second = (
            functional.cross_entropy(o, t) for o, t in zip(outputs, (shapes, colours), strict=True)
        )
        return first + second
    if isinstance(outputs, Tensor) and outputs.ndim == 2:
        return functional.cross_entropy(outputs, shapes)
    if isinstance(outputs, Tensor) and outputs.ndim == 4:
        masks = torch.from_numpy(data.masks[rows]).long()
        return functional.cross_entropy(outputs, masks * (shapes[:, None, None] + 1))
    if isinstance(outputs, Tensor):
        outputs = outputs[:, :4], outputs[:, 4:]
    boxes = torch.from_numpy(data.boxes[rows])
    cell = (boxes[:, :2] / scenes.SIZE * GRID).long().clamp(0, GRID - 1)
    place = (cell[:, 1] * GRID + cell[:, 0])[:, None, None]
    own = outputs[0].gather(2, place.expand(-1, 4, 1))[:, :, 0]
    scores = outputs[1].gather(2, place.expand(-1, CLASSES, 1))[:, :, 0]
    return functional.cross_entropy(scores, shapes) + 0.2 * functional.smooth_l1_loss(own, boxes)


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "plain": classifiers.plain,
    "residual": classifiers.residual,
    "inverted": classifiers.inverted,
    "swish": classifiers.swish,
    "silu": classifiers.silu,
    "shuffled": classifiers.shuffled,
    "dense": classifiers.dense,
    "inception": classifiers.inception,
    "convnext": classifiers.convnext,
    "tokens": classifiers.Tokens,
    "unet": tasks.UNet,
    "deconvolved": tasks.Deconvolved,
    "detector": lambda width, depth: tasks.Detector(width, depth, joined=False),
    "joined_detector": lambda width, depth: tasks.Detector(width, depth, joined=True),
    "twins": tasks.Twins,
    **heads.KINDS,
    **others.KINDS,
    **decided.KINDS,
}
"""Kind -> what makes one of a width and a depth."""

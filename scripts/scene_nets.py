"""Small nets of many kinds, random in width and depth by a seed, trained on drawn scenes in seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
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


def loss(outputs: Tensor | tuple[Tensor, ...], data: scenes.Scenes, rows: np.ndarray) -> Tensor:
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


def conv(
    into: int,
    out: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return convolution, batch norm, activation."""
    plain = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(plain, nn.BatchNorm2d(out), act())


class Sum(nn.Module):
    """x plus what ``inner`` makes of it."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the branch."""
        y: Tensor = x + self.inner(x)
        return y


class Join(nn.Module):
    """What each branch makes of x, one after the other in the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branches' channels, joined."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Shuffle(nn.Module):
    """Channels of two groups interleaved."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of both halves in turn."""
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Gate(nn.Module):
    """Squeeze and excite with a gate of the kind given."""

    def __init__(self, width: int, gate: type[nn.Module]) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 4, 1),
            nn.ReLU(),
            nn.Conv2d(width // 4, width, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x times its gate."""
        y: Tensor = x * self.inner(x)
        return y


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of a picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, (n, c, h, w), normalised over c."""
        y: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y


class Attention(nn.Module):
    """Self-attention over tokens (n, t, width), spelled out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens, (n, t, width)."""
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        share = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1)
        y: Tensor = x + self.out(share @ v)
        return y


def classifier(width: int, *body: nn.Module) -> nn.Sequential:
    """Return a body with pooled class scores behind it."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


def plain(width: int, depth: int) -> nn.Module:
    """Convolutions and max pools."""
    inner = [conv(width, width) for _ in range(depth)]
    return classifier(
        2 * width,
        conv(3, width),
        nn.MaxPool2d(2),
        *inner,
        conv(width, 2 * width, 3, 2),
        nn.MaxPool2d(2),
    )


def residual(width: int, depth: int) -> nn.Module:
    """Bottlenecks with a sum."""
    blocks = [
        nn.Sequential(Sum(conv(width, width), conv(width, width, act=nn.Identity)), nn.ReLU())
        for _ in range(depth + 1)
    ]
    return classifier(2 * width, conv(3, width, 3, 2), *blocks, conv(width, 2 * width, 3, 2))


def inverted(width: int, depth: int) -> nn.Module:
    """Inverted residuals with ReLU6."""

    def block() -> nn.Module:
        wide = 3 * width
        return Sum(
            conv(width, wide, 1, act=nn.ReLU6),
            conv(wide, wide, 3, 1, wide, nn.ReLU6),
            conv(wide, width, 1, act=nn.Identity),
        )

    return classifier(
        4 * width,
        conv(3, width, 3, 2, act=nn.ReLU6),
        *(block() for _ in range(depth + 1)),
        conv(width, 4 * width, 1, 2, act=nn.ReLU6),
    )


def swish(width: int, depth: int) -> nn.Module:
    """Hard swish with squeeze and excite."""

    def block() -> nn.Module:
        wide = 2 * width
        return Sum(
            conv(width, wide, 1, act=nn.Hardswish),
            conv(wide, wide, 5, 1, wide, nn.Hardswish),
            Gate(wide, nn.Hardsigmoid),
            conv(wide, width, 1, act=nn.Identity),
        )

    return classifier(
        2 * width,
        conv(3, width, 3, 2, act=nn.Hardswish),
        *(block() for _ in range(depth)),
        conv(width, 2 * width, 3, 2, act=nn.Hardswish),
    )


def silu(width: int, depth: int) -> nn.Module:
    """SiLU with sigmoid gates."""
    blocks = [
        Sum(conv(width, width, 3, act=nn.SiLU), Gate(width, nn.Sigmoid)) for _ in range(depth + 1)
    ]
    return classifier(
        2 * width,
        conv(3, width, 3, 2, act=nn.SiLU),
        *blocks,
        conv(width, 2 * width, 3, 2, act=nn.SiLU),
    )


def shuffled(width: int, depth: int) -> nn.Module:
    """Grouped convolutions and channel shuffles."""
    blocks = [
        Sum(
            conv(width, width, 1, 1, 2),
            Shuffle(),
            conv(width, width, 3, 1, width, nn.Identity),
            conv(width, width, 1, 1, 2),
        )
        for _ in range(depth + 1)
    ]
    return classifier(2 * width, conv(3, width, 3, 2), *blocks, conv(width, 2 * width, 3, 2))


def dense(width: int, depth: int) -> nn.Module:
    """Each layer reads all before it."""
    blocks = [Join(nn.Identity(), conv(width + 8 * i, 8)) for i in range(depth + 1)]
    full = width + 8 * (depth + 1)
    return classifier(full, conv(3, width, 3, 2), *blocks, nn.AvgPool2d(2), conv(full, full, 1))


def inception(width: int, depth: int) -> nn.Module:
    """Branches of several kernels and a pool, joined."""

    def block() -> nn.Module:
        half = width // 2
        pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(width, half, 1))
        return nn.Sequential(
            Join(conv(width, half, 1), conv(width, half, 3), pool), conv(3 * half, width, 1)
        )

    return classifier(
        2 * width,
        conv(3, width, 3, 2),
        *(block() for _ in range(depth)),
        conv(width, 2 * width, 3, 2),
    )


def convnext(width: int, depth: int) -> nn.Module:
    """Wide depthwise kernels, LayerNorm, GELU."""

    def block() -> nn.Module:
        return Sum(
            nn.Conv2d(width, width, 7, 1, 3, groups=width),
            ChannelNorm(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 1),
        )

    return classifier(
        width, nn.Conv2d(3, width, 4, 4), ChannelNorm(width), *(block() for _ in range(depth + 1))
    )


class Tokens(nn.Module):
    """Patches, self-attention, a multilayer perceptron."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Sequential(conv(3, width, 3, 2), nn.Conv2d(width, width, 4, 4))
        self.place = nn.Parameter(torch.randn(1, 16, width) * 0.1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    Attention(width),
                    Sum(
                        nn.LayerNorm(width),
                        nn.Linear(width, 2 * width),
                        nn.GELU(),
                        nn.Linear(2 * width, width),
                    ),
                )
                for _ in range(depth)
            )
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (n, 8)."""
        y: Tensor = self.head(
            self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.place).mean(1)
        )
        return y


class UNet(nn.Module):
    """Down, up, joined: class scores for each pixel, upsampled by interpolation."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = conv(3, width)
        self.down = nn.Sequential(
            conv(width, 2 * width, 3, 2),
            *(conv(2 * width, 2 * width) for _ in range(depth)),
            conv(2 * width, 2 * width, 3, 2),
        )
        self.mix, self.last = conv(3 * width, width), nn.Conv2d(width, CLASSES + 1, 1)
        self.mode = "bilinear" if depth == 1 else "nearest"

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (n, 9, 32, 32)."""
        near = self.first(x)
        corners = False if self.mode == "bilinear" else None
        far = functional.interpolate(
            self.down(near), scale_factor=4, mode=self.mode, align_corners=corners
        )
        y: Tensor = self.last(self.mix(torch.cat([near, far], 1)))
        return y


class Deconvolved(nn.Module):
    """Class scores for each pixel by transposed convolutions."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, width),
            conv(width, 2 * width, 3, 2),
            *(conv(2 * width, 2 * width) for _ in range(depth)),
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 2, 2),
            nn.ReLU(),
            nn.Conv2d(width, CLASSES + 1, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (n, 9, 32, 32)."""
        y: Tensor = self.up(self.body(x))
        return y


class Detector(nn.Module):
    """Boxes in pixels and class scores on a grid: two outputs, or one that joins them."""

    def __init__(self, width: int, depth: int, *, joined: bool) -> None:
        super().__init__()
        act = nn.LeakyReLU
        self.body = nn.Sequential(
            conv(3, width, 3, 2, act=act),
            conv(width, 2 * width, 3, 2, act=act),
            *(Sum(conv(2 * width, 2 * width, act=act)) for _ in range(depth)),
            conv(2 * width, 2 * width, 3, 2, act=act),
        )
        last = nn.Conv2d(width, 4, 1)
        self.boxes = nn.Sequential(conv(2 * width, width), last)
        self.scores = nn.Sequential(conv(2 * width, width), nn.Conv2d(width, CLASSES, 1))
        self.joined = joined
        with torch.no_grad():
            last.bias = nn.Parameter(
                torch.full((4,), 12.0)
            )  # pixels: the middle of a picture is not 0

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return boxes (n, 4, 16) and scores (n, 8, 16), or both in one."""
        seen = self.body(x)
        boxes, scores = self.boxes(seen).flatten(2), self.scores(seen).flatten(2)
        return torch.cat([boxes, scores], 1) if self.joined else (boxes, scores)


class Twins(nn.Module):
    """Two outputs of one shape: the shape's class and the colour's."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, width, 3, 2),
            *(Sum(conv(width, width)) for _ in range(depth)),
            conv(width, 2 * width, 3, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.shape, self.colour = nn.Linear(2 * width, CLASSES), nn.Linear(2 * width, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores of shape and colour, (n, 8) each."""
        seen = self.body(x)
        return self.shape(seen), self.colour(seen)


KINDS: dict[str, Callable[[int, int], nn.Module]] = {
    "plain": plain,
    "residual": residual,
    "inverted": inverted,
    "swish": swish,
    "silu": silu,
    "shuffled": shuffled,
    "dense": dense,
    "inception": inception,
    "convnext": convnext,
    "tokens": Tokens,
    "unet": UNet,
    "deconvolved": Deconvolved,
    "detector": lambda width, depth: Detector(width, depth, joined=False),
    "joined_detector": lambda width, depth: Detector(width, depth, joined=True),
    "twins": Twins,
}
"""Kind -> what makes one of a width and a depth."""

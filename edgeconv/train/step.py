"""One step of learning: forward, loss and backward. A GPU replays its recorded kernels.

The four nets are hundreds of small kernels a step, and starting them one by one takes a processor
several times as long as a GPU takes to run them. Recorded once (a CUDA graph), a step is one start.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 -- PyTorch's own convention

WARMING = 3
"""Steps before the recording in which libraries choose and load their kernels."""

Learn = Callable[[Tensor, Tensor], Tensor]


def learning(
    net: nn.Module,
    scaler: torch.amp.GradScaler,
    label_smoothing: float,
    example: tuple[Tensor, Tensor],
) -> Learn:
    """Return what takes pictures (N, 3, S, S) and classes (N,), leaves gradients in ``net``, and returns the loss.

    ``example`` has the shapes that all later ones have. The gradients are those of the loss times
    the factor of ``scaler``.
    """

    def learn(pictures: Tensor, wanted: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, enabled=scaler.is_enabled()):
            logits = net(pictures)
        loss = F.cross_entropy(logits.float(), wanted, label_smoothing=label_smoothing)
        torch.autograd.backward(scaler.scale(loss))
        return loss.detach()

    if example[0].device.type == "cuda":
        return _recorded(net, learn, example)

    def anew(pictures: Tensor, wanted: Tensor) -> Tensor:
        net.zero_grad()
        return learn(pictures, wanted)

    return anew


def _recorded(net: nn.Module, learn: Learn, example: tuple[Tensor, Tensor]) -> Learn:
    """Return ``learn`` as a CUDA graph. ``net`` is as it was; its gradients lie in the graph's memory."""
    before = {key: value.clone() for key, value in net.state_dict().items()}
    given = tuple(value.clone() for value in example)
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMING):
            net.zero_grad()
            learn(*given)
    torch.cuda.current_stream().wait_stream(stream)
    net.zero_grad()  # gradients made while recording are written anew by each replay
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = learn(*given)
    net.load_state_dict(before)  # what batch norms saw while warming up

    def replay(pictures: Tensor, wanted: Tensor) -> Tensor:
        given[0].copy_(pictures)
        given[1].copy_(wanted)
        graph.replay()
        return loss

    return replay

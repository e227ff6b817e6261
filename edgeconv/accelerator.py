"""Where PyTorch trains: the processor, or a GPU that it sees."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeconv.errors import EdgeconvError

if TYPE_CHECKING:
    import torch

ACCELERATORS = ("cpu", "cuda", "mps")


def device(accelerator: str) -> "torch.device":
    """Return the device called so. Raises EdgeconvError where torch sees none."""
    import torch

    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[accelerator]:
        raise EdgeconvError(
            f"--accelerator {accelerator}: torch {torch.__version__} sees no such device here; "
            "leave it out to train on the processor"
        )
    return torch.device(accelerator)


@contextmanager
def repeatable(place: "torch.device") -> Iterator[None]:
    """Let the same work give the same bits again on ``place``.

    A GPU adds in the order in which its threads come unless it is told not to.
    """
    import torch

    if place.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)

"""What an entry of ExecuTorch's table does: it says a node in PyTorch.

Values are PyTorch tensors in the graph's own layout (NCHW). torch is imported where a node is built.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgeconv.export.graph import Graph, Node

if TYPE_CHECKING:
    import torch

Say = Callable[[Graph, Node, "Sequence[torch.Tensor]"], "torch.Tensor"]
"""Gives a node's output; it is handed the inputs that are there and no ``PARAMETERS``."""

PARAMETERS: dict[str, tuple[int, ...]] = {
    "Clip": (1, 2),
    "Pad": (1, 2),
    "ReduceMean": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
"""Operator -> the inputs that are read as constants: shapes, axes and bounds."""

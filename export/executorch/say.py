"""What an entry of ExecuTorch's table does: it says a node in PyTorch.

Values are PyTorch tensors in the graph's own layout (NCHW). torch is imported where a node is built.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgeconv.export.graph import Graph, Node

if TYPE_CHECKING:
    import torch

Say = Callable[
    [Graph, Node, "Sequence[torch.Tensor]"], "torch.Tensor | Sequence[torch.Tensor | None]"
]
"""Gives a node's output, or all of several (None for one without a name).

It is handed the inputs that are there, without those of ``PARAMETERS`` that are constants.
"""

PARAMETERS: dict[str, tuple[int, ...]] = {
    "Clip": (1, 2),
    "CumSum": (1,),
    "Expand": (1,),
    "Pad": (1, 2, 3),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}
"""Operator -> the inputs that are read as constants: shapes, axes and bounds."""

DELEGATE = "XNNPACK"
PORTABLE = "portable kernels"
EITHER = "XNNPACK or portable kernels"
"""What runs an operator: the delegate, ExecuTorch's own kernels outside of it, or one of both by form."""


def parameter(graph: Graph, node: Node, place: int) -> bool:
    """Whether an input is a constant that only says what the node does."""
    name = node.inputs[place]
    return place in PARAMETERS.get(node.op, ()) and (not name or name in graph.constants)

"""The papers' building blocks, for a user's own network."""

from edgeconv.models.ghostnet import GhostModule, SqueezeExcite
from edgeconv.models.layers import ConvBnAct, grouped_conv, make_divisible
from edgeconv.models.mobilenet_v1 import DepthwiseSeparableConv
from edgeconv.models.mobilenet_v2 import InvertedResidual
from edgeconv.models.shufflenet_v1 import ShuffleUnit, channel_shuffle

__all__ = [
    "ConvBnAct",
    "DepthwiseSeparableConv",
    "GhostModule",
    "InvertedResidual",
    "ShuffleUnit",
    "SqueezeExcite",
    "channel_shuffle",
    "grouped_conv",
    "make_divisible",
]

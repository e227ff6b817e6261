"""What is known of an output beside the two sides that are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.judge.labels import Margins
from edgeconv.judge.whole import Whole

Array = NDArray[Any]


@dataclass(frozen=True)
class Context:
    """What else is known about an output.

    ``scale``: its quantization step, for quanta. ``floor``: the same output of the recipe simulated
    in float, for the noise floor. ``truth``: class of each picture, -1 unknown. ``scores``: whether
    the output holds class scores; None decides by shape, (pictures, classes). ``whole``: what its whole
    numbers are; None decides by type. ``margins`` tell how sure its labels are. ``alone``: the net has
    no other output. ``kept``: a comparison keeps its values or makes them zero, and a float file is asked.
    ``asked``: a person set a limit on what classes decide.
    """

    scale: float | None = None
    floor: Array | None = None
    truth: NDArray[np.integer[Any]] | None = None
    scores: bool | None = None
    whole: Whole | None = None
    margins: Margins | None = None
    alone: bool = False
    kept: bool = False
    asked: bool = False

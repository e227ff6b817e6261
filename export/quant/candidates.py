"""The ways to quantize a net that each recipe name lets compete."""

from dataclasses import dataclass

from edgeconv.export.quant.fit import BiasCorrection, Rounding
from edgeconv.export.quant.ranges import RangeMethod


@dataclass(frozen=True)
class Candidate:
    """One way to quantize a net; ``name`` is what the output says was picked."""

    name: str
    ranges: RangeMethod
    rounding: Rounding
    bias: BiasCorrection
    equalize: bool = False


PLAIN = Candidate("min/max", "minmax", "nearest", "none")
CORRECTED = Candidate("min/max + bias", "minmax", "nearest", "before")
CLIPPED = Candidate("clip + bias", "mse3", "nearest", "after")
ROUNDED = Candidate("clip + GPTQ + bias", "mse3", "gptq", "after")
WHOLE = Candidate("min/max + GPTQ + bias", "minmax", "gptq", "after")
EARLY = Candidate("clip + GPTQ + bias before activations", "mse3", "gptq", "before")
EQUALIZED = Candidate("equalized + clip + GPTQ + bias", "mse3", "gptq", "after", equalize=True)
RECIPES: dict[str, tuple[Candidate, ...]] = {
    "fast": (CORRECTED, PLAIN),
    "std": (EQUALIZED, ROUNDED, CORRECTED, PLAIN),
    "best": (EQUALIZED, ROUNDED, WHOLE, EARLY, CLIPPED, CORRECTED, PLAIN),
}
"""Recipe name -> candidates, the one to trust most first."""

"""The ways to quantize a net that each recipe name lets compete."""

from dataclasses import dataclass, replace

from edgeconv.export.quant.fit import BiasCorrection, Rounding
from edgeconv.export.quant.ranges import RangeMethod


@dataclass(frozen=True)
class Candidate:
    """One way to quantize a net; ``name`` is what the output says was picked.

    A ``late`` one is tried where the last, which costs nothing to make, comes near to the others.
    """

    name: str
    ranges: RangeMethod
    rounding: Rounding
    bias: BiasCorrection
    equalize: bool = False
    late: bool = False

    @property
    def needs_pictures(self) -> bool:
        """Whether a layer's integers depend on what it sees."""
        return self.rounding != "nearest" or self.bias != "none"


PLAIN = Candidate("min/max", "minmax", "nearest", "none")
CORRECTED = Candidate("min/max + bias", "minmax", "nearest", "before")
CLIPPED = Candidate("clip + bias", "mse3", "nearest", "after")
ROUNDED = Candidate("clip + GPTQ + bias", "mse3", "gptq", "after")
WHOLE = Candidate("min/max + GPTQ + bias", "minmax", "gptq", "after")
EARLY = Candidate("clip + GPTQ + bias before activations", "mse3", "gptq", "before")
EQUALIZED = Candidate("equalized + clip + GPTQ + bias", "mse3", "gptq", "after", equalize=True)
RECIPES: dict[str, tuple[Candidate, ...]] = {
    "fast": (CORRECTED, PLAIN),
    "std": (EQUALIZED, ROUNDED, replace(CORRECTED, late=True), PLAIN),
    "best": (EQUALIZED, ROUNDED, WHOLE, EARLY, CLIPPED, CORRECTED, PLAIN),
}
"""Recipe name -> candidates, the one to trust most first."""

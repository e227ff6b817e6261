"""What may mend a missed verdict, in the order of what the net's figures say."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.export.keep_float import read_keep_float
from edgeconv.export.option import default_of, option_of
from edgeconv.preprocessing import better_wish, flags

if TYPE_CHECKING:
    from edgeconv.export.options import ExportOptions

MORE = 512
"""No measured net's ranges changed beyond this many pictures."""


@dataclass(frozen=True)
class Attempt:
    """Flags of ``edgeconv export`` to try, the same as fields of ExportOptions, and why."""

    flags: tuple[str, ...]
    fields: Mapping[str, Any]
    why: str

    @property
    def label(self) -> str:
        """How tables call it."""
        return " ".join(self.flags) or "as it is"

    @property
    def worst(self) -> int:
        """How many of the layers that add most noise it leaves in float."""
        return read_keep_float(self.fields.get("keep_float", ())).worst

    def along(self, other: "Attempt") -> "Attempt":
        """Return both at once."""
        flags = (*self.flags, *other.flags)
        return Attempt(flags, {**self.fields, **other.fields}, f"{self.why}; {other.why}")


AS_IT_IS = Attempt((), {}, "what the rest is held against")
BEST = Attempt(("--recipe", "best"), {"recipe": "best"}, "every candidate competes")


def keep_worst(count: int) -> Attempt:
    """Return the attempt that leaves ``count`` layers in float."""
    name = f"worst:{count}"
    why = f"the {count} layers that add most noise"
    return Attempt(("--keep-float", name), {"keep_float": (name,)}, why)


def attempts(
    options: "ExportOptions", known: Mapping[str, Any], available: int, *, classes: bool
) -> tuple[Attempt, ...]:
    """Return what to try after the net as it is, the likeliest first.

    ``known`` is the manifest of the file as it is, ``available`` how many calibration samples there
    are, ``classes`` whether the net's one output holds class scores.
    """
    found = []
    better = better_wish(known)
    if better:
        found.append(_as_trained(options, better))
    used = int((known.get("calibration") or {}).get("count") or 0)
    if available > used:
        count = min(available, max(2 * used, MORE // 4), MORE)
        given = {"calib_count": count}
        found.append(Attempt(("--calib-count", str(count)), given, f"there were {used}"))
    found.append(keep_worst(3))
    if options.recipe != "best":
        found.append(BEST)
    found.append(Attempt(("--copies", "0.25"), {"copies": 0.25}, "noisy channels twice"))
    found.append(keep_worst(8))
    found.append(keep_worst(3) if options.recipe == "best" else BEST.along(keep_worst(3)))
    if classes:
        found.append(
            Attempt(("--max-drop", "1"), {"max_drop": 1.0}, "as few layers in float as it takes")
        )
    if "onnx" not in options.targets:
        found.append(Attempt(("--fp16",), _half(options), "half the size, without a recipe"))
    layers = int((known.get("graph") or {}).get("compute") or 0)
    if layers:  # with all of them in float it is no INT8 file
        found = [attempt for attempt in found if attempt.worst < layers]
    if options.recipe_file is not None:  # which nothing but another recipe changes
        found = [a if "recipe" in a.fields else BEST.along(a) for a in found]
    return tuple({attempt.flags: attempt for attempt in found}.values())


def _as_trained(options: "ExportOptions", better: Mapping[str, Any]) -> Attempt:
    """Return the attempt that prepares pictures as the net's statistics or scores ask for."""
    fields = dict(better)
    if "channel_order" in better and "preprocessing" not in better:
        own = {"mean": options.mean, "std": options.std}  # of the tensor's channels, which turn
        fields |= {name: values[::-1] for name, values in own.items() if values}
    typed = tuple(flags(fields).split())
    if "preprocessing" in better:
        fields |= {"mean": None, "std": None}
    if (options.verify or "").endswith(".npz"):
        fields["verify"] = None  # those samples were prepared in the old way
    return Attempt(typed, fields, "the net was trained on such pictures")


def _half(options: "ExportOptions") -> dict[str, Any]:
    """Return the fields of a file in half precision: nothing that says something of a recipe."""
    known = ((field, option_of(field)) for field in fields(options))
    of_recipes = {field.name: default_of(field) for field, how in known if how and how.recipe}
    return {**of_recipes, "precision": "fp16", "io": None}


def available_samples(calib: str) -> int:
    """Return how many samples a folder or an array file holds; 0 where only running it tells."""
    from edgeconv.arrays import read_arrays
    from edgeconv.pictures import find_pictures

    path = Path(calib)
    if path.is_dir():
        return len(find_pictures(path))
    if path.suffix in (".npz", ".npy") and path.is_file():
        return max((len(array) for array in read_arrays(path).values()), default=0)
    return 0

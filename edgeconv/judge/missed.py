"""A verdict that a manifest keeps, in sentences for a page."""

from collections.abc import Mapping
from typing import Any

from edgeconv.judge.measures import MEASURES, meaning

DOUBTED = "the pictures look wrong"
"""What a warning is about: then file and float model may agree on what neither was made for."""


def verdict_sentence(verified: Mapping[str, Any], *, warned: bool = False) -> str:
    """Return what a manifest's ``verification`` comes to, where there are warnings (``warned``) and where not."""
    if verified["ok"] and warned:
        return f"The file does what the float model does, but {DOUBTED}:"
    if verified["ok"] and verified.get("doubts"):
        return "Nothing was missed, and not all is decided:"
    if verified["ok"]:
        return "The file does what the float model does, within the budget."
    return "The file is not within the budget: do not ship it before you know why."


def missed_sentences(verified: Mapping[str, Any]) -> list[str]:
    """Return which question was missed, and each limit with what its figure is."""
    return [*_blamed(verified), *map(_explained, verified.get("missed", ()))]


def _blamed(verified: Mapping[str, Any]) -> list[str]:
    """Say which of both questions a missed verdict is about."""
    if not verified.get("converted", True):
        return ["It departs from what it was made from: a recipe or a float net that is sound."]
    if not verified.get("good_enough", True):
        return ["It is what it was made from: its precision or its recipe costs the net too much."]
    return []


def _explained(missed: Mapping[str, str]) -> str:
    """Return the sentence of a missed limit with what its figure is."""
    measure = MEASURES.get(missed.get("metric", ""))
    known = measure is not None and measure.name in missed["text"]
    return f"{missed['text']} ({meaning(measure.name)})" if measure and known else missed["text"]

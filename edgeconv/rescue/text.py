"""A rescue on the terminal: a table of attempts, what was noticed, and the one command to take."""

from typing import TYPE_CHECKING

from edgeconv.judge.measures import show
from edgeconv.rescue.attempts import AS_IT_IS
from edgeconv.rescue.results import Rescue, Tried
from edgeconv.tables import Column, print_sentences, print_table

if TYPE_CHECKING:
    from rich.console import Console

HEADS = {
    "top1": "top-1 %",
    "agreement_top1": "agreement %",
    "sqnr_centred_db": "centred dB",
    "sqnr_db": "SQNR dB",
}


def print_rescue(found: Rescue, command: str, console: "Console") -> None:
    """Print every attempt, the front marked, and ``command``."""
    timed = any(tried.latency_ms is not None for tried in found.tried)
    shown = [name for name in HEADS if any(name in tried.figures for tried in found.tried)]
    columns = [
        Column("tried"),
        *(Column(HEADS[name], right=True) for name in shown),
        Column("ms", right=True) if timed else Column("MACs in float %", right=True),
        Column("MB", right=True),
        Column("verdict", named=False),
    ]
    front, taken = {id(tried) for tried in found.front}, found.taken
    lines, styles = [], []
    for tried in found.tried:
        # a file that misses is not worth the few bytes that it saves
        worth = id(tried) in front and (tried.held or tried is taken)
        lines.append(_line(tried, shown, timed, worth=worth))
        styles.append("bold" if tried is taken else "red" if not tried.ran else None)
    print_table(console, columns, lines, styles)
    said = [f"{each.attempt.label}: {each.judged}" for each in found.tried if each.missed]
    said += [f"note: {note}" for note in found.notes]
    if found.left:
        labels = "; ".join(attempt.label for attempt in found.left)
        said.append(f"not tried, the time was up (--minutes): {labels}")
    missed, moved = not found, taken is not None and taken.attempt != AS_IT_IS
    if missed:
        closest = "; the closest:" if moved else ", or comes closer than the file as it is"
        said.append(f"nothing that was tried holds every limit{closest}")
    print_sentences(console, said)
    if moved or not missed:
        console.print(f"take: {command}", markup=False, soft_wrap=True)  # whole, to be copied


def _line(tried: Tried, shown: list[str], timed: bool, *, worth: bool) -> list[str]:
    if not tried.ran:
        return [tried.attempt.label, *("" for _ in shown), "", "", f"failed: {tried.error}"]
    if timed:
        cost = "-" if tried.latency_ms is None else f"{tried.latency_ms:.3g}{_around(tried)}"
    else:
        cost = "-" if tried.float_share is None else f"{100 * tried.float_share:.1f}"
    word = "holds" if tried.held else "MISSED"
    return [
        tried.attempt.label,
        *(_figure(name, tried) for name in shown),
        cost,
        f"{tried.bytes / 1e6:.2f}",
        f"{word}, worth it" if worth and tried.attempt != AS_IT_IS else word,
    ]


def _around(tried: Tried) -> str:
    if tried.interval_ms is None:
        return ""
    return f" [{tried.interval_ms[0]:.3g}, {tried.interval_ms[1]:.3g}]"


def _figure(name: str, tried: Tried) -> str:
    if name not in tried.figures:
        return "-"
    value = tried.figures[name]
    if name == "agreement_top1":
        low, high = tried.figures["agreement_top1_low"], tried.figures["agreement_top1_high"]
        return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}" if name == "top1" else show(name, value)

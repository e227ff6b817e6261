"""Profiles for the terminal: the dearest operators, and layers side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from edgeconv.bench.results import Report
from edgeconv.tables import Column, print_table

SHOWN = 15
OPERATORS = (
    Column("operator"),
    Column("type", named=False),
    *(Column(t, right=True) for t in ("us", "share", "M mul-adds", "KB", "GMAC/s", "of peak")),
)
LAYERS = (
    Column("layer"),
    *(
        Column(t, right=True)
        for t in ("M mul-adds", "us", "reference", "ratio", "of peak", "reference")
    ),
)


def print_profiles(report: Report, console: Console) -> None:
    """Print the dearest operators of each row, and the same layers beside the reference's."""
    for label, profile in report.profile.items():
        console.print()
        if "error" in profile:
            console.print(f"profile  {escape(label)}: {escape(profile['error'])}")
            continue
        console.print(f"[bold]{escape(label)}[/]  {escape(profile['how'])}")
        shown = profile["ops"][:SHOWN]
        names = short_names([op["name"] for op in shown])
        lines = [[name, *_op_cells(op)] for op, name in zip(shown, names, strict=True)]
        print_table(console, OPERATORS, lines)
        if len(profile["ops"]) > SHOWN:
            rest = sum(op["share"] for op in profile["ops"][SHOWN:])
            console.print(f"{len(profile['ops']) - SHOWN} more operators: {100 * rest:.1f} %")
        for sentence in profile["sentences"]:
            console.print(escape(sentence))
        if "pairs" in profile:
            _print_pairs(label, profile["pairs"], console)


def _print_pairs(label: str, pairs: Mapping[str, Any], console: Console) -> None:
    console.print()
    console.print(f"layer by layer  {escape(label)} beside {escape(pairs['reference'])}")
    shown = sorted(pairs["layers"], key=lambda layer: -layer["us"])[:SHOWN]
    names = short_names([one["name"] for one in shown])
    lines = [[name, *pair_cells(layer)] for layer, name in zip(shown, names, strict=True)]
    print_table(console, LAYERS, lines)


def _op_cells(op: Mapping[str, Any]) -> list[str]:
    return [
        op["op"],
        f"{op['us']:.1f}",
        f"{100 * op['share']:.1f} %",
        "" if not op["macs"] else f"{op['macs'] / 1e6:.2f}",
        f"{op['bytes'] / 1e3:.0f}",
        "" if not op["macs"] else f"{op['gmacs_per_s']:.1f}",
        "" if op["of_peak"] is None else f"{100 * op['of_peak']:.0f} %",
    ]


def pair_cells(layer: Mapping[str, Any]) -> list[str]:
    """Return the figures of a pair as text: multiply-adds, both times, their ratio, both shares."""
    ratio = layer["us"] / layer["reference_us"] if layer["reference_us"] else None
    shares = [layer["of_peak"], layer["reference_of_peak"]]
    return [
        f"{layer['macs'] / 1e6:.2f}" if layer["macs"] else "",
        f"{layer['us']:.1f}",
        f"{layer['reference_us']:.1f}",
        "" if ratio is None else f"{ratio:.2f}x",
        *("" if share is None else f"{100 * share:.0f} %" for share in shares),
    ]


def short_names(names: Sequence[str], width: int = 44) -> list[str]:
    """Shorten operators' names to ``width``, less the folder all share; different ones stay different.

    >>> short_names(["/net/b.1/conv/Clip;x", "/net/b.2/conv/Clip", "rest"], 16)
    ['b.1/conv/Clip', 'b.2/conv/Clip', 'rest']
    >>> short_names(["a" * 30 + "z" * 30, "b"], 10)
    ['aaa...zzzz', 'b']
    >>> short_names([f"/features/features.{i}/conv/conv.0.2/Clip_output_0" for i in (1, 2)], 20)
    ['features.1...utput_0', 'features.2...utput_0']
    """
    firsts = [name.partition(";")[0] for name in names]
    paths = [name.split("/")[:-1] for name in firsts if "/" in name]
    shared = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    cut = ["/".join(n.split("/")[shared:]) if "/" in n else n for n in firsts]
    heads = range(1, max(width - 3, 2))
    middle = (width - 3) // 2
    for head in sorted(heads, key=lambda h: abs(h - middle)):  # where the cut hides no difference
        short = [_cut(name, head, width) for name in cut]
        if len(set(short)) == len(set(cut)):
            return short
    return [f"{_cut(name, middle, width)} #{cut.index(name) + 1}" for name in cut]


def _cut(name: str, head: int, width: int) -> str:
    return name if len(name) <= width else f"{name[:head]}...{name[head + 3 - width :]}"

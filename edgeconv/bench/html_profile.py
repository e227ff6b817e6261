"""The page's sections on operators: bars, roofline, and the same layers of two files side by side."""

import html
from collections.abc import Mapping
from typing import Any

from edgeconv.bench.results import Report
from edgeconv.bench.text_profile import pair_cells, short_names
from edgeconv.reports import svg


def text(value: object) -> str:
    """Escape a value for the page."""
    return html.escape(str(value))


def profiles(report: Report) -> list[str]:
    """Return the sections of every profiled row."""
    parts: list[str] = []
    for label, profile in report.profile.items():
        if "error" in profile:
            parts.append(f'<p class="dim">{text(label)}: {text(profile["error"])}</p>')
            continue
        parts += [
            f"<h2>Operators of {text(label)}</h2>",
            f'<p class="dim">{text(profile["how"])}</p>',
        ]
        parts += [f"<p>{text(sentence)}.</p>" for sentence in profile["sentences"]]
        parts += ['<div class="scroll"><table><tr><th>operator</th>'
                  '<th>us</th><th></th><th>M mul-adds</th><th>GMAC/s</th><th>of peak</th></tr>']  # fmt: skip
        widest = profile["ops"][0]["us"] or 1.0 if profile["ops"] else 1.0
        shown = profile["ops"][:40]
        for op, name in zip(shown, short_names([op["name"] for op in shown], 72), strict=True):
            colour = 1 if op["memory_bound"] else 0
            bar = f'<div class="bar c{colour}" style="width:{120 * op["us"] / widest:.0f}px"></div>'
            of_peak = "" if op["of_peak"] is None else f"{100 * op['of_peak']:.0f} %"
            cells = (
                f'{text(name)}<br><span class="dim">{text(op["op"])}</span>',
                f"{op['us']:.1f}",
                bar,
                f"{op['macs'] / 1e6:.2f}" if op["macs"] else "",
                f"{op['gmacs_per_s']:.1f}" if op["macs"] else "",
                of_peak,
            )
            parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        parts += [
            "</table></div>",
            svg.legend(["limited by multiply-adds", "limited by moving data"]),
        ]
        parts += _roofline(profile)
        parts += _pairs(profile)
    return parts


def _pairs(profile: Mapping[str, Any]) -> list[str]:
    """Return the same layers of two files side by side, in the order they run."""
    if "pairs" not in profile:
        return []
    pairs = profile["pairs"]
    titles = ("layer", "M mul-adds", "us", "reference us", "ratio", "of peak", "reference's")
    parts = [
        f"<h3>Layer by layer beside {text(pairs['reference'])}</h3>",
        '<div class="scroll"><table><tr>',
        *(f"<th>{title}</th>" for title in titles),
        "</tr>",
    ]
    layers = pairs["layers"]
    for layer, name in zip(layers, short_names([one["name"] for one in layers], 72), strict=True):
        cells = [text(name), *pair_cells(layer)]
        parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return [*parts, "</table></div>"]


def _roofline(profile: dict[str, object]) -> list[str]:
    ops: list[dict[str, float]] = [op for op in profile["ops"] if op["macs"]]  # type: ignore[attr-defined]
    if not ops:
        return []
    peak: dict[str, object] = profile["peak"]  # type: ignore[assignment]
    speeds: dict[str, float] = peak["gbytes_per_s"]  # type: ignore[assignment]
    limits = [
        v for k in ("float_gmacs_per_s", "int8_gmacs_per_s") if isinstance(v := peak[k], float)
    ]
    slow, fast = min(speeds.values()), max(speeds.values())
    xs = [op["intensity"] for op in ops]
    x = svg.axis_over("multiply-adds a byte", xs, log=True)
    rates = [op["gmacs_per_s"] for op in ops if op["gmacs_per_s"] > 0]
    y = svg.axis_over("GMAC/s", [*rates, *limits], log=True)
    roofs = ""
    for limit in limits:
        for speed in (slow, fast):
            knee = min(max(limit / speed, x.low), x.high)
            start = max(x.low, y.low / speed)
            path_x = [min(start, knee), knee, x.high]
            path_y = [min(limit, speed * v) for v in path_x]
            roofs += svg.polyline(path_x, path_y, x, y, "roof")
    kinds = [("limited by multiply-adds", False), ("limited by moving data", True)]
    series = [
        svg.Series(
            name,
            [
                op["intensity"]
                for op in ops
                if op["memory_bound"] == bound and op["gmacs_per_s"] > 0
            ],
            [
                op["gmacs_per_s"]
                for op in ops
                if op["memory_bound"] == bound and op["gmacs_per_s"] > 0
            ],
        )
        for name, bound in kinds
    ]
    note = "Dashed: measured peaks, float and int8, under main memory's bandwidth and the cache's."
    return [svg.points(series, x, y, "Roofline", roofs), f'<p class="dim">{note}</p>']

"""Put a recipe into words: the worst layers first."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.export.quant.explain_noise import NOISE_ROWS, NOISE_TITLES, noise_cells, noise_rows
from edgeconv.export.quant.judge import decibels
from edgeconv.files import write_text
from edgeconv.recipe import Recipe
from edgeconv.reports import svg
from edgeconv.reports.parts import scaled
from edgeconv.tables import PIPED_WIDTH, Column, table_lines
from edgeconv.templates import render
from edgeconv.terminal import hanging

LAYER_TITLES = ("layer", "clipped", "weight error", "noise dB", "added dB")
RANGE_TITLES = ("tensor", "low", "high", "scale", "zero point")
NOISIEST = 40
"""Layers and tensors that the page draws."""


@dataclass(frozen=True)
class Explanation:
    """What a recipe is and how each layer fares, the one that adds most noise first.

    ``layers`` rows hold name, clip_rate, weight_error (relative RMS), noise and added (both noise to
    signal power; None where the recipe was not made by edgeconv). ``ranges`` rows hold tensor, low,
    high, scale and zero_point. ``noise`` rows hold tensor, share, channels, worst_channel and
    worst_share: of the noise at the outputs that rounding activations makes, what each tensor and its
    worst channel are to blame for, the worst first; none where no map was made.
    """

    name: str
    form: str
    picked: str
    why: tuple[str, ...]
    layers: tuple[Mapping[str, Any], ...]
    ranges: tuple[Mapping[str, Any], ...]
    float_nodes: tuple[str, ...]
    float_outputs: Mapping[str, tuple[str, ...]]
    histograms: Mapping[str, Mapping[str, Any]]
    noise: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}

    def text(self, width: int = PIPED_WIDTH) -> str:
        """Return the tables as text for ``width`` characters: no figure is cut or folded."""
        lines = [f"recipe {self.name} · {self.form} · {self.picked}", *self.why]
        if self.float_nodes:
            lines.append(f"in float: {', '.join(self.float_nodes)}")
        lines += [
            f"float outputs in {target}: {', '.join(names)}"
            for target, names in self.float_outputs.items()
            if names
        ]
        folded = [part for line in lines for part in hanging(line, width, apart=False)]
        layers = [_layer_cells(row) for row in self.layers]
        ranges = [_range_cells(row) for row in self.ranges]
        tables = [(LAYER_TITLES, layers), (RANGE_TITLES, ranges)]
        if self.noise:
            tables.insert(0, (NOISE_TITLES, noise_cells(self.noise)[:NOISE_ROWS]))
        for titles, rows in tables:
            columns = [Column(title, right=place > 0) for place, title in enumerate(titles)]
            folded += ["", *(line for block in table_lines(columns, rows, width) for line in block)]
        return "\n".join(folded)


def _layer_cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["name"]),
        f"{row['clip_rate']:.3%}",
        f"{row['weight_error']:.4%}",
        _decibel(row["noise"]),
        _decibel(row["added"]),
    ]


def _range_cells(row: Mapping[str, Any]) -> list[str]:
    figures = (f"{row[key]:.4g}" for key in ("low", "high", "scale"))
    return [str(row["tensor"]), *figures, f"{row['zero_point']:d}"]


def _decibel(share: float | None) -> str:
    return "-" if not share else f"{10 * np.log10(float(share)):.1f}"


def explain(recipe: Recipe) -> Explanation:
    """Return the explanation of a recipe; figures that it does not carry are left at zero."""
    noted: Mapping[str, Mapping[str, float]] = recipe.notes.get("layers", {})
    empty = {"clip_rate": 0.0, "weight_error": 0.0, "noise": None, "added": None}
    layers: list[dict[str, Any]] = [
        {"name": name, **empty, **noted.get(name, empty)} for name in recipe.weights
    ]
    layers.sort(key=lambda row: float(row["added"] or 0.0), reverse=True)
    why = [str(recipe.notes[key]) for key in ("why", "form", "training") if key in recipe.notes]
    if "copies" in recipe.notes:
        why.append(str(recipe.notes["copies"]["said"]))
    for row in recipe.notes.get("candidates", []):
        points = "" if row.get("agreement") is None else f" · agreement {row['agreement']:.1f} %"
        decides = (
            "" if "noise" not in row else f"typically {-decibels(row['noise'], 1.0):.1f} dB · "
        )
        why.append(
            f"  {row['candidate']} ({row['form']}): {decides}loss {row['loss']:.5f} · "
            f"{row['sqnr_db']:.1f} dB{points}"
        )
    ranges = [
        {"tensor": t, "low": a.low, "high": a.high, "scale": a.scale, "zero_point": a.zero_point}
        for t, a in recipe.activations.items()
    ]
    return Explanation(
        recipe.name,
        recipe.form,
        str(recipe.notes.get("picked", "")),
        tuple(why),
        tuple(layers),
        tuple(ranges),
        recipe.float_nodes,
        recipe.float_outputs,
        recipe.notes.get("histograms", {}),
        tuple(noise_rows(recipe.notes)),
    )


def write_page(found: Explanation, path: Path) -> None:
    """Write one HTML page: bars of the noise that layers add, then both tables; no scripts.

    Raises MissingDependencyError without jinja2.
    """
    noisy = [(str(row["name"]), float(row["added"])) for row in found.layers if row["added"]]
    notes = [f"In float: {', '.join(found.float_nodes)}."] if found.float_nodes else []
    notes += [
        f"Float outputs in {target}: {', '.join(names)}."
        for target, names in found.float_outputs.items()
        if names
    ]
    page = render(
        "pages",
        "recipe.html.jinja",
        title=f"recipe {found.name} · edgeconv",
        name=found.name,
        form=found.form,
        picked=found.picked,
        why=found.why,
        notes=notes,
        noise=scaled([(name, added, f"{_decibel(added)} dB") for name, added in noisy[:NOISIEST]]),
        spread=_spread(found),
        tables=[
            *(
                [("Where the noise comes from", NOISE_TITLES, noise_cells(found.noise))]
                if found.noise
                else []
            ),
            ("Layers", LAYER_TITLES, [_layer_cells(row) for row in found.layers]),
            ("Ranges", RANGE_TITLES, [_range_cells(row) for row in found.ranges]),
        ],
    )
    write_text(path, page)


def _spread(found: Explanation) -> list[tuple[str, str, str]]:
    """Return (tensor, what of it is outside its range, chart), those that are clipped most first."""
    drawn = []
    for row in found.ranges:
        known = found.histograms.get(row["tensor"])
        if known is None:
            continue
        counts, low, high = known["counts"], float(known["low"]), float(known["high"])
        edges = np.linspace(low, high, len(counts) + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        outside = (middles < row["low"]) | (middles > row["high"])
        share = float(np.asarray(counts)[outside].sum()) / max(sum(counts), 1)
        title = f"Values of {row['tensor']}, its range between the dashed lines"
        marks = (row["low"], row["high"])
        chart = svg.histogram(counts, svg.Axis("", low, high), marks, title)
        drawn.append((share, str(row["tensor"]), chart))
    drawn.sort(key=lambda item: -item[0])
    return [(name, f"{share:.1%} outside", chart) for share, name, chart in drawn[:NOISIEST]]


def schema() -> str:
    """Return the JSON schema of a recipe file, as text."""
    numbers = {"type": "array", "items": {"type": "number"}}
    integers = {"type": "array", "items": {"type": "integer"}}
    activation = {
        "type": "object",
        "description": "real = scale * (q - zero_point), q int8",
        "required": ["scale", "zero_point", "low", "high", "fixed"],
        "properties": {
            "scale": {"type": "number", "exclusiveMinimum": 0},
            "zero_point": {"type": "integer", "minimum": -128, "maximum": 127},
            "low": {"type": "number"},
            "high": {"type": "number"},
            "fixed": {"type": "boolean"},
            "final": {"type": "boolean", "description": "nothing computes with its integers"},
        },
    }
    weights = {
        "type": "object",
        "required": ["shape", "axis", "scales", "float_bias", "bias", "values_base64"],
        "properties": {
            "shape": integers,
            "axis": {"type": "integer", "description": "output channels in shape"},
            "scales": numbers,
            "float_bias": numbers,
            "bias": {**integers, "description": "int32 at input scale * scales"},
            "values_base64": {"type": "string", "description": "int8, C order"},
        },
    }
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edgeconv INT8 recipe",
        "type": "object",
        "required": ["edgeconv_recipe", "name", "form", "activations", "weights", "float_nodes"],
        "properties": {
            "edgeconv_recipe": {"const": 1},
            "name": {"type": "string"},
            "form": {"enum": ["zero-point-free", "asymmetric"]},
            "activations": {"type": "object", "additionalProperties": activation},
            "weights": {"type": "object", "additionalProperties": weights},
            "float_nodes": {"type": "array", "items": {"type": "string"}},
            "float_outputs": {
                "type": "object",
                "description": "target -> outputs that are float where the borders are",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
            "copies": {
                "type": "object",
                "description": "how often each channel of a tensor is made",
                "additionalProperties": integers,
            },
            "equalized": {
                "type": "object",
                "description": "factors that equalisation gave a tensor's channels",
                "additionalProperties": numbers,
            },
            "free_bias": {
                "type": "object",
                "description": "float_bias of nodes in a file without zero points, where it differs",
                "additionalProperties": numbers,
            },
            "free_zero_points": {
                "type": "array",
                "description": "tensors that keep a zero point in a file without",
                "items": {"type": "string"},
            },
            "notes": {"type": "object"},
        },
    }
    return json.dumps(whole, indent=1) + "\n"

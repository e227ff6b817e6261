"""Budgets: how much of which figure is allowed, as data.

A budget file is TOML or JSON, one table for each kind of comparison, each key one of the figures of
measures.py with its limit (at most where low is better, at least where high is better)::

    [int8]
    agreement_top1 = 0.97
    sqnr_db = 15.0

    [int8.outputs.logits]     # for one output only, on top of the above
    kl = 0.02

A table replaces the default of its kind; ``extend = true`` in it adds to the default instead.
"""

import difflib
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import read_text
from edgeconv.judge.measures import MEASURES
from edgeconv.runtimes.table import RUNTIMES

Limits = Mapping[str, float]


@dataclass(frozen=True)
class Budget:
    """Limits for every output, and further ones by output name, which win.

    ``asked`` names the figures that a person set limits on: one that nothing measures is missed.
    ``open`` says which question the limits leave open. ``doubtful`` maps a figure to the upper end of
    its interval: few samples that miss its limit within that leave it open too.
    """

    limits: Limits
    outputs: Mapping[str, Limits] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    open: str = ""
    doubtful: Mapping[str, str] = field(default_factory=dict)

    def asks(self, figures: Collection[str], output: str) -> bool:
        """Whether a person set a limit on one of ``figures``, of every output or of this one."""
        return not {*self.asked, *self.outputs.get(output, {})}.isdisjoint(figures)

    def of(self, output: str, part: str = "") -> dict[str, float]:
        """Return the limits that hold for ``output``, or for a ``part`` of it."""
        own = self.outputs.get(f"{output}, {part}", {}) if part else {}
        return {**self.limits, **self.outputs.get(output, {}), **own}


FLOATS: Limits = {
    "float_error": 1e-4,
    "flips_beyond": 0,
    "sqnr_centred_db": 12.0,
    "differs_low": 0.01,
    "lost_labels": 0,
    "lost_float_bits": 1.0,
}
"""What sums of floats in another order may do."""

DEFAULTS: dict[str, Budget] = {
    "fp32": Budget(FLOATS),
    "fp16": Budget(
        {
            "half_error": 0.03,
            "half_sqnr_db": 30.0,
            "flips_beyond_low": 0.01,
            "sqnr_centred_db": 12.0,
            "differs_low": 0.02,
            "lost_labels": 0,
            "lost_float_bits": 1.0,
        }
    ),
    "int8": Budget(
        {
            "below_floor_db": 8.0,
            "beyond_promise_db": 5.0,
            "worst_row_beyond_db": 12.0,
            "worst_sample_beyond_db": 8.0,
            "odd_place_beyond_db": 6.0,
            "lost_bits": 1.0,
            "flips_beyond_low": 0.01,
            "sqnr_db": 10.0,
            "sqnr_centred_db": 12.0,
            "lost_channels": 0,
            "dead_places": 0,
            "lost_classes": 0,
            "agreement_top1_high": 0.95,
            "agreement_rare_high": 0.9,
            "equal_high": 0.9,
            "turned_beyond_low": 0.01,
            "turned_row_low": 0.02,
            "lost_labels": 0,
            "lost_samples_low": 0.01,
            "mcnemar_p": 0.01,
            "boxes_kept_high": 0.5,
        },
        doubtful={
            "sqnr_centred_db": "sqnr_centred_high_db",
            "agreement_top1_high": "agreement_top1_high",
            "equal_high": "equal_high",
        },
    ),
    "lowered": Budget(FLOATS),
    "kernels": Budget({"sqnr_db": 18.0, "flips_beyond_low": 0.01, "differs_low": 0.15}),
}
"""By kind of comparison: fp32, fp16 and int8 against float; lowered: the graph prepared for
INT8, with the border that it moves; kernels: two runtimes of the same integers."""

HALVES = frozenset(["half_sqnr_db", "half_error", "lost_float_bits"])
"""What a file in half precision is held to as far as the net itself keeps it (export/half_promise.py)."""

RANDOM = {
    **DEFAULTS,
    "int8": Budget(
        {
            "below_floor_db": 8.0,
            "beyond_promise_db": 5.0,
            "lost_bits": 1.0,
            "sqnr_db": 10.0,
            "turned_beyond_low": 0.01,
        },
        open="random weights have no task, so whether the recipe is good enough is not asked",
    ),
}
"""Those of a net with random weights."""


def defaults_for(weights: object) -> Mapping[str, Budget]:
    """Return the default budgets for a net whose weights come from ``weights`` (the manifest's word)."""
    return RANDOM if weights == "random" else DEFAULTS


EXACT: Limits = {"below_floor_db": 4.0, "beyond_promise_db": 2.5}
"""What an INT8 file is held to in a runtime that no processor's kernels are in. Chosen on 14 nets (0.2 and 0.0 dB at most),
tested on 15 others (1.0 and 0.0)."""


ONCE: Limits = {"below_floor_low_db": 2.0, "shift_to_floor": 0.7}
"""What an INT8 file is held to besides where kernels round once (runtimes/table.py): there a sound file's noise is its
recipe's, and what is alike in all samples is no rounding. See docs/parity.md."""


def held_in(budget: Budget, runtime: object, variant: str = "") -> Budget:
    """Return a default budget as it holds in a ``variant`` of ``runtime``, by name; "" is the first one."""
    row = RUNTIMES.get(str(runtime))
    if row is None or "below_floor_db" not in budget.limits:
        return budget
    limits = {**budget.limits, **(EXACT if row.exact else {})}
    return replace(budget, limits={**limits, **(ONCE if row.once and not variant else {})})


def load_budgets(path: Path | None) -> dict[str, Budget]:
    """Return the default budgets, overlaid with the file's where one is given.

    Raises UsageError for an unknown kind or figure (with the nearest names), EdgeconvError for a
    file that cannot be read.
    """
    budgets = dict(DEFAULTS)
    if path is None:
        return budgets
    for kind, table in read_data(path).items():
        if kind not in DEFAULTS or not isinstance(table, dict):
            raise UsageError(f"{path}: {kind} is no kind of budget: {', '.join(DEFAULTS)}")
        budgets[kind] = parse_budget(table, f"{path}: {kind}", DEFAULTS[kind])
    return budgets


def read_data(path: Path) -> dict[str, Any]:
    """Read a .toml or .json file into a table."""
    try:
        text = read_text(path)
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except OSError as error:
        raise EdgeconvError(f"cannot read {path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise EdgeconvError(f"{path} is nested too deeply") from error
    except ValueError as error:
        raise EdgeconvError(f"{path} is neither TOML nor JSON: {error}") from error
    if not isinstance(data, dict):
        raise EdgeconvError(f"{path} holds no table")
    return data


def parse_budget(table: Mapping[str, Any], where: str, default: Budget) -> Budget:
    """Check one table of limits; ``where`` starts the error messages."""
    table = dict(table)
    outputs = table.pop("outputs", {})
    extend = table.pop("extend", False)
    if not isinstance(outputs, dict):
        raise UsageError(f"{where}.outputs is no table of outputs")
    limits = _limits(table, where)
    asked = frozenset(limits)
    if extend:
        limits = {**default.limits, **limits}
    named = {name: _limits(item, f"{where}.outputs.{name}") for name, item in outputs.items()}
    return Budget(limits, named, asked)


def _limits(table: object, where: str) -> dict[str, float]:
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} is no table of limits")
    limits = {}
    for name, limit in table.items():
        measure = MEASURES.get(name)
        if measure is None or measure.better == "info":
            near = difflib.get_close_matches(name, list(MEASURES), 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"{where} sets {name}, which no budget knows{hint}")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or abs(limit) > 1e300:
            raise UsageError(f"{where}.{name} is {str(limit)[:40]!r}, not a number")
        if limit > measure.most:
            raise UsageError(
                f"{where}.{name} is {limit:g}, and a share is at most 1: {limit:g} % is {limit / 100:g}"
            )
        limits[name] = float(limit)
    return limits

"""Training that must prove itself: held-out pictures say whether its integers are better than they were."""

from dataclasses import replace
from time import monotonic

from edgeconv.export.quant.judge import WORTH_DB, decibels, run_recipe, score
from edgeconv.export.quant.observe import Progress
from edgeconv.export.quant.task import Quantized, Task
from edgeconv.export.twin.distil import distil
from edgeconv.export.twin.net import why_not

PACES = (1.0, 0.1)
"""Factors on the rates, the next one where it came apart: a net of little noise wants small steps."""


def train(
    made: Quantized, task: Task, minutes: float, accelerator: str, progress: Progress
) -> Quantized:
    """Return ``made`` trained for ``minutes`` at most, or itself; its notes say which and why.

    It learns from the pictures that layers were fitted on; those held out compare what both files
    really give.
    """
    held = task.pictures[task.learnt :]
    if not held:
        return _said(made, "not trained: too few pictures to hold a fifth back")
    if (reason := why_not(made.graph)) is not None:
        return _said(made, f"not trained: {reason}")
    begin = monotonic()
    for pace in PACES:
        done = distil(
            made.graph,
            made.recipe,
            task.pictures[: task.learnt],
            minutes=minutes - (monotonic() - begin) / 60,
            limit=task.limit,
            threads=task.threads,
            accelerator=accelerator,
            pace=pace,
            progress=progress,
        )
        if not done.lost:
            break
    if done.lost:
        return _said(made, f"not trained: it came apart after {done.steps} steps")
    wanted = {n: v[task.learnt : len(task.pictures)] for n, v in task.seen.outputs.items()}
    before, after = (
        score(made.graph, wanted, run_recipe(made.graph, recipe, held, task.threads)).noise
        for recipe in (made.recipe, done.recipe)
    )
    gain = decibels(before, after)
    how = f"{done.steps} steps" + ("" if done.in_time else ", as many as the minutes allow")
    if gain <= WORTH_DB:
        return _said(
            made, f"training brought nothing on {len(held)} pictures it had not seen ({how})"
        )
    said = f"trained: {gain:.1f} dB less noise on {len(held)} pictures it had not seen ({how})"
    return _said(Quantized(made.graph, done.recipe), said)


def _said(made: Quantized, text: str) -> Quantized:
    notes = {**made.recipe.notes, "training": text}
    return replace(made, recipe=replace(made.recipe, notes=notes))

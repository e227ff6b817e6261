"""What a fitted recipe still gets: copies of its noisy channels, and the map of the noise that is left."""

from dataclasses import replace

from edgeconv.export.quant.copies import copied, plan
from edgeconv.export.quant.judge import WORTH_DB, decibels, run_recipe, score
from edgeconv.export.quant.noise import backward_map, noise_notes, noise_shares
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.task import Quantized, Task

MOST_COMPARED = 32
"""Pictures that say whether copies pay."""


def with_copies(made: Quantized, seen: Observation, task: Task, share: float) -> Quantized:
    """Copy noisy channels for ``share`` of the multiply-adds where pictures say that it pays.

    ``seen`` is what the float net did in the graph of ``made``.
    """
    shares = noise_shares(
        made.graph, made.recipe, seen, task.pictures, task.seen.outputs, task.threads
    )
    chosen = plan(made.graph, made.recipe, shares, share)
    if not chosen:
        return made
    graph, recipe = copied(made.graph, made.recipe, chosen)
    place = max(0, min(task.learnt - 1, len(task.pictures) - MOST_COMPARED))
    pictures = task.pictures[place:]
    wanted = {n: v[place : len(task.pictures)] for n, v in task.seen.outputs.items()}
    before, after = (
        score(g, wanted, run_recipe(g, r, pictures, task.threads)).noise
        for g, r in ((made.graph, made.recipe), (graph, recipe))
    )
    gain = decibels(before, after)
    if gain <= WORTH_DB:
        return made
    count = sum(sum(each) - len(each) for each in chosen.values())
    said = f"{count} copies of noisy channels, {gain:.1f} dB less noise"
    notes = {**recipe.notes, "copies": {"count": count, "gain_db": gain, "said": said}}
    return Quantized(graph, replace(recipe, notes=notes))


def mapped(made: Quantized, task: Task) -> Quantized:
    """Note where the noise of a finished recipe comes from, where PyTorch can say it."""
    shares = backward_map(made.graph, made.recipe, task.pictures)
    if not shares:
        return made
    notes = {**made.recipe.notes, "noise": noise_notes(shares)}
    return replace(made, recipe=replace(made.recipe, notes=notes))

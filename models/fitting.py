"""Fit a checkpoint's tensors to a net: by a known layout's names, else by order and shape."""

from collections.abc import Mapping

import torch
from torch import Tensor

from edgeconv.errors import EdgeconvError
from edgeconv.models.checkpoint import Checkpoint
from edgeconv.models.key_layouts import Layout, Shapes, layouts
from edgeconv.models.layer_order import Mismatch, fits, match_by_order, natural
from edgeconv.models.specs import Value


def match_layers(
    net: str, options: Mapping[str, Value], ours: Shapes, theirs: Shapes, checkpoint: Checkpoint
) -> tuple[Layout | None, dict[str, str]]:
    """Return the layout (None: by order) and our layer -> their layer.

    Raises EdgeconvError naming the first tensor that does not fit, with both shapes.
    """
    known = layouts(net)
    hits = [sum(layout.source(prefix) in theirs for prefix in ours) for layout in known]
    best = max(range(len(known)), key=hits.__getitem__)
    if 2 * hits[best] > len(ours):
        layout: Layout | None = known[best]
        found = _match_by_name(ours, theirs, known[best])
    else:
        layout = None
        names = list(theirs) if checkpoint.ordered else sorted(theirs, key=natural)
        found = match_by_order(ours, {name: theirs[name] for name in names})
    if isinstance(found, Mismatch):
        raise EdgeconvError(_explain(net, options, ours, theirs, checkpoint, found))
    return layout, found


def _match_by_name(ours: Shapes, theirs: Shapes, layout: Layout) -> dict[str, str] | Mismatch:
    table: dict[str, str] = {}
    head = list(ours)[-1]
    for prefix, shapes in ours.items():
        source = layout.source(prefix)
        wanted = {k: v for k, v in shapes.items() if f"{prefix}.{k}" not in layout.missing}
        if source not in theirs or not fits(wanted, theirs[source], prefix == head):
            return Mismatch(prefix, source if source in theirs else None)
        table[prefix] = source
    extra = next((name for name in theirs if name not in table.values()), None)
    return table if extra is None else Mismatch(None, extra)


def rename(
    ours: Shapes, table: Mapping[str, str], layout: Layout | None, checkpoint: Checkpoint
) -> dict[str, Tensor]:
    """Return the checkpoint's tensors by our keys, in our order and shapes."""
    state: dict[str, Tensor] = {}
    classes = len(checkpoint.tensors[f"{table[list(ours)[-1]]}.weight"])
    for prefix, shapes in ours.items():
        for name, shape in shapes.items():
            key = f"{prefix}.{name}"
            if layout is not None and key in layout.missing:
                state[key] = torch.zeros(classes)
                continue
            value = checkpoint.tensors[f"{table[prefix]}.{name}"]
            state[key] = value.reshape(len(value), *shape[1:]).contiguous()
    return state


def _explain(
    net: str,
    options: Mapping[str, Value],
    ours: Shapes,
    theirs: Shapes,
    checkpoint: Checkpoint,
    wrong: Mismatch,
) -> str:
    """Say which tensor does not fit, with both shapes."""
    title = f"{net} " + ", ".join(f"{name} {value}" for name, value in options.items())
    if wrong.ours is None or wrong.theirs is None:
        name, where, lacking = (
            (wrong.theirs, checkpoint.path, title)
            if wrong.ours is None
            else (wrong.ours, title, checkpoint.path)
        )
        shapes = (theirs if wrong.ours is None else ours)[str(name)]
        tensor, shape = next(iter(shapes.items()))
        return (
            f"{checkpoint.path} does not fit {title}: tensor {_dotted(name, tensor)} "
            f"({_text(shape)}) of {where} is not in {lacking}"
        )
    mine, other = ours[wrong.ours], theirs[wrong.theirs]
    names = sorted({*mine, *other}, key=lambda name: (name not in mine, name))
    tensor = next((n for n in names if mine.get(n) != other.get(n)), names[0])
    return (
        f"{checkpoint.path} does not fit {title}: tensor {_dotted(wrong.theirs, tensor)} is "
        f"{_text(other.get(tensor))} in the file, {_dotted(wrong.ours, tensor)} is "
        f"{_text(mine.get(tensor))} in the net"
    )


def _dotted(prefix: str | None, tensor: str) -> str:
    return f"{prefix}.{tensor}" if prefix else tensor


def _text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else "x".join(map(str, shape)) or "a scalar"

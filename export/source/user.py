"""A user's module: live, from a file or a package, a saved program."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source, refuse_net_options
from edgeconv.export.source.freeze import frozen_value, plain, told
from edgeconv.export.source.preprocessing import input_size, picture_preprocessing
from edgeconv.preprocessing import ASSUMED, who_says

if TYPE_CHECKING:
    import torch

    from edgeconv.models.user_net import UserNet

DEFAULT_SIZE = 224


def from_user(options: ExportOptions) -> Source:
    """Open the module that ``options.net`` is or names, merged where it was made to be merged."""
    require("torch", "torch")
    from edgeconv.models.script_trial import refuse_endless
    from edgeconv.models.user_net import open_user_net

    net = open_user_net(options.net)
    name, module, names = net.name, net.module, list(net.inputs)
    refuse_net_options(options, name)
    notes = ["the module's weights became float32"] if net.rewidened else []
    weights: dict[str, Any] = {"source": "factory"}
    if options.weights is not None:
        from edgeconv.export.user_weights import fit_module

        matched, digest = fit_module(module, Path(options.weights))
        weights = {"source": "file", "sha256": digest, "matched": matched}
    kind = type(module).__name__
    frozen = _frozen_arguments(options, net)
    if frozen:
        from edgeconv.models.frozen import freeze

        module, names = freeze(module, names, frozen)
        notes += told(frozen)
    size = input_size(options, (DEFAULT_SIZE, DEFAULT_SIZE))
    open_shapes = tuple(shape for n, shape in net.shapes.items() if n not in frozen)
    own = open_shapes or (((1, 3, *size),) if len(names) <= 1 else ())
    given = options.shapes_given() or own
    if net.open_batch and not options.shapes_given():
        notes.append(f"the dynamic batch of {', '.join(names)} became 1")
    if len(names) == 0:
        named = options.input_shapes
        usual = ["input", *(f"input_{i}" for i in range(1, len(given)))]
        names = list(named) if isinstance(named, Mapping) else usual
    if len(given) != len(names):
        raise UsageError(
            f"{name} takes {len(names)} inputs ({', '.join(names)}): give --input-shape once for "
            f"each, in this order; {len(given)} given"
        )
    shapes = options.named_shapes(names) or dict(zip(names, given, strict=True))
    shapes = {n: shapes[n] for n in names}
    kinds = {n: k for n, k in {**net.dtypes, **options.input_types}.items() if n not in frozen}
    dtypes = {n: kind for n, kind in kinds.items() if kind != "float32"}
    if "float16" in dtypes.values():
        dtypes = {n: kind for n, kind in dtypes.items() if kind != "float16"}
        notes.append("float16 inputs became float32")
    if net.loops:
        asked = [(shapes[n], dtypes.get(n, "float32")) for n in names]
        refuse_endless(Path(net.name), asked, names, frozen)
    if not dtypes and not frozen:
        from edgeconv.models.reparametrize import reparametrize

        merged = reparametrize(module, shapes)
        module = merged.module
        notes += [] if merged.note is None else [merged.note]
    assumed = ""
    if not options.shapes_given() and not open_shapes and options.resolution is None:
        said = ", ".join("x".join(map(str, shape)) for shape in given)
        assumed = f" · {said} ASSUMED, say --resolution or --input-shape" if said else ""
    return Source(
        assumed=assumed,
        title=kind if name == kind else f"{kind} from {name}",
        stem=net.stem,
        module=module,
        model=None,
        shapes=shapes,
        output_names=None,
        preprocessing=picture_preprocessing(options, shapes, dtypes),
        origin=who_says(options, ASSUMED),
        labels=None,
        net={"source": name, "class": kind},
        weights=weights,
        dtypes=dtypes,
        limits=dict.fromkeys(dtypes, _embedding_rows(module)),
        frozen={n: plain(np.asarray(value)) for n, value in frozen.items()},
        notes=tuple(notes),
    )


def _frozen_arguments(options: ExportOptions, net: "UserNet") -> dict[str, Any]:
    """Return the arguments to fix: tensors where shape or type are known, numbers as Python passes them else."""
    import torch

    named = options.input_shapes if isinstance(options.input_shapes, Mapping) else {}
    shapes, kinds = {**net.shapes, **named}, {**net.dtypes, **options.input_types}
    found: dict[str, Any] = {}
    for name, given in options.freeze_inputs.items():
        known = name in shapes or name in kinds
        dtype = np.dtype(kinds.get(name, "float32")) if known else None
        value = frozen_value(name, given, shapes.get(name), dtype)
        found[name] = torch.from_numpy(value) if known or value.ndim else value.item()
    return found


def _embedding_rows(module: "torch.nn.Module") -> int:
    """Return how many values an index may have: the rows of the smallest embedding, else 2."""
    rows = (getattr(part, "num_embeddings", None) for part in module.modules())
    return min((count for count in rows if isinstance(count, int)), default=2)

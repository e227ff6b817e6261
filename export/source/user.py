"""A user's module: live, from a file or a package, a saved program."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source, refuse_net_options
from edgeconv.export.source.preprocessing import input_size, picture_preprocessing
from edgeconv.preprocessing import ASSUMED, who_says

if TYPE_CHECKING:
    import torch

DEFAULT_SIZE = 224


def from_user(options: ExportOptions) -> Source:
    """Open the module that ``options.net`` is or names, merged where it was made to be merged."""
    require("torch", "torch")
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
    size = input_size(options, (DEFAULT_SIZE, DEFAULT_SIZE))
    own = tuple(net.shapes.values()) or (((1, 3, *size),) if len(names) <= 1 else ())
    given = options.shapes_given() or own
    if len(names) == 0:
        told = options.input_shapes
        plain = ["input", *(f"input_{i}" for i in range(1, len(given)))]
        names = list(told) if isinstance(told, Mapping) else plain
    if len(given) != len(names):
        raise UsageError(
            f"{name} takes {len(names)} inputs ({', '.join(names)}): give --input-shape once for "
            f"each, in this order; {len(given)} given"
        )
    shapes = options.named_shapes(names) or dict(zip(names, given, strict=True))
    shapes = {n: shapes[n] for n in names}
    kinds = {**net.dtypes, **options.input_types}
    dtypes = {n: kind for n, kind in kinds.items() if kind != "float32"}
    if "float16" in dtypes.values():
        dtypes = {n: kind for n, kind in dtypes.items() if kind != "float16"}
        notes.append("float16 inputs became float32")
    kind = type(module).__name__
    if not dtypes:
        from edgeconv.models.reparametrize import reparametrize

        merged = reparametrize(module, shapes)
        module = merged.module
        notes += [] if merged.note is None else [merged.note]
    return Source(
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
        notes=tuple(notes),
    )


def _embedding_rows(module: "torch.nn.Module") -> int:
    """Return how many values an index may have: the rows of the smallest embedding, else 2."""
    rows = (getattr(part, "num_embeddings", None) for part in module.modules())
    return min((count for count in rows if isinstance(count, int)), default=2)

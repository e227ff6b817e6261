"""One of our nets, with bundled, downloaded, random or the user's weights."""

from collections.abc import Mapping

from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source, net_options
from edgeconv.export.source.preprocessing import as_asked, input_size
from edgeconv.models.specs import NetSpec, Value, find_spec, resolve_options
from edgeconv.preprocessing import ASSUMED, OWN, who_says


def from_zoo(options: ExportOptions) -> Source:
    """Build the net that ``options.net`` names with its weights."""
    spec = find_spec(options.named)
    require("torch", "torch")
    from edgeconv.models.weights import load_weights

    loaded = load_weights(
        options.named,
        net_options(options),
        options.weights or "bundled",
        classes=options.classes,
        seed=options.seed,
    )
    size = input_size(options, loaded.preprocessing.size)
    chosen = as_asked(options, loaded.preprocessing, size)
    height, width = size
    notes = []
    if options.weights is None:
        notes.append(
            "bundled weights (trained by edgeconv on Fashion-MNIST); for real ones: "
            "--weights imagenet or --weights FILE"
        )
    if note := loaded.resolution_note(height):
        notes.append(note)
    accuracy = loaded.accuracy
    told = loaded.matched.startswith(loaded.source)  # bundled and random weights say so themselves
    weights = loaded.matched if told else f"{loaded.source} ({loaded.matched})"
    return Source(
        title=f"{spec.title} {float(loaded.options['width']):g} · {height}x{width} · "
        f"{loaded.classes} classes · {weights}",
        stem=_stem(spec, loaded.options, size),
        module=loaded.build(),
        model=None,
        shapes={"input": _batch(options, (1, 3, height, width))},
        output_names=("logits",),
        preprocessing=chosen,
        origin=who_says(options, ASSUMED if loaded.assumed else OWN),
        labels=None if loaded.labels is None else list(loaded.labels),
        net={"source": options.named, "classes": loaded.classes, **loaded.options},
        weights={
            "source": loaded.source
            if loaded.source in {"bundled", "imagenet", "random"}
            else "file",
            "sha256": loaded.sha256,
            "matched": loaded.matched,
            "accuracy": None
            if accuracy is None
            else {"top1": accuracy.top1, "dataset": accuracy.dataset, "source": accuracy.source},
        },
        bundled=loaded.source == "bundled",
        notes=tuple(notes),
    )


def stem_ahead(options: ExportOptions) -> str | None:
    """Return how the files of one of our nets begin; None where only its weights say its size."""
    from edgeconv.models.bundle import find_bundled

    spec = find_spec(options.named)
    if options.weights in (None, "bundled"):
        own = find_bundled(spec.name).resolution
    elif options.weights == "random":
        own = spec.resolution
    else:
        return None
    return _stem(
        spec, resolve_options(spec.name, net_options(options)), input_size(options, (own, own))
    )


def _stem(spec: NetSpec, chosen: Mapping[str, Value], size: tuple[int, int]) -> str:
    parts = [spec.name]
    if "groups" in chosen:
        parts.append(f"g{chosen['groups']}")
    for key, mark in (("ratio", "s"), ("activation", "")):
        if key in chosen and chosen[key] != spec.defaults()[key]:
            parts.append(f"{mark}{chosen[key]}")
    parts.append(f"{float(chosen['width']):g}" if chosen["width"] != 1.0 else "1.0")
    height, width = size
    parts.append(str(height) if height == width else f"{height}x{width}")
    return "_".join(parts)


def _batch(options: ExportOptions, shape: tuple[int, ...]) -> tuple[int, ...]:
    shapes = options.named_shapes(["input"])
    if not shapes:
        return shape
    given = shapes["input"]
    if len(given) != 4 or given[1] != shape[1]:
        raise UsageError(
            f"{options.named} takes one input N,3,H,W, not --input-shape {','.join(map(str, given))}"
        )
    return given

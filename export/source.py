"""NET_OR_FILE to something that can be traced or read: one of ours, a user's module, an .onnx file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.artifact import Preprocessing, preprocessing_from_json
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.files import sha256
from edgeconv.manifest_schema import DESCRIPTION
from edgeconv.preprocessing import ASSUMED, NAMED, scaling
from edgeconv.schema import checked

if TYPE_CHECKING:
    import onnx
    import torch

DEFAULT_SIZE = 224
IMAGENET_CROP = 0.875


@dataclass(frozen=True)
class Source:
    """What is exported. Exactly one of ``module`` and ``model`` is set.

    ``stem`` begins the files' names; ``shapes`` are the inputs' by name; ``preprocessing`` is None for
    a net that takes no picture, ``origin`` says who says so and ``better`` names one that fits the net's statistics better. ``net`` and ``weights`` go into the manifest. ``bundled``: the weights
    are ours, so are the calibration pictures. ``dtypes`` are numpy's names for inputs that are not
    float32; ``limits``: integers of an input stay below this (rows of the table it looks up).
    """

    title: str
    stem: str
    module: "torch.nn.Module | None"
    model: "onnx.ModelProto | None"
    shapes: Mapping[str, tuple[int, ...]]
    output_names: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    labels: list[str] | None
    net: Mapping[str, Any]
    weights: Mapping[str, Any]
    origin: str = "weights"
    better: str | None = None
    bundled: bool = False
    dtypes: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())


def open_source(options: ExportOptions) -> Source:
    """Find what ``options.net`` names; raises UsageError or EdgeconvError saying what is wrong."""
    name = options.net
    if not isinstance(name, str):
        return _from_user(options)
    if name.endswith(".onnx"):
        return _from_onnx(Path(name), options)
    if ":" in name or Path(name).suffix in {".pt2", ".pt", ".pth", ".ts"}:
        require("torch", "torch")
        from edgeconv.models.user_net import is_user_net

        if is_user_net(name):
            return _from_user(options)
    if name.endswith(".py"):
        raise UsageError(f"{name}: say which function makes the net, {name}:factory")
    if Path(name).suffix in {".pt", ".pth", ".safetensors"}:
        raise UsageError(f"{name} holds weights, not a net: edgeconv export NET --weights {name}")
    return _from_zoo(options)


def _net_options(options: ExportOptions) -> dict[str, float | int | str | None]:
    return {
        "width": options.width,
        "groups": options.groups,
        "ratio": options.ratio,
        "activation": options.activation,
    }


def _from_zoo(options: ExportOptions) -> Source:
    from edgeconv.models import find_spec

    spec = find_spec(options.named)
    require("torch", "torch")
    from edgeconv.models.weights import load_weights

    loaded = load_weights(
        options.named,
        _net_options(options),
        options.weights or "bundled",
        classes=options.classes,
        seed=options.seed,
    )
    size = _size(options, loaded.preprocessing.size)
    chosen = _preprocessing(options, loaded.preprocessing, size)
    parts = [options.named]
    if "groups" in loaded.options:
        parts.append(f"g{loaded.options['groups']}")
    for key, mark in (("ratio", "s"), ("activation", "")):
        if key in loaded.options and loaded.options[key] != spec.defaults()[key]:
            parts.append(f"{mark}{loaded.options[key]}")
    parts.append(f"{float(loaded.options['width']):g}" if loaded.options["width"] != 1.0 else "1.0")
    height, width = size
    parts.append(str(height) if height == width else f"{height}x{width}")
    notes = []
    if options.weights is None:
        notes.append(
            "bundled weights (trained by edgeconv on Fashion-MNIST); for real ones: "
            "--weights imagenet or --weights FILE"
        )
    if note := loaded.resolution_note(height):
        notes.append(note)
    accuracy = loaded.accuracy
    return Source(
        title=f"{spec.title} {float(loaded.options['width']):g} · {height}x{width} · "
        f"{loaded.classes} classes · {loaded.source} ({loaded.matched})",
        stem="_".join(parts),
        module=loaded.build(),
        model=None,
        shapes={"input": _batch(options, (1, 3, height, width))},
        output_names=("logits",),
        preprocessing=chosen,
        origin=_origin(options, "the weights' own"),
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


def _from_user(options: ExportOptions) -> Source:
    require("torch", "torch")
    from edgeconv.models.user_net import open_user_net

    net = open_user_net(options.net)
    name, module, names = net.name, net.module, list(net.inputs)
    _refuse_net_options(options, name)
    notes = ["the module's half-precision weights became float32"] if net.halved else []
    weights: dict[str, Any] = {"source": "factory"}
    if options.weights is not None:
        from edgeconv.export.user_weights import fit_module

        matched, digest = fit_module(module, Path(options.weights))
        weights = {"source": "file", "sha256": digest, "matched": matched}
    size = _size(options, (DEFAULT_SIZE, DEFAULT_SIZE))
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
        preprocessing=_picture_preprocessing(options, shapes, dtypes),
        origin=_origin(options, ASSUMED),
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


def _from_onnx(path: Path, options: ExportOptions) -> Source:
    from edgeconv.export.hub.ingest import ingest
    from edgeconv.export.hub.inputs import (
        index_limits,
        input_shapes,
        input_types,
        input_values,
        settle_shapes,
    )
    from edgeconv.export.hub.onnx_io import load_model

    _refuse_net_options(options, str(path))
    if options.weights is not None:
        raise UsageError(f"--weights: {path} holds its own weights")
    loaded = load_model(path)
    title = f"{path.name} · opset {loaded.opset_import[0].version} · {len(loaded.graph.node)} nodes"
    model, notes = ingest(loaded)
    wanted = options.named_shapes([value.name for value in input_values(model)])
    model, assumed = settle_shapes(model, wanted)
    shapes, dtypes = input_shapes(model), input_types(model)
    if options.input_types:
        raise UsageError(
            f"{path} declares the types of its inputs: leave them out of --input-shape"
        )
    described = _description(model, path)
    preprocessing = _picture_preprocessing(options, shapes, dtypes, bool(described))
    if described.get("preprocessing") and preprocessing is not None:
        own = preprocessing_from_json(described["preprocessing"])
        channels = next(iter(shapes.values()))[1]
        preprocessing = _preprocessing(options, own, preprocessing.size, channels)
    return Source(
        title=title,
        stem=path.stem,
        module=None,
        model=model,
        shapes=shapes,
        output_names=None,
        preprocessing=preprocessing,
        origin=_origin(options, "manifest" if described.get("preprocessing") else ASSUMED),
        labels=described.get("labels"),
        net={"source": path.name, "sha256": sha256(path)},
        weights={"source": "file", "sha256": sha256(path)},
        dtypes=dtypes,
        limits=index_limits(model),
        notes=(*notes, *assumed),
    )


def _description(model: "onnx.ModelProto", path: Path) -> dict[str, Any]:
    """Return our own description inside the file, where edgeconv made it."""
    for entry in model.metadata_props:
        if entry.key == "edgeconv":
            try:
                found = json.loads(entry.value)
            except (ValueError, RecursionError):
                return {}
            if not isinstance(found, dict):
                return {}
            source = f"{path}: what edgeconv says of itself in the file"
            described: dict[str, Any] = checked(found, DESCRIPTION, source)
            return described
    return {}


def _refuse_net_options(options: ExportOptions, name: str) -> None:
    for key, value in {**_net_options(options), "classes": options.classes}.items():
        if value is not None:
            raise UsageError(f"--{key} is for the nets that edgeconv builds, not for {name}")


def _size(options: ExportOptions, default: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) from --input-shape, --resolution or the weights' own."""
    given = options.shapes_given()
    if given and len(given[0]) == 4:
        size = given[0][2:]
        if options.resolution is not None and size != (options.resolution, options.resolution):
            raise UsageError("--resolution and --input-shape contradict each other")
        return (size[0], size[1])
    if options.resolution is not None:
        return (options.resolution, options.resolution)
    return default


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


def _picture_preprocessing(
    options: ExportOptions,
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str],
    known: bool = False,
) -> Preprocessing | None:
    """Return ImageNet's, or the user's, where the one input is an NCHW picture of float32.

    One channel may as well be a spectrogram: it is a picture where the user gives pictures or says
    how they are prepared, or where it is ``known``.
    """
    if len(shapes) != 1 or dtypes:
        return None
    shape = next(iter(shapes.values()))
    if len(shape) != 4 or shape[1] not in (1, 3):
        return None
    if shape[1] == 1 and not (known or _speaks_of_pictures(options)):
        return None
    mean, std = NAMED["imagenet"] if shape[1] == 3 else NAMED["symmetric"]
    default = Preprocessing(mean, std, IMAGENET_CROP, (shape[2], shape[3]))
    return _preprocessing(options, default, (shape[2], shape[3]), shape[1])


def _speaks_of_pictures(options: ExportOptions) -> bool:
    said = (
        options.mean
        or options.std
        or options.preprocessing
        or options.embed_preprocessing
        or options.image_input
    )
    sources = [source for source in (options.calib, options.verify) if source is not None]
    return bool(said) or any(Path(source).is_dir() for source in sources)


def _origin(options: ExportOptions, otherwise: str) -> str:
    """Return who says how pictures are prepared: the user, else what ``otherwise`` says."""
    named = options.preprocessing in NAMED
    return "given" if named or (options.mean and options.std) else otherwise


def _preprocessing(
    options: ExportOptions, default: Preprocessing, size: tuple[int, int], channels: int = 3
) -> Preprocessing:
    mean, std = default.mean, default.std
    if options.preprocessing in NAMED:
        mean, std = scaling(options.preprocessing, channels)
    return Preprocessing(
        options.mean or mean,
        options.std or std,
        default.crop if options.crop is None else options.crop,
        size,
        options.embed_preprocessing or options.image_input,
    )


def read_labels(path: Path) -> list[str]:
    """Return the class names of a text file, one a line; raises EdgeconvError where there are none."""
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeconvError(f"--labels {path} cannot be read: {error}") from error
    while names and not names[-1]:
        names.pop()
    if not names:
        raise EdgeconvError(f"--labels {path} holds no name")
    return names

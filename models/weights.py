"""``--weights bundled|imagenet|random|FILE``: find them, fit them to the net, say how they are fed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeconv.artifact import Preprocessing, preprocessing_from_json
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.models import build
from edgeconv.models.bundle import find_bundled
from edgeconv.models.checkpoint import Checkpoint, read_checkpoint
from edgeconv.models.download import PUBLIC, Progress, fetch
from edgeconv.models.fitting import match_layers, rename
from edgeconv.models.key_layouts import group_layers, shuffle_before_depthwise
from edgeconv.models.specs import Accuracy, Value, find_spec, resolve_options
from edgeconv.terminal import counted

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that fit ``build(net, classes=classes, **options)``.

    ``state`` is float32 by our key names. ``options`` are all of the net's, which may differ from
    those asked for where the checkpoint's layout needs it (the official ShuffleNet's channel
    order). ``matched`` says how the names were fitted, ``sha256`` is of the file, or of the
    tensors for random weights. ``accuracy`` holds at ``preprocessing``'s size only. ``assumed``: the file does
    not say how pictures are prepared, and ImageNet's custom is taken.
    """

    net: str
    source: str
    state: dict[str, Tensor]
    options: dict[str, Value]
    classes: int
    sha256: str
    matched: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None = None
    accuracy: Accuracy | None = None
    assumed: bool = False

    def build(self) -> nn.Module:
        """Return the net with these weights, in eval mode."""
        options: dict[str, object] = dict(self.options)
        net = build(self.net, classes=self.classes, **options)  # type: ignore[arg-type] # checked by resolve_options
        net.load_state_dict(self.state, strict=False)  # strict but for the absent counters
        return net.eval()

    def resolution_note(self, resolution: int) -> str | None:
        """Return what to tell a user who asks for another ``resolution``, or None."""
        trained = self.preprocessing.size[0]
        if self.accuracy is None or resolution == trained:
            return None
        return (
            f"these weights were trained at {trained}x{trained}: "
            f"no accuracy is claimed at {resolution}x{resolution}"
        )


def load_weights(
    net: str,
    options: Mapping[str, Value | None],
    source: str,
    *,
    classes: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LoadedWeights:
    """Return weights for ``net`` with ``options`` (None: the default) from ``source``.

    ``source`` is bundled, imagenet (downloaded once, ``progress(done, total)`` counts bytes),
    random (from ``seed``) or the path of a .safetensors, .pt or .pth file. The classes are read
    from the weights; ``classes`` only shapes random ones, and must agree with others.
    Raises UsageError for a net, option or source that cannot be, EdgeconvError for a file that
    cannot be read or does not fit, naming the first tensor with both shapes.
    """
    resolved = resolve_options(net, options)
    if source == "random":
        return _random(net, resolved, 1000 if classes is None else classes, seed)
    if source == "bundled":
        loaded = _bundled(net, resolved)
    elif source == "imagenet":
        loaded = _imagenet(net, resolved, progress)
    else:
        loaded = _from_file(net, options, Path(source))
    if classes not in (None, loaded.classes):
        raise UsageError(
            f"the weights {source} are for {counted(loaded.classes, 'class')}, not {classes}: "
            "leave --classes out, or use --weights random"
        )
    return loaded


def _random(net: str, options: dict[str, Value], classes: int, seed: int) -> LoadedWeights:
    given: dict[str, object] = dict(options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(net, classes=classes, **given)  # type: ignore[arg-type] # checked by resolve_options
    state = {
        key: value
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    digest = hashlib.sha256()
    for key, value in state.items():
        digest.update(key.encode() + value.numpy().tobytes())
    size = find_spec(net).resolution
    return LoadedWeights(
        net,
        "random",
        state,
        options,
        classes,
        digest.hexdigest(),
        f"random weights, seed {seed}",
        Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 0.875, (size, size)),
    )


def _bundled(net: str, options: dict[str, Value]) -> LoadedWeights:
    entry = find_bundled(net)
    _refuse_other_options(net, options, f"the bundled {net} weights are")
    loaded = _from_file(net, options, entry.path)
    if loaded.sha256 != entry.sha256:
        raise EdgeconvError(f"{entry.path} is damaged: install edgeconv again")
    return replace(
        loaded,
        source="bundled",
        matched=f"bundled, trained on {entry.dataset}",
        preprocessing=Preprocessing(
            entry.mean, entry.std, entry.crop, (entry.resolution, entry.resolution)
        ),
        labels=entry.labels,
        assumed=False,
        accuracy=Accuracy(entry.top1, entry.dataset, "10,000 test pictures"),
    )


def _imagenet(net: str, options: dict[str, Value], progress: Progress | None) -> LoadedWeights:
    if net not in PUBLIC:
        raise UsageError(
            f"{net} has no public ImageNet checkpoint: give --weights FILE, bundled or random "
            f"(public ones exist for {', '.join(PUBLIC)})"
        )
    _refuse_other_options(net, options, f"the public {net} checkpoint is")
    public = PUBLIC[net]
    loaded = _from_file(net, options, fetch(public.url, progress))
    size = (public.resolution, public.resolution)
    return replace(
        loaded,
        source="imagenet",
        matched=f"{public.source} ({loaded.matched})",
        preprocessing=Preprocessing(public.mean, public.std, public.crop, size),
        assumed=False,
        accuracy=Accuracy(public.top1, "ImageNet", public.source),
    )


def _refuse_other_options(net: str, options: Mapping[str, Value], subject: str) -> None:
    for name, default in find_spec(net).defaults().items():
        if options[name] != default:
            raise UsageError(
                f"{subject} for {name} {default}, not {options[name]}: "
                "give --weights FILE or --weights random"
            )


def _from_file(net: str, given_options: Mapping[str, Value | None], path: Path) -> LoadedWeights:
    """Read a checkpoint; one of ``edgeconv train`` says itself what is not given."""
    checkpoint = read_checkpoint(path)
    options = _options(net, given_options, checkpoint)
    given: dict[str, object] = dict(options)
    with torch.device("meta"):
        module = build(net, classes=1, **given)  # type: ignore[arg-type] # checked by resolve_options
    ours = group_layers(
        (key, tuple(value.shape))
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    )
    theirs = group_layers((key, tuple(value.shape)) for key, value in checkpoint.tensors.items())
    try:
        layout, table = match_layers(net, options, ours, theirs, checkpoint)
    except EdgeconvError as error:
        asked = [name for name, value in given_options.items() if value is not None]
        if not asked:
            raise
        # options and weights that contradict each other, whichever of them is right
        raise UsageError(
            f"{error}: give weights for the {' and '.join(asked)} asked for"
        ) from error
    state = rename(ours, table, layout, checkpoint)
    if layout is not None and "shuffle" in dict(layout.options):
        state = shuffle_before_depthwise(state, int(options["groups"]))
        options = options | dict(layout.options)
    head = list(ours)[-1]
    matched = "matched by order and shape" if layout is None else layout.name
    if checkpoint.inside is not None:
        matched += f", from {checkpoint.inside!r} in the file"
    size = find_spec(net).resolution
    loaded = LoadedWeights(
        net,
        str(path),
        state,
        options,
        len(state[f"{head}.weight"]),
        checkpoint.sha256,
        matched,
        Preprocessing(IMAGENET_MEAN, IMAGENET_STD, 0.875, (size, size)),
        assumed=True,
    )
    said = checkpoint.described
    if not said:
        return loaded
    if len(said["labels"]) != loaded.classes:
        raise EdgeconvError(
            f"{path} names {counted(len(said['labels']), 'class')} and has weights for {loaded.classes}"
        )
    return replace(
        loaded,
        matched="trained by edgeconv",
        preprocessing=preprocessing_from_json(said["preprocessing"]),
        labels=tuple(said["labels"]),
        assumed=False,
        accuracy=Accuracy(*(said["accuracy"][key] for key in ("top1", "dataset", "source"))),
    )


def _options(
    net: str, given: Mapping[str, Value | None], checkpoint: Checkpoint
) -> dict[str, Value]:
    """Return all options of ``net``: the given ones, else the checkpoint's own, else the defaults."""
    own = dict(checkpoint.described.get("net", {}))
    source = own.pop("source", net)
    if source != net:
        raise UsageError(f"{checkpoint.path} holds weights of {source}, not of {net}")
    for name, value in given.items():
        if value is not None and name in own and value != own[name]:
            raise UsageError(
                f"{checkpoint.path} holds weights for {name} {own[name]}, not {value}: "
                f"leave --{name} out, or give others"
            )
    own |= {name: value for name, value in given.items() if value is not None}
    return resolve_options(net, own)

"""What stops an export before it costs time."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeconv.demo_files import find_demo
from edgeconv.deps import installed, missing
from edgeconv.errors import EdgeconvError, UsageError, refuse_unknown
from edgeconv.evaluate.maps import BINS
from edgeconv.evaluate.task import task_of
from edgeconv.export.graph import Graph
from edgeconv.export.options import ExportOptions
from edgeconv.export.publish import staging
from edgeconv.export.source.found import net_options
from edgeconv.export.targets import TARGETS, lacking
from edgeconv.files import check_writable, digest
from edgeconv.foreign import refuse_no_file
from edgeconv.models.specs import MODULE_SUFFIXES, SPECS, is_own, resolve_options
from edgeconv.pictures import find_pictures
from edgeconv.recipe import Recipe, load_recipe
from edgeconv.system import memory_bytes
from edgeconv.terminal import counted

NET_SUFFIXES = (".onnx", ".py", ".safetensors", *MODULE_SUFFIXES)
SAMPLE_SUFFIXES = (".npz", ".npy", ".py")


def check_first(options: ExportOptions) -> Recipe | None:
    """Raise for what needs no work to be seen; return the recipe of the file that --recipe names.

    Options that contradict, packages that are missing, files that do not exist, an output that
    cannot be written.
    """
    options.check()
    installed(*_needed(options))
    _check_net(options)
    for flag, value in (("calib", options.calib), ("verify", options.verify)):
        if value is not None:
            _check_samples(f"--{flag}", str(value))
    for flag, file in (("labels", options.labels), ("truth", options.truth)):
        if file is not None and str(file) != "folders":
            refuse_no_file(Path(file), before=f"--{flag} ")
    check_writable(options.output, "--output", folder=True)
    if not options.integer or options.recipe_file is None:
        return None
    return load_recipe(options.recipe_file)


def _check_net(options: ExportOptions) -> None:
    """Raise UsageError for a name, a file or an option of a net that cannot be, before torch is imported."""
    if not isinstance(options.net, str):
        return
    file, colon, _ = options.net.rpartition(":")
    if not colon and Path(options.net).suffix not in NET_SUFFIXES:
        resolve_options(options.net, net_options(options))
    elif not colon or file.endswith(".py"):
        refuse_no_file(Path(file or options.net))


def _check_samples(flag: str, value: str) -> None:
    """Raise UsageError where ``value`` is neither a folder with pictures nor a file of samples."""
    path = Path(value.rpartition(":")[0] if ".py:" in value else value)
    if not path.exists():
        raise UsageError(f"{flag} {path} does not exist")
    if path.is_dir():
        find_pictures(path)
    elif path.suffix not in SAMPLE_SUFFIXES:
        raise UsageError(
            f"{flag} {path}: samples are a folder of pictures, an .npz, an .npy or file.py:function"
        )


def _needed(options: ExportOptions) -> list[tuple[str, str]]:
    """Return every module that the export imports for sure, and the extra that brings it."""
    hub = (
        ("onnx", "export"),
        ("onnxruntime", "export"),
    )  # the stages of the hub are run and compared
    written = [t for t in options.targets if t not in lacking(options)]
    found = [*hub, *(need for t in written for need in TARGETS[t].needs)]
    if isinstance(options.net, str) and (options.net in SPECS or is_own(options.net)):
        found.append(("torch", "torch"))
    bundled = options.net in SPECS and options.weights in (None, "bundled")
    if bundled and find_demo("weights") is None and missing(*found):
        found.append(("edgeconv_demo", "demo"))  # missing alone, it says so itself
    return found


def check_keep_float(graph: Graph, names: Sequence[str]) -> None:
    """Raise UsageError where ``names`` has a node that the graph does not have."""
    refuse_unknown("node", names, {node.name for node in graph.nodes}, "the net")


def refuse_existing(options: ExportOptions, stem: str) -> None:
    """Raise EdgeconvError where the output cannot be written, UsageError where it exists without --force."""
    folder = options.output
    with staging(folder) as staged:  # an unwritable folder is found before any work
        refused = lacking(options)  # nothing is written for these
        for target in options.targets:
            if target in refused:
                continue
            path = folder / (stem + TARGETS[target].suffix)
            if not path.exists() or options.force:
                continue
            if staged.unreported.get(path.name) != digest(path):
                raise UsageError(f"{path} exists; --force replaces it")


WEIGHTED = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"])


def check_finite(graph: Graph) -> None:
    """Raise EdgeconvError naming a weight that holds NaN or infinity.

    Constants of other operators may be infinite: attention masks are -inf where nothing is seen.
    """
    weights = {name for node in graph.of(*WEIGHTED) for name in node.inputs}
    for name, value in graph.constants.items():
        if value.dtype.kind != "f" or not value.ndim:
            continue
        if np.isnan(value).any() or (name in weights and not np.isfinite(value).all()):
            raise EdgeconvError(f"the weight {name} holds NaN or infinity")


def check_labels(path: Path, labels: Sequence[str], graph: Graph) -> None:
    """Raise UsageError where the names of ``path`` fit no output: class scores, masks or boxes."""
    shapes = [graph.shape(name) for name in graph.outputs]
    whole = graph.whole_outputs()
    task = task_of(shapes, whole)
    if whole == [True] and task != "boxes":
        return  # a class itself, or a map of them: it does not say how many there are
    named = f"--labels {path} has {counted(len(labels), 'name')}"
    if task == "classes":
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != 1:
            raise UsageError(
                f"--labels {path} names classes, but this net has no one row of scores"
            )
        if shapes[0][1] != len(labels):
            raise UsageError(f"{named} for {counted(shapes[0][1], 'class')}")
        return
    # beside the classes of a box stand four sides, objectness, a background, or sides as distributions
    beside = (0,) if task == "masks" else (0, 1, 4, 5, 4 * BINS)
    fits = {len(labels) + more for more in beside}
    if task == "boxes":
        fits.add(3 * (len(labels) + 5))  # a map of three anchors
    elif len(labels) == 2:
        fits.add(1)  # one channel tells two classes apart
    channels = [shape[1:2] if task == "masks" else shape[1:] for shape in shapes]
    final = [6] in [list(shape[2:]) for shape in shapes]  # end to end: a class is one figure
    if not final and not any(fits & set(sizes) for sizes in channels):
        said = ", ".join(f"{n} {list(graph.shape(n))}" for n in graph.outputs)
        raise UsageError(f"{named}, and no output has as many classes: {said}")


def check_memory(shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise EdgeconvError for a tensor that would not fit into this machine's memory, as float32."""
    memory = memory_bytes()
    for name, shape in shapes.items():
        if memory is not None and 4 * math.prod(shape) > memory:
            raise EdgeconvError(
                f"{name} of {'x'.join(map(str, shape))} takes {4 * math.prod(shape) / 1e9:.3g} GB, and this machine has "
                f"{memory / 1e9:.3g} GB of memory: give a smaller --input-shape"
            )

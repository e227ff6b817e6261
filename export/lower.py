"""The first stages: find the net, say how its pictures are prepared, trace it, simplify it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.ahead import Tick
from edgeconv.errors import UnsupportedOpError, UsageError
from edgeconv.export.checks import (
    check_finite,
    check_keep_float,
    check_labels,
    check_memory,
    refuse_existing,
)
from edgeconv.export.data import UNCALIBRATED, choose_data, refuse_uncalibrated
from edgeconv.export.keep_float import read_keep_float
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import PixelInput, Prepared, prepare
from edgeconv.export.settle_preprocessing import hint, settle_preprocessing
from edgeconv.export.source import Source, open_source, read_labels
from edgeconv.export.targets import TARGETS, refused_targets
from edgeconv.export.work import Lowered, Work
from edgeconv.truth import unasked

if TYPE_CHECKING:
    from edgeconv.export.quant.calibration import PictureCheck
    from edgeconv.samples import Feed


def build(work: Work) -> None:
    """Find the net and what it is fed with."""
    options = work.options
    with work.stages.stage("build") as say:
        if work.simplifier.foreign is not None:
            _import_meanwhile(options.targets)
        work.simplifier.admit()
        work.source = source = open_source(options)
        say(source.title + source.assumed)
    check_memory(source.shapes)
    if source.model is not None:
        work.raw = source.model
    refuse_uncalibrated(options, source)
    if not work.dry:
        refuse_existing(options, work.stem)
    work.labels = read_labels(options.labels) if options.labels else source.labels


def _import_meanwhile(targets: Sequence[str]) -> None:
    """Import what later stages need, while a child opens or simplifies the net."""
    with suppress(ImportError):  # whoever needs it says what to install
        for name in ("onnx", "onnxruntime", "PIL.Image", "edgeconv.export.integers"):
            import_module(name)
        for target in targets:
            for name in TARGETS[target].modules:
                import_module(name)


def say_preprocessing(work: Work) -> None:
    """Say how pictures are prepared and find the samples."""
    if work.source.preprocessing is not None:
        with work.stages.stage("pictures") as say:
            found = settle_preprocessing(work.source, work.options, work.labels, say)
            work.source, work.hinting = found
    work.notes += work.source.notes
    if not work.dry:
        work.data = choose_data(work.options, work.source, work.labels)
        work.notes += _unasked(work)


def _unasked(work: Work) -> list[str]:
    folder = work.options.verify or work.options.calib
    if work.options.truth != "folders" or folder is None:
        return []
    said = unasked(Path(folder), [sample.name for sample in work.data.verification])
    return [] if said is None else [said]


def begin_calibration(work: Work) -> None:
    """Begin to read the samples that calibrate, and to check them."""
    options, data, how = work.options, work.data, work.source.preprocessing

    def read(tick: Tick) -> "tuple[Sequence[Feed], PictureCheck]":
        from edgeconv.export.integers import read_calibration

        return read_calibration(options, data, how, tick)

    work.calibration = work.beside.begin(read)


def begin_hint(work: Work) -> None:
    """Begin to ask the net's scores whether they hint at another scaling."""
    source, hub, folder = work.source, work.lowered.hub, work.hinting
    if folder is not None:
        work.hint = work.beside.begin(lambda tick: hint(source, hub, folder, tick))


def trace(work: Work) -> None:
    """Trace a module; a model is there already."""
    from edgeconv.export.hub.ingest import ingest
    from edgeconv.export.hub.trace import HUB_OPSET, trace_module

    source = work.source
    assert source.module is not None
    with work.stages.stage("trace") as say:
        traced = trace_module(source.module, source.shapes, source.output_names, source.dtypes)
        raw, notes = ingest(traced)  # tracing makes some constants float64
        say(f"ONNX opset {HUB_OPSET}, {len(raw.graph.node)} nodes")
    work.notes += notes
    work.raw = raw


def lower(work: Work) -> None:
    """Simplify the model to the hub graph and to what emitters read, and refuse what cannot go on."""
    from edgeconv.export.hub.untaken import refuse_untaken
    from edgeconv.export.passes.append_softmax import append_softmax
    from edgeconv.export.passes.embed_preprocessing import embed_preprocessing
    from edgeconv.export.qdq.qoperator import is_quantized

    options, source, raw = work.options, work.source, work.raw
    refuse_untaken(raw, options.named)
    if options.softmax and work.probabilities:
        raise UsageError(f"--softmax: {options.named} gives probabilities already: leave it out")
    if is_quantized(raw):
        _own_integers(work)
        return
    if options.integer and work.given is None and not (work.dry or work.data.calibration):
        raise UsageError(UNCALIBRATED)  # a module that rounds outside of what was traced
    with work.stages.stage("simplify") as say:
        simplified = work.simplifier.simplify(raw, lambda: _import_meanwhile(options.targets))
        hub = simplified.hub
        check_finite(hub)
        check_memory(hub.shapes)
        if work.softmax_inside:
            append_softmax(hub)
        pixels = pixel_input(source, options)
        prepared = prepare(hub, int8=options.integer, pixels=pixels)
        if work.softmax and not work.softmax_inside:
            append_softmax(hub)  # the package's own comes from its emitter
        if pixels is not None and embedded(source):
            embed_preprocessing(hub, pixels.mean, pixels.std)
        say(f"{len(raw.graph.node)} nodes to {len(hub.nodes)}")
    if simplified.warning:
        work.notes.append(simplified.warning)
    work.lowered, work.graph = Lowered(raw, hub, prepared), prepared.graph
    if options.image_input and len(options.targets) > 1:
        gives = " and gives probabilities" if work.softmax_inside else ""
        work.notes.append(f"--image-input holds for every target: each takes pixels 0..255{gives}")
    _refuse(work)


def _own_integers(work: Work) -> None:
    """Read a quantized file; raises UsageError for options that would need other integers."""
    from edgeconv.export.hub.simplify_child import converted
    from edgeconv.export.hub.trace import HUB_OPSET
    from edgeconv.export.integer.counts import count_operators
    from edgeconv.export.qdq.read import read_qdq

    _refuse_with_own_integers(work.options)
    with work.stages.stage("integers") as say:
        own = read_qdq(converted(work.raw, HUB_OPSET))
        check_finite(own.graph)
        whose = "file" if work.source.module is None else "module"
        say(f"the {whose}'s own, {own.recipe.form}")
        if in_float := count_operators(own.graph, own.recipe).float_text():
            say(in_float)
    work.lowered = Lowered(work.raw, own.graph, Prepared(own.graph, {}), own)
    work.graph, work.recipe = own.graph, own.recipe
    work.notes += own.notes
    _refuse(work)


def _refuse_with_own_integers(options: ExportOptions) -> None:
    if not options.integer:
        raise UsageError(f"{options.net} is quantized already: --int8 keeps its own integers")
    usual = ExportOptions(options.net)
    contrary = {
        "--recipe": options.recipe != usual.recipe,
        "--copies": options.copies is not None,
        "--minutes": options.minutes is not None,
        "--reduce-range": options.reduce_range,
        "--max-drop": options.max_drop is not None,
        "--keep-float": bool(options.keep_float),
        "--softmax": options.softmax,
        "--embed-preprocessing": options.embed_preprocessing,
        "--int8-weights": options.int8_weights,
    }
    for option, given in contrary.items():
        if given:
            raise UsageError(
                f"{options.net} is quantized already and keeps its own integers: leave out {option}, "
                "or export the float model that it was made from"
            )


def _refuse(work: Work) -> None:
    """Raise for what is wrong with the options now that the graph is known."""
    options, prepared = work.options, work.lowered.prepared
    work.refused |= refused_targets(prepared.graph, options)
    if len(work.refused) == len(options.targets) and not work.dry:
        raise UnsupportedOpError("; ".join(work.refused.values()))
    check_keep_float(prepared.graph, read_keep_float(options.keep_float).nodes)
    if work.given is not None:
        from edgeconv.export.integers import check_recipe

        check_recipe(options.recipe, work.given, prepared)
    if options.nms is not None:
        from edgeconv.export.nms.head import check_head

        classes = None if work.labels is None else len(work.labels)
        head = check_head(prepared.graph, options.nms, classes)
        work.lowered = replace(work.lowered, nms=head)
    if options.labels and work.labels is not None:
        check_labels(options.labels, work.labels, work.lowered.hub)


def pixel_input(source: Source, options: ExportOptions) -> PixelInput | None:
    """Return how the picture input is fed, where there is one.

    Core ML's image input embeds the preprocessing itself, behind the prepared graph's back.
    """
    how = source.preprocessing
    return None if how is None else PixelInput(how.mean, how.std, options.embed_preprocessing)


def embedded(source: Source) -> bool:
    """Whether the net takes raw pixels."""
    return source.preprocessing is not None and source.preprocessing.embedded

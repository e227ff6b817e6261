"""Say how pictures are prepared, and what the net itself says to it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeconv.ahead import Tick
from edgeconv.demo_files import demo_folder
from edgeconv.export.fit_by_scores import (
    Array,
    Claim,
    better_by_truth,
    class_scores,
    hint_by_scores,
)
from edgeconv.export.fit_preprocessing import Fit, fit_preprocessing, unjudged
from edgeconv.export.graph import Graph
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source
from edgeconv.preprocessing import AUTO, OWN, scaled, sentence, turned
from edgeconv.truth import read_truth


def settle_preprocessing(
    source: Source,
    options: ExportOptions,
    labels: Sequence[str] | None,
    say: Callable[[str], None],
) -> tuple[Source, str | None]:
    """Say how pictures are prepared and what the net's statistics and scores say, or that they say nothing; settle "auto".

    A better one becomes a warning of the source, and ``better`` of it. Where nothing judges, the folder is
    returned whose pictures let scores hint at another scaling.
    """
    how = source.preprocessing
    assert how is not None
    folder = options.calib or options.verify
    if folder is None and source.bundled:
        folder = str(demo_folder("pictures") / "calibration")
    fit = fit_preprocessing(source.module, source.model, how, folder)
    if fit is not None and options.preprocessing == AUTO:
        best = fit.ranked[0]
        how = scaled(how, best.name, next(iter(source.shapes.values()))[1])
        if fit.turned and options.channel_order is None:
            how, fit = turned(how), replace(fit, turned=False)
        origin = f"found by the first batch norm ({best.divergence:.2g} nats off)"
        source = replace(source, preprocessing=how, origin=origin)
        fit = replace(fit, present=best.divergence)
    say(sentence(how, source.origin))
    if options.preprocessing == AUTO and fit is None:
        say("the net keeps no statistics that --preprocessing auto could judge by")
    asked, claim = _claim(source, options, labels, fit)
    if claim is not None:
        say("see the warning")
        return replace(source, better=claim.wish, warnings=(claim.text,)), None
    if fit is not None:
        say(str(fit))
        return source, None
    if asked:
        say("by the true classes no other preprocessing is surely better")
        return source, None
    if folder is None or how.embedded or not Path(folder).is_dir():
        return source, None
    if options.preprocessing != AUTO and source.origin != OWN:
        say(f"preprocessing cannot be judged: {unjudged(source.module, source.model)}")
    return source, None if _labelled(options, folder) else folder


def _claim(
    source: Source, options: ExportOptions, labels: Sequence[str] | None, fit: Fit | None
) -> tuple[bool, Claim | None]:
    """Return whether true classes were asked, and what looks wrong by the first batch norm or else by them."""
    if fit is not None and fit.wish:
        return False, Claim(str(fit), fit.wish)
    asked, told = _told_by_truth(source, options, labels, scalings=fit is None or not fit.fits)
    wrong = told is None and fit is not None and fit.wrong
    return asked, Claim(str(fit), {}) if wrong else told


def _told_by_truth(
    source: Source, options: ExportOptions, labels: Sequence[str] | None, *, scalings: bool
) -> tuple[bool, Claim | None]:
    """Return whether the true classes could be asked, and what they say."""
    how, shape = source.preprocessing, next(iter(source.shapes.values()))
    folder = options.verify or options.calib
    if how is None or how.embedded or not _labelled(options, folder):
        return False, None
    net = class_scores(source.module, source.model, tuple(shape))
    if net is None or folder is None or options.truth is None:
        return False, None
    truth = read_truth(options.truth, Path(folder), labels)
    return True, better_by_truth(net, how, shape[1], folder, truth, scalings=scalings)


def _labelled(options: ExportOptions, folder: str | None) -> bool:
    return options.truth is not None and folder is not None and Path(folder).is_dir()


def hint(source: Source, hub: Graph, folder: str, tick: Tick) -> str | None:
    """Return the hint of the net's scores over pictures of ``folder``; None of a net that gives none."""
    from edgeconv.export.hub.onnx_io import to_onnx

    how, shape = source.preprocessing, next(iter(source.shapes.values()))
    net = class_scores(None, to_onnx(hub), tuple(shape))
    if how is None or net is None:
        return None

    def scores(value: Array) -> Array:
        tick(0.0)
        return net(value)

    return hint_by_scores(scores, how, shape[1], folder)

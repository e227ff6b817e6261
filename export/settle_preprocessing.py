"""Say how pictures are prepared, and what the net itself says to it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeconv.demo_files import demo_folder
from edgeconv.export.fit_by_scores import Claim, better_by_truth, class_scores, hint_by_scores
from edgeconv.export.fit_preprocessing import Fit, fit_preprocessing
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source
from edgeconv.preprocessing import AUTO, scaled, sentence, turned
from edgeconv.truth import read_truth


def settle_preprocessing(
    source: Source,
    options: ExportOptions,
    labels: Sequence[str] | None,
    say: Callable[[str], None],
) -> Source:
    """Say how pictures are prepared and what the net's statistics and scores say; settle "auto".

    A better one becomes a note of the source, and ``better`` of it.
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
    claim = _claim(source, options, labels, fit)
    if claim is not None:
        say("see the note")
        return replace(source, better=claim.wish, notes=(claim.text, *source.notes))
    if fit is not None:
        say(str(fit))
    elif folder is not None and (hint := _hint(source, options, folder)) is not None:
        return replace(source, notes=(hint, *source.notes))
    return source


def _claim(
    source: Source, options: ExportOptions, labels: Sequence[str] | None, fit: Fit | None
) -> Claim | None:
    """Return what looks wrong, by the first batch norm or else by the true classes."""
    if fit is not None and fit.wish:
        return Claim(str(fit), fit.wish)
    how, shape = source.preprocessing, next(iter(source.shapes.values()))
    folder = options.verify or options.calib
    if how is None or how.embedded or not _labelled(options, folder):
        return None
    net = class_scores(source.module, source.model, tuple(shape))
    if net is None or folder is None or options.truth is None:
        return None
    truth = read_truth(options.truth, Path(folder), labels)
    return better_by_truth(net, how, shape[1], folder, truth)


def _labelled(options: ExportOptions, folder: str | None) -> bool:
    return options.truth is not None and folder is not None and Path(folder).is_dir()


def _hint(source: Source, options: ExportOptions, folder: str) -> str | None:
    how, shape = source.preprocessing, next(iter(source.shapes.values()))
    if how is None or how.embedded or _labelled(options, folder) or not Path(folder).is_dir():
        return None
    net = class_scores(source.module, source.model, tuple(shape))
    return None if net is None else hint_by_scores(net, how, shape[1], folder)

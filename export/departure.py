"""Where the float forms of a net first leave what it gives itself."""

from collections.abc import Mapping
from pathlib import Path

from edgeconv.export.lower import pixel_input
from edgeconv.export.prepare import PixelInput, with_border
from edgeconv.export.verify import Expected
from edgeconv.export.work import Work
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.run import run_feeds
from edgeconv.judge.verdict import compare


def begin_departure(work: Work, folder: Path) -> None:
    """Begin to run the forms that ``folder``, the evidence, holds: those that take what the files take."""
    options, expected = work.options, work.expected
    names, kind = ["hub"] if options.image_input else ["hub", "prepared"], "fp32"
    if not (options.embed_preprocessing or options.image_input or options.softmax):
        names.insert(0, "raw")  # which has neither pixels nor softmax inside
    if work.lowered.own is not None:  # the others are its float net, and the model is the reference
        names, kind = ["raw"], "kernels"
    pixels = pixel_input(work.source, options) if options.integer else None
    stages = {name: folder / f"{name}.onnx" for name in names}
    work.departure = work.beside.begin(
        lambda _: first_departure(stages, expected, kind=kind, pixels=pixels)
    )


def first_departure(
    stages: Mapping[str, Path],
    expected: Expected,
    *,
    kind: str = "fp32",
    pixels: PixelInput | None = None,
    count: int = 4,
) -> str | None:
    """Return a sentence naming the first float stage whose outputs leave the reference.

    ``stages`` maps raw, hub and prepared to their .onnx, in order; ``count`` samples are run
    through each, if the last, which comes of the others, departs at all, by the budget of ``kind``. ``pixels`` are those of an INT8
    export, whose prepared graph centres them: it runs with the border that this moves by half a step.
    """
    from edgeconv.export.hub.onnx_io import load_own, save_model, to_onnx
    from edgeconv.runtimes.onnxrt import open_model

    few = expected.spread(count)

    def departs(stage: str) -> str | None:
        model: Path | bytes = stages[stage]
        if stage == "prepared" and pixels is not None:
            model = save_model(to_onnx(with_border(load_own(stages[stage]), pixels)))
        with open_model(model, optimize=False) as runner:
            got, _ = run_feeds(runner, few.feeds, runner.inputs, runner.outputs)
        verdict = compare(few.outputs, got, budget=DEFAULTS[kind], cuts=few.cuts, whole=few.whole)
        if verdict:
            return None
        return f"stage {stage} is the first to depart from the float reference: {verdict}"

    *before, last = stages
    if (found := departs(last)) is None:
        return None
    return next(filter(None, map(departs, before)), found)

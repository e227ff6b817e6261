"""What an export would do, without doing it."""

from edgeconv.export.data import refuse_uncalibrated
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import prepare
from edgeconv.export.source import Source, open_source
from edgeconv.export.targets import TARGETS


def plan(options: ExportOptions) -> list[str]:
    """Return the stages and files of an export, a line each, and which target takes which operator.

    The net is found, traced and simplified, so that what is wrong with it is said here too.
    """
    source = open_source(options)
    lines = [f"build      {source.title}"]
    if source.module is not None:
        lines.append("trace      torch.onnx.export, then onnxsim and edgeconv's passes")
    else:
        lines.append("simplify   onnxsim and edgeconv's passes")
    if options.integer:
        refuse_uncalibrated(options, source)
        data = options.calib or "the bundled pictures"
        lines.append(f"calibrate  up to {options.calib_count} samples of {data}")
        lines.append(f"quantize   recipe {options.recipe}")
    for target in options.targets:
        path = options.output / f"{source.stem}_{options.suffix}{TARGETS[target].suffix}"
        lines.append(f"{target:10} {path}" + (" (exists)" if path.exists() else ""))
    lines.append("verify     each file, from disk, against the float reference")
    return lines + _taken(options, source)


def _taken(options: ExportOptions, source: Source) -> list[str]:
    from edgeconv.export.coverage import coverage
    from edgeconv.export.hub.simplify import simplify
    from edgeconv.export.hub.trace import trace_module

    raw = source.model
    if source.module is not None:
        raw = trace_module(source.module, source.shapes, source.output_names, source.dtypes)
    assert raw is not None
    graph = prepare(simplify(raw).hub, int8=options.integer).graph
    return coverage(graph, options.targets, integer=options.integer).lines()

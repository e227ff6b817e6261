"""What an export would do, without doing it."""

from edgeconv.export.data import refuse_uncalibrated
from edgeconv.export.options import ExportOptions
from edgeconv.export.source import open_source
from edgeconv.export.targets import TARGETS


def plan(options: ExportOptions) -> list[str]:
    """Return the stages and files of an export, a line each.

    The net is found and its weights are read, so that what is wrong with them is said here too.
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
    return lines

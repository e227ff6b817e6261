"""The command that makes a cell's file again."""

import shlex

from edgeconv.sweep.forms import Form
from edgeconv.sweep.job import Job


def export_command(job: Job, form: Form) -> str:
    """Return the ``edgeconv export`` line that makes ``form``."""
    words = ["edgeconv", "export", form.net, f"--{form.precision}", "--target", form.target]
    for name, value in form.options().items():
        if name in ("net", "precision"):
            continue
        words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    given = {
        "calib": job.calib if form.precision == "int8" else None,
        "verify": job.data,
        "calib-count": job.calib_count if form.precision == "int8" and job.calib else None,
        "classes": job.classes,
        "input-shape": ",".join(map(str, job.input_shape)) or None,
        "preprocessing": job.preprocessing,
        "mean": job.mean and ",".join(f"{v:g}" for v in job.mean),
        "std": job.std and ",".join(f"{v:g}" for v in job.std),
        "crop": job.crop,
        "channel-order": job.channel_order,
        "labels": job.labels,
    }
    for name, value in given.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return " ".join(shlex.quote(word) for word in words)

"""A net itself, in PyTorch, as the float reference: ``--reference mobilenet_v2``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import numbers
from edgeconv.artifact import Artifact
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.judge.outputs import Outputs, inputs_hash
from edgeconv.parity.matrix import Samples

if TYPE_CHECKING:
    import torch

OPTIONS = ("width", "groups", "ratio", "activation")


def net_outputs(
    net: "str | torch.nn.Module",
    weights: str | None,
    artifact: Artifact | None,
    samples: Samples,
    threads: int,
) -> Outputs:
    """Run one of the four nets, a live module or what names one, on ``samples`` in PyTorch.

    Options of the net and its number of classes come from the manifest of ``artifact``. Raises
    UsageError or EdgeconvError where it cannot be built, and where the manifest embeds preprocessing
    or a softmax, which the module does not hold.
    """
    require("torch", "torch")
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.reference import refuse_unrepeated
    from edgeconv.export.source import open_source
    from edgeconv.runtimes.pytorch import open_module

    name = net if isinstance(net, str) else type(net).__name__
    manifest = {} if artifact is None else artifact.manifest
    how = None if artifact is None else artifact.preprocessing
    if manifest.get("softmax") or (how is not None and how.embedded):
        raise EdgeconvError(
            f"{name} as a module takes normalised pictures and gives logits, which this export does "
            "not: leave --reference out to use its own hub graph"
        )
    known = dict(manifest.get("net") or {})
    fields = {key: known[key] for key in OPTIONS if known.get(key) is not None}
    shapes = tuple((1, *array.shape[1:]) for array in samples.inputs.values())
    options = ExportOptions(net=net, weights=weights, input_shapes=shapes, output=Path(), **fields)
    source = open_source(options)
    if source.module is None:
        raise EdgeconvError(f"{name} is a file, not a net")
    names = list(artifact.outputs) if artifact is not None else []
    outputs = [spec.name for spec in names] or list(source.output_names or ("output",))
    rows: dict[str, list[NDArray[Any]]] = {output: [] for output in outputs}
    with open_module(
        source.module, list(samples.inputs), outputs, shapes, threads=threads
    ) as runner:
        for picture in range(samples.count):
            feeds = {n: a[picture : picture + 1] for n, a in samples.inputs.items()}
            made = runner.infer(feeds)
            if picture == 0:
                refuse_unrepeated(made, runner.infer(feeds))
            for output, values in made.items():
                rows[output].append(values)
        about = {"runtime": runner.name, "version": runner.version, "threads": runner.threads}
    arrays = {output: numbers(np.concatenate(parts)) for output, parts in rows.items()}
    digest = inputs_hash(samples.inputs)
    more = {"label": "reference", "stage": "reference", "title": name, "inputs_sha256": digest}
    return Outputs(arrays, {**about, **more})

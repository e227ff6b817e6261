"""What was kept for a comparison: an export's verification pictures, outputs saved elsewhere."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError
from edgeconv.judge.outputs import Outputs, inputs_hash
from edgeconv.parity.facts import verified_on
from edgeconv.parity.matrix import Samples
from edgeconv.preprocessing import sentence
from edgeconv.spread import places

Array = NDArray[Any]


def from_evidence(artifact: Artifact, count: int | None) -> tuple[Samples, Outputs]:
    """Return ``count`` verification inputs of an export, spread evenly, and float outputs on them.

    None takes all, which is what the export itself judged on.
    """
    arrays = artifact.verification()
    inputs, outputs = _named(arrays, "input:"), _named(arrays, "output:")
    total = len(next(iter(inputs.values())))
    chosen = places(total, total if count is None else count)
    inputs = {name: array[chosen] for name, array in inputs.items()}
    outputs = {name: array[chosen] for name, array in outputs.items()}
    names = tuple(str(n) for n in arrays.get("names", np.arange(total))[chosen])
    truth = arrays.get("truth")
    known = None if truth is None or (truth < 0).all() else truth[chosen].astype(np.int64)
    source = f"verification samples of {artifact.path.name}"
    own = artifact.preprocessing
    prepared = None if own is None else sentence(own, "manifest", artifact.layout)
    everything = verified_on(artifact) if len(chosen) == total else None
    samples = Samples(
        inputs,
        names,
        known,
        "nchw",
        source,
        exported=everything,
        prepared=prepared,
        rows=chosen,
        of=total,
    )
    about = {
        "label": "reference",
        "stage": "reference",
        "title": _exported_by(artifact),
        **known_task(artifact),
    }
    margins = {name: array[chosen] for name, array in _named(arrays, "margin:").items()}
    return samples, Outputs(outputs, {**about, "inputs_sha256": inputs_hash(inputs)}, margins)


def known_task(artifact: Artifact) -> dict[str, Any]:
    """Return what a manifest says of the net that its verdict depends on."""
    weights = artifact.manifest.get("weights") or {}
    shown = {key: artifact.manifest.get(key) for key in ("cuts", "whole")}
    return {**shown, "weights": weights.get("source")}


def _exported_by(artifact: Artifact) -> str:
    """Say what computed the reference outputs that an export keeps."""
    versions = artifact.manifest.get("versions") or {}
    source = str((artifact.manifest.get("net") or {}).get("source", ""))
    torch, runtime = versions.get("torch"), "onnxruntime"
    if torch is not None and not source.endswith(".onnx"):
        return f"PyTorch {torch}, kept by the export"
    version = f" {versions[runtime]}" if versions.get(runtime) else ""
    return f"{runtime}{version} on {source}, kept by the export"


def _named(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def check_same_inputs(stored: Outputs, digest: str) -> None:
    """Raise EdgeconvError where stored outputs say they come from other inputs."""
    other = stored.about.get("inputs_sha256")
    if other is not None and other != digest:
        raise EdgeconvError(
            f"the outputs of {stored.label} come from other inputs (sha256 {str(other)[:12]}…, here "
            f"{digest[:12]}…): save both from the same samples"
        )


def stored_samples(reference: Outputs) -> Samples:
    """Return what saved outputs know of their pictures: count, names and truth, but no pixels."""
    count = min(len(a) for a in reference.arrays.values())
    truth = reference.about.get("truth")
    for name in ("names", "truth"):
        if len(reference.about.get(name) or range(count)) != count:
            raise EdgeconvError(
                f"{reference.label}: there are {count} outputs, but not as many {name}"
            )
    return Samples(
        {"(not stored)": np.zeros((count, 0), np.float32)},
        tuple(reference.about.get("names") or (str(i) for i in range(count))),
        None if truth is None else np.array(truth, np.int64),
        "nchw",
        str(reference.about.get("source", "saved outputs")),
    )

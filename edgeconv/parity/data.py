"""Where the pictures and the float reference of a run come from."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact, Crop, Order, Preprocessing, load_artifact
from edgeconv.deps import MissingDependencyError
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder
from edgeconv.foreign import refuse_no_file
from edgeconv.inspection import inspect_file
from edgeconv.judge.outputs import Outputs, inputs_hash, load_outputs
from edgeconv.metrics import class_rows, is_scores
from edgeconv.parity.child import Job, run_cell, save_feeds
from edgeconv.parity.kept import check_same_inputs, from_evidence, known_task
from edgeconv.parity.matrix import Samples
from edgeconv.preprocessing import NAMED, USUAL_CROP, as_wished, sentence, who_says
from edgeconv.runtimes.choose import choose
from edgeconv.spread import places
from edgeconv.tensors import TensorSpec
from edgeconv.truth import BY_FOLDERS, class_folders, folders_name_classes, read_truth

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]


DATA_COUNT = 100
"""Pictures of --data that are taken where --count does not say."""


@dataclass(frozen=True)
class Request:
    """What the user asked to compare on; see the options of ``edgeconv parity``."""

    reference: "str | torch.nn.Module | None" = None
    data: str | None = None
    count: int | None = None
    truth: str | None = None
    preprocessing: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: Crop | None = None
    channel_order: Order | None = None
    threads: int = 1
    weights: str | None = None

    @property
    def is_net(self) -> bool:
        """Whether the reference is a net to build, not a file."""
        known = (".onnx", ".tflite", ".npz")
        if self.reference is None or not isinstance(self.reference, str):
            return self.reference is not None
        return not self.reference.lower().endswith(known)


def gather(paths: Sequence[Path], request: Request) -> tuple[Samples, Outputs]:
    """Return the inputs of the run and the float reference's outputs on them.

    Without ``data`` both come from the evidence of the first artifact that has a manifest. Raises
    UsageError where neither says what to compare with.
    """
    artifacts = [a for a in map(load_artifact, paths) if a is not None]
    artifact = artifacts[0] if artifacts else None
    if artifact is None and request.data is None:
        _refuse_damaged(paths)
        raise UsageError(
            "none of these files has a manifest: say what to compare on with --data, and with "
            "what with --reference"
        )
    if request.reference is None:
        check_same_model(artifacts)
    samples, reference = _gather(request, artifact)
    labels = None if artifact is None or artifact.labels is None else tuple(artifact.labels)
    return replace(samples, labels=labels, frozen=_frozen(artifact)), reference


def _refuse_damaged(paths: Sequence[Path]) -> None:
    """Raise EdgeconvError for a file that no option would help; what needs a package to be seen is let pass."""
    for path in paths:
        with suppress(MissingDependencyError):
            inspect_file(path)


def _frozen(artifact: Artifact | None) -> Mapping[str, Any]:
    return {} if artifact is None else artifact.frozen_inputs


def check_same_model(artifacts: Sequence[Artifact]) -> None:
    """Raise UsageError where files come from different models: they have no common reference."""
    for other in artifacts[1:]:
        first = artifacts[0]
        hubs = [a.manifest["evidence"]["files"].get("hub.onnx") for a in (first, other)]
        if hubs[0] != hubs[1]:
            raise UsageError(
                f"{first.path.name} and {other.path.name} were exported from different models or "
                "weights: compare them one by one, or say with --reference what both should give"
            )


def _gather(request: Request, artifact: Artifact | None) -> tuple[Samples, Outputs]:
    if request.data is None:
        assert artifact is not None
        samples, reference = from_evidence(artifact, request.count)
        if request.reference is not None:
            reference = reference_outputs(request, artifact, samples)
        return samples, reference
    specs = reference_inputs(request, artifact)
    samples = load_data(request, specs, artifact)
    reference = reference_outputs(request, artifact, samples)
    if samples.told == BY_FOLDERS and not _names_classes(request, artifact, reference):
        samples = replace(samples, truth=None, told=None)
    return samples, reference


def _names_classes(request: Request, artifact: Artifact | None, reference: Outputs) -> bool:
    """Whether the folders of --data are the classes of an output: nobody said that they are."""
    labels = None if artifact is None else artifact.labels
    return any(
        is_scores(array)
        and folders_name_classes(Path(str(request.data)), labels, class_rows(array).shape[1])
        for array in reference.arrays.values()
    )


def reference_file(request: Request, artifact: Artifact | None) -> Path | None:
    """Return the model file that is the float reference: --reference, else what the artifact is held against."""
    if request.reference is not None and not request.is_net:
        path = Path(str(request.reference))
        if path.suffix == ".npz":
            return None
        refuse_no_file(path)
        return path
    if artifact is None:
        if request.reference is not None:
            raise UsageError(
                f"--reference {request.reference} is a net: files without a manifest are held against a file (.onnx or "
                ".tflite, or outputs as .npz), such as edgeconv export writes of it"
            )
        raise UsageError("say with --reference what the float model is (.onnx, or outputs as .npz)")
    return artifact.evidence(artifact.original)


def reference_inputs(request: Request, artifact: Artifact | None) -> tuple[TensorSpec, ...]:
    """Return the inputs that data is made for: those of the reference."""
    path = reference_file(request, artifact)
    if path is None:
        if artifact is None:
            raise UsageError("outputs as --reference need an artifact with a manifest, or a model")
        path = artifact.evidence(artifact.original)
    from edgeconv.runtimes.base import open_runner
    from edgeconv.runtimes.probe import probe

    row = choose(path)
    probe(path, row.name)
    with open_runner(path, runtime=row.name) as runner:
        return tuple(spec for spec in runner.inputs if spec.name not in _frozen(artifact))


def load_data(request: Request, specs: Sequence[TensorSpec], artifact: Artifact | None) -> Samples:
    """Read --data for inputs ``specs``; unreadable pictures are skipped and named."""
    from edgeconv.samples import InputSpec, load_samples

    assert request.data is not None
    how = preprocessing(request, specs, artifact)
    layout = specs[0].layout if specs[0].layout != "other" else "nchw"
    shapes = {spec.name: _nchw(spec.shape, spec.layout) for spec in specs}
    labels = artifact.labels if artifact else None
    source = Path(request.data)
    told = request.truth
    if told is None and source.is_dir() and class_folders(source):
        told = BY_FOLDERS
    truth = None
    if told is not None:
        truth = read_truth("folders" if told == BY_FOLDERS else told, source, labels)
    raw = request.data.endswith((".npz", ".npy"))
    wanted = InputSpec({s.name: s.shape for s in specs} if raw else shapes, how)
    rows: list[dict[str, Array]] = []
    names, known, skipped, kept = [], [], [], []
    found = load_samples(request.data, wanted, truth)
    for place in places(len(found), request.count or DATA_COUNT):
        sample = found[place]
        try:
            rows.append({n: a[:1] for n, a in sample.load().items()})
        except EdgeconvError as error:
            skipped.append(str(error))
            continue
        kept.append(place)
        names.append(sample.name)
        known.append(-1 if sample.truth is None else sample.truth)
    if not rows:
        raise EdgeconvError(f"{request.data} holds no readable picture: {skipped[0]}")
    inputs = {n: np.concatenate([row[n] for row in rows]) for n in rows[0]}
    return Samples(
        inputs,
        tuple(names),
        np.array(known, np.int64) if max(known) >= 0 else None,
        layout if raw else "nchw",
        request.data,
        tuple(skipped),
        prepared=None
        if how is None
        else sentence(how, who_says(request, "manifest"), layout.upper()),
        told=told,
        rows=kept,
        of=len(found),
    )


def _nchw(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    if layout == "nhwc" and len(shape) == 4:
        return (shape[0], shape[3], shape[1], shape[2])
    return shape


def preprocessing(
    request: Request, specs: Sequence[TensorSpec], artifact: Artifact | None
) -> Preprocessing | None:
    """Return how pictures become inputs: the options over the manifest's; asked for, never guessed.

    None for data that are arrays already. Raises UsageError where pictures need --mean and --std.
    """
    assert request.data is not None
    if request.data.endswith((".npz", ".npy")) or ".py:" in request.data:
        return None
    own = artifact.preprocessing if artifact else None
    scaled = request.preprocessing is not None or (request.mean and request.std)
    if own is None and not scaled:
        raise UsageError(
            f"pictures need --preprocessing {'|'.join(NAMED)}, or --mean and --std (0..1 scale), "
            "where no file has a manifest that says them"
        )
    shape = _nchw(specs[0].shape, specs[0].layout)
    if len(specs) != 1 or len(shape) != 4:
        raise UsageError(
            f"{request.data}: the model takes {specs[0].name} {list(shape)}: give an .npz"
        )
    said = own or Preprocessing((), (), USUAL_CROP, (1, 1))
    return as_wished(replace(said, size=(shape[2], shape[3])), request, shape[1])


def _rows_of(name: str, array: Array, samples: Samples, file: str) -> Array:
    """Return the rows of stored outputs that are of ``samples``, or raise EdgeconvError."""
    if len(array) == samples.count:
        return array
    if len(array) == samples.of:
        return array[list(samples.rows)]
    raise EdgeconvError(
        f"{file}: {name} holds {len(array)} rows, and {samples.source} {samples.of} samples, of which "
        f"{samples.count} are taken: give outputs on all of them"
    )


def reference_outputs(request: Request, artifact: Artifact | None, samples: Samples) -> Outputs:
    """Run the float reference on ``samples``, or read its outputs; .onnx runs without rewrites."""
    if request.is_net:
        from edgeconv.parity.net import net_outputs

        assert request.reference is not None
        return net_outputs(request.reference, request.weights, artifact, samples, request.threads)
    path = reference_file(request, artifact)
    digest = inputs_hash(samples.inputs)
    if path is None:
        file = str(request.reference)
        stored = load_outputs(Path(file))
        check_same_inputs(stored, digest)
        cut = {n: _rows_of(n, a, samples, file) for n, a in stored.arrays.items()}
        return Outputs(cut, {**stored.about, "label": "reference"})
    row = choose(path)
    with temporary_folder() as scratch:
        outputs = run_cell(
            Job(
                path,
                row.name,
                save_feeds(samples.inputs, scratch),
                scratch / "reference.npz",
                row.as_written,
                request.threads,
                samples.layout,
                frozen=_frozen(artifact),
            )
        )
    about = {**outputs.about, "label": "reference", "stage": "reference", "title": path.name}
    if artifact is not None:
        about |= known_task(artifact)
    return Outputs(outputs.arrays, {**about, "inputs_sha256": digest})

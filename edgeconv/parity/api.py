"""``edgeconv parity`` as one library call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

from edgeconv.api import left_as_it_was
from edgeconv.arguments import Named, as_paths, speaking_of_arguments
from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder, write_text
from edgeconv.foreign import refuse_missing
from edgeconv.judge.advice import advice
from edgeconv.judge.outputs import Outputs, inputs_hash, load_folder, save_outputs
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.baseline import compare_baseline, load_baseline, save_baseline, worth_keeping
from edgeconv.parity.cells import Cell, plan
from edgeconv.parity.data import Request, gather
from edgeconv.parity.junit import to_junit
from edgeconv.parity.kept import check_same_inputs, stored_samples
from edgeconv.parity.latency import REFERENCE, Latency, measure_latencies
from edgeconv.parity.layers.choose import layer_reports
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.matrix import Matrix, Row, Settings, judge
from edgeconv.parity.options import Asked, Files, ParityOptions, settle
from edgeconv.parity.places import Found, Here, Place, left_out
from edgeconv.parity.report import to_markdown
from edgeconv.runtimes.choose import check_also, ways


@dataclass(frozen=True)
class ParityResult:
    """The matrix, what a baseline says to it, and the exit code of both.

    ``said`` are further sentences for the terminal, ``extra`` further keys of the JSON.
    """

    matrix: Matrix
    worse: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """That of the matrix; 3 where a baseline figure got worse."""
        return 3 if self.worse else self.matrix.exit_code

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def __str__(self) -> str:
        return to_markdown(self.matrix)


def check_parity(
    artifacts: Named | Sequence[Named],
    *,
    places: Sequence[Place] = (),
    **options: Unpack[ParityOptions],
) -> ParityResult:
    """Compare ``artifacts`` with their float reference in every runtime here; see the command's help.

    ``reference`` may also be a live torch.nn.Module, which is left in the mode it was in.
    ``places`` are where they run as well (edgeconv.device.places has boards). Raises UsageError and
    EdgeconvError as the rest of edgeconv does; a cell that cannot run is no error but a failed row.
    """
    with speaking_of_arguments(ParityOptions):
        return _check(as_paths(artifacts), settle(options), places)


def _check(paths: Sequence[Path], asked: Asked, places: Sequence[Place]) -> ParityResult:
    if paths:
        check_also(paths, asked.extras.also)
    for path in paths:
        refuse_missing(path)
        ways(path, asked.extras.also)  # refuses what no runtime takes before any other wish
        _refuse_thinned(path)
    files = asked.files
    if not paths and files.load_outputs is None:
        raise UsageError("name at least one exported file, or --load-outputs")
    committed = None
    if files.baseline is not None and not files.update_baseline:
        committed = load_baseline(files.baseline)
    with left_as_it_was(asked.request.reference):
        matrix = _run(list(paths), asked, places)
    _write(matrix, files)
    return _with_baseline(matrix, files.baseline, committed)


def _write(matrix: Matrix, files: Files) -> None:
    if files.save_outputs is not None:
        _save(files.save_outputs, matrix)
    if files.markdown is not None:
        write_text(files.markdown, to_markdown(matrix))
    if files.junit is not None:
        write_text(files.junit, to_junit(matrix))
    if files.html is not None:
        from edgeconv.parity.page import to_html

        write_text(files.html, to_html(matrix))


def _refuse_thinned(path: Path) -> None:
    """Raise UsageError for a file with NMS inside, whose boxes no tensor of the float net is."""
    artifact = load_artifact(path)
    if artifact is not None and artifact.nms is not None:
        plain = path.with_name(artifact.nms["verified"])
        raise UsageError(
            f"{path} ends in NMS, and parity compares tensors: give it {plain}, the same net without, "
            f"and hold boxes by `edgeconv eval {path} --data DIR`"
        )


def _run(paths: list[Path], asked: Asked, places: Sequence[Place]) -> Matrix:
    loaded, settings, extras = asked.files.load_outputs, asked.settings, asked.extras
    stored = load_folder(loaded) if loaded is not None else []
    if not paths:
        return _judge_stored(stored, asked.request, settings)
    samples, reference = gather(paths, asked.request)
    failed: list[str] = []
    found: dict[str, LayerReport] = {}
    times: dict[str, Latency] = {}
    with temporary_folder() as folder:
        cells, notes = plan(paths, precision=asked.precision, scratch=folder, also=extras.also)
        done: Found = []
        for number, place in enumerate([Here(), *places]):
            scratch = folder / f"place{number}"
            scratch.mkdir()
            there = place.run(cells, samples, settings, scratch)
            notes += left_out(paths, there)
            done += there
        if extras.layers or extras.bisect is not None:
            found, said, failed = layer_reports(
                cells, samples, settings, asked.request, folder, extras.bisect
            )
            notes += [*said, *failed]
        if extras.latency:
            times, said = measure_latencies(cells, settings.threads)
            notes += said
    results: list[tuple[str, Outputs | str, dict[str, Any]]] = [
        (c.label, result, {"stage": c.stage, "title": c.title, "before": c.before, "kind": c.kind})
        for c, result in done
    ]
    digest = inputs_hash(samples.inputs)
    for outputs in stored:
        if outputs.about.get("stage") == "reference":
            continue
        check_same_inputs(outputs, digest)
        label = f"{outputs.label} · saved on {outputs.about.get('machine', 'another machine')}"
        results.append((label, outputs, dict(outputs.about)))
    matrix = judge(results, reference, samples, settings, notes)
    told = (
        replace(row, layers=found.get(row.label), latency=times.get(row.label))
        for row in matrix.rows
    )
    rows = tuple(
        replace(row, advice=_advice(row, [cell for cell in cells if cell.label == row.label]))
        for row in told
    )
    return replace(matrix, rows=rows, latency=times.get(REFERENCE), failed=tuple(failed))


def _advice(row: Row, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return what to try where an artifact's own verdict was missed."""
    if row.verdict is None or not cells or row.stage not in PRECISIONS:
        return ()
    from edgeconv.export.targets import TARGETS

    made = cells[0].artifact
    target = None if made is None else TARGETS.get(made.target)
    return advice(
        row.verdict,
        str(cells[0].path),
        {} if made is None else made.manifest,
        row.layers is not None,
        halves=target is None or "fp16" not in target.lacks,
    )


def _judge_stored(stored: list[Outputs], request: Request, settings: Settings) -> Matrix:
    """Compare saved outputs only: no file is run."""

    reference = next((o for o in stored if o.about.get("stage") == "reference"), None)
    if request.reference is not None:
        from edgeconv.judge.outputs import load_outputs

        if not str(request.reference).endswith(".npz"):
            raise UsageError("--load-outputs without files needs --reference OUTPUTS.npz, if any")
        reference = load_outputs(Path(str(request.reference)))
    if reference is None:
        raise EdgeconvError("the saved outputs hold no reference: name one with --reference")
    digest = str(reference.about.get("inputs_sha256"))
    results = []
    for outputs in stored:
        if outputs.about.get("stage") != "reference":
            check_same_inputs(outputs, digest)
            results.append((outputs.label, outputs, dict(outputs.about)))
    return judge(results, reference, stored_samples(reference), settings)


def _save(folder: Path, matrix: Matrix) -> None:
    from edgeconv.machine import describe

    machine = describe()
    name = machine.board or machine.processor
    truth = matrix.samples.truth
    about = {
        **matrix.reference.about,
        "stage": "reference",
        "names": list(matrix.samples.names),
        "truth": None if truth is None else [int(t) for t in truth],
        "source": matrix.samples.source,
    }
    save_outputs(folder / "reference.npz", Outputs(matrix.reference.arrays, about))
    for number, row in enumerate(matrix.rows):
        if row.outputs is not None:
            outputs = Outputs(row.outputs.arrays, {**row.outputs.about, "machine": name})
            stem = "".join(c if c.isalnum() or c in "._-" else "_" for c in row.label)
            save_outputs(folder / f"{number:02d}_{stem}.npz", outputs)


def _with_baseline(
    matrix: Matrix, path: Path | None, committed: Mapping[str, Any] | None
) -> ParityResult:
    """Hold the figures against what was committed; without that write them to ``path``."""
    if path is None:
        return ParityResult(matrix)
    if committed is None:
        save_baseline(path, worth_keeping(matrix))
        return ParityResult(matrix, said=(f"baseline written: {path}",))
    worse = tuple(compare_baseline(committed, worth_keeping(matrix)))
    said = tuple(f"worse than {path.name}: {sentence}" for sentence in worse)
    return ParityResult(matrix, worse, said, {"worse": list(worse)})

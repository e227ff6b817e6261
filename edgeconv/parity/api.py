"""``edgeconv parity`` as one library call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder, write_text
from edgeconv.judge.budget import load_budgets
from edgeconv.judge.outputs import Outputs, inputs_hash, load_folder, save_outputs
from edgeconv.parity.baseline import compare_baseline, load_baseline, save_baseline, worth_keeping
from edgeconv.parity.cells import Cell, emulated, plan
from edgeconv.parity.data import Request, check_same_inputs, gather
from edgeconv.parity.latency import REFERENCE, Latency, measure_latencies
from edgeconv.parity.layers.choose import layer_reports
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.matrix import Matrix, Samples, Settings, judge, run_cells
from edgeconv.parity.report import to_junit, to_markdown
from edgeconv.runtimes.table import ways
from edgeconv.terminal import echo


@dataclass(frozen=True)
class Extras:
    """What is done besides comparing outputs; ``bisect`` is the folder of repros.

    ``devices`` are boards, ssh://user@host.
    """

    layers: bool = False
    latency: bool = False
    bisect: Path | None = None
    emulate: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


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


def check_parity(
    artifacts: Sequence[Path],
    *,
    reference: str | None = None,
    data: str | None = None,
    count: int = 100,
    truth: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    crop: float | None = None,
    input_layout: str | None = None,
    class_offset: int = 0,
    precision: str | None = None,
    scores: Sequence[str] = (),
    threads: int = 1,
    timeout: float | None = None,
    layers: bool = False,
    bisect: Path | None = None,
    latency: bool = False,
    weights: str | None = None,
    emulate: Sequence[str] = (),
    devices: Sequence[str] = (),
    budget: Path | None = None,
    baseline: Path | None = None,
    update_baseline: bool = False,
    save_outputs: Path | None = None,
    load_outputs: Path | None = None,
    markdown: Path | None = None,
    junit: Path | None = None,
    html: Path | None = None,
) -> ParityResult:
    """Compare ``artifacts`` with their float reference in every runtime here; see the command's help.

    Raises UsageError and EdgeconvError as the rest of edgeconv does; a cell that cannot run is no
    error but a failed row.
    """
    if count < 1 or class_offset < 0:
        raise UsageError("--count must be at least 1 and --class-offset at least 0")
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, not {threads}")
    _refuse_pointless(data, {"truth": truth, "mean": mean, "std": std, "crop": crop})
    for path in artifacts:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
        ways(path)  # refuses what no runtime takes before anything else is asked for
    committed = None if baseline is None or update_baseline else load_baseline(baseline)
    request = Request(reference, data, count, truth, mean, std, crop, threads, weights)
    if weights is not None and not request.is_net:
        raise UsageError("--weights are those of a net as --reference: name one, or leave them out")
    settings = Settings(
        load_budgets(budget),
        threads,
        class_offset,
        input_layout,  # type: ignore[arg-type]
        tuple(scores) or None,
        timeout,
    )
    matrix = _run(
        list(artifacts),
        request,
        settings,
        precision,
        load_outputs,
        Extras(layers, latency, bisect, tuple(emulate), tuple(devices)),
    )
    if save_outputs is not None:
        _save(save_outputs, matrix)
    if markdown is not None:
        write_text(markdown, to_markdown(matrix))
    if junit is not None:
        write_text(junit, to_junit(matrix))
    if html is not None:
        from edgeconv.parity.page import to_html

        write_text(html, to_html(matrix))
    return _with_baseline(matrix, baseline, committed)


def _refuse_pointless(data: str | None, about: Mapping[str, object]) -> None:
    """Raise UsageError for an option about pictures where none are read: the evidence has its own."""
    for name, value in about.items():
        if value is not None and data is None:
            raise UsageError(f"--{name} is about the pictures of --data: name them too")


def _run(
    paths: list[Path],
    request: Request,
    settings: Settings,
    precision: str | None,
    loaded: Path | None,
    extras: Extras,
) -> Matrix:
    stored = load_folder(loaded) if loaded is not None else []
    if not paths:
        return _judge_stored(stored, request, settings)
    samples, reference = gather(paths, request)
    with temporary_folder() as folder:
        cells, notes = plan(paths, precision=precision, scratch=folder)
        settings, boards = _on_boards(cells, settings, extras.emulate)
        done = run_cells([*cells, *boards], samples, settings, folder)
        if extras.devices:
            done += _over_ssh(cells, extras.devices, samples, settings)
        found: dict[str, LayerReport] = {}
        times: dict[str, Latency] = {}
        if extras.layers or extras.bisect is not None:
            found, failed = layer_reports(cells, samples, settings, request, folder, extras.bisect)
            notes += failed
        if extras.latency:
            times, failed = measure_latencies(cells, settings.threads)
            notes += failed
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
    rows = tuple(
        replace(row, layers=found.get(row.label), latency=times.get(row.label))
        for row in matrix.rows
    )
    return replace(matrix, rows=rows, latency=times.get(REFERENCE))


def _on_boards(
    cells: Sequence[Cell], settings: Settings, names: Sequence[str]
) -> tuple[Settings, list[Cell]]:
    """Build each emulated board and return the settings that reach it, and its cells."""
    from edgeconv.device.emulate import BOARDS, prepare_board

    pythons: dict[str, Sequence[str]] = {}
    found: list[Cell] = []
    for name in names:
        if name not in BOARDS:
            raise UsageError(f"--emulate {name} is no board: {', '.join(BOARDS)}")
        pythons[name] = prepare_board(name)
        found += emulated(cells, name, BOARDS[name].runtimes)
    return replace(settings, pythons=pythons), found


def _over_ssh(
    cells: Sequence[Cell], devices: Sequence[str], samples: Samples, settings: Settings
) -> list[tuple[Cell, Outputs | str]]:
    """Run the artifacts on boards as well; what each is doing goes to standard error."""
    from edgeconv.cache import cache_dir
    from edgeconv.device.parity import run_on_boards
    from edgeconv.device.ssh import Connection, parse_host

    def say(text: str) -> None:
        echo(text, err=True)

    hosts = [Connection(parse_host(device)) for device in dict.fromkeys(devices)]
    return run_on_boards(cells, hosts, samples, settings, cache_dir(), say)


def _judge_stored(stored: list[Outputs], request: Request, settings: Settings) -> Matrix:
    """Compare saved outputs only: no file is run."""
    from edgeconv.parity.data import stored_samples

    reference = next((o for o in stored if o.about.get("stage") == "reference"), None)
    if request.reference is not None:
        from edgeconv.judge.outputs import load_outputs

        if not request.reference.endswith(".npz"):
            raise UsageError("--load-outputs without files needs --reference OUTPUTS.npz, if any")
        reference = load_outputs(Path(request.reference))
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

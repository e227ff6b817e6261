"""What Arm's Vela makes of a file for an Ethos-U: operators on the NPU, memory, and its own estimates."""

import contextlib
import csv
import importlib.metadata
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder
from edgeconv.isolate import call
from edgeconv.runtimes.quiet import quiet_stdout

NPUS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip
"""Vela's accelerator configurations."""

LIMIT_S = 600.0
START_S, EACH_S = 10.0, 3.0
"""What Vela may take for a file, and for each operator of it: many times what it needs, but a
damaged file, whose sizes are none, may hold it for ever."""


@dataclass(frozen=True)
class Mapping:
    """Vela's answer. ``on_cpu`` counts operators that stay off the NPU by kind, ``why`` is its reason for each
    kind's first; ``sram_kib`` and
    ``flash_kib`` are what the compiled model takes; ``cycles`` and ``estimate_ms`` are Vela's estimates for
    ``system`` and ``memory``, its default configuration, and no measurement.
    """

    npu: str
    on_npu: int
    on_cpu: dict[str, int]
    why: dict[str, str]
    sram_kib: float
    flash_kib: float
    cycles: int
    estimate_ms: float
    system: str
    memory: str
    version: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Refusal:
    """Why Vela made nothing of the file for ``npu``, in a sentence."""

    npu: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return asdict(self)


def map_to(
    path: Path, npus: Sequence[str], operators: int, custom: Sequence[str] = ()
) -> tuple[Mapping | Refusal, ...]:
    """Compile ``path`` for each of ``npus``; where Vela refuses or crashes, that is its answer.

    A file of more ``operators`` may take it longer; one with ``custom`` ones is not handed to it: Vela 5.2.0 crashes at them.
    Raises UsageError for an unknown name, MissingDependencyError where Vela is not installed.
    """
    for npu in npus:
        if npu not in NPUS:
            raise UsageError(f"--npu {npu} is unknown: {', '.join(NPUS)}")
        require("ethosu.vela", "mcu")
    if custom:
        said = f"not tried: Vela crashes at operators that are not TFLite's own, here {', '.join(custom)}"
        return tuple(Refusal(npu, said) for npu in npus)
    found: list[Mapping | Refusal] = []
    for npu in npus:
        try:
            found.append(compile_for(path, npu, min(LIMIT_S, START_S + EACH_S * operators)))
        except EdgeconvError as error:
            found.append(Refusal(npu, str(error)))
    return tuple(found)


def compile_for(path: Path, npu: str, limit_s: float = LIMIT_S) -> Mapping:
    """Compile ``path`` for ``npu`` in a child process and return what Vela says; no file is kept.

    Raises EdgeconvError where Vela refuses the file, or has not ended after ``limit_s``.
    """
    with temporary_folder() as folder:
        request = {"path": str(path.absolute()), "npu": npu, "folder": str(folder)}
        said = call("edgeconv.mcu.npu:run_vela", request, f"Vela on {path.name}", timeout_s=limit_s)
        tables = sorted(folder.glob("*_summary_*.csv"))
        if not tables:
            raise EdgeconvError(f"Vela wrote no summary for {path.name}: {_reason(said['text'])}")
        with tables[0].open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
    return read_mapping(said["text"], row, npu)


def read_mapping(text: str, row: dict[str, str], npu: str) -> Mapping:
    """Read Vela's text and the row of its summary. Raises EdgeconvError for what is not its form."""
    try:
        counts = {
            kind: int(found[1])
            for kind in ("CPU", "NPU")
            if (found := re.search(rf"{kind} operators = (\d+)", text)) is not None
        }
        on_cpu, why = left_off(text)
        return Mapping(
            npu,
            counts["NPU"],
            on_cpu,
            why,
            float(row["sram_memory_used"]),
            float(row["off_chip_flash_memory_used"]) + float(row["on_chip_flash_memory_used"]),
            int(float(row["cycles_total"])),
            1000 * float(row["inference_time"]),
            row["system_config"],
            row["memory_mode"],
            importlib.metadata.version("ethos-u-vela"),
        )
    except (KeyError, ValueError) as error:
        raise EdgeconvError(f"Vela's summary is not of the form known here: {error}") from error


def left_off(text: str) -> tuple[dict[str, int], dict[str, str]]:
    """Return how many operators of each kind stay off the NPU, and why; kinds are TFLite's where Vela names them.

    Its list of them says Passthrough for an operator that it gave up earlier, with a warning.
    """
    warned = {
        output: (kind, reason)
        for kind, output, reason in re.findall(r"operator: (\w+), ofm: '(.*)'\nReason: (.*)", text)
    }
    counts: Counter[str] = Counter()
    why: dict[str, str] = {}
    for said, output in re.findall(r"CPU: (\w+) = (.*?)(?: \(outputs .*)?$", text, re.MULTILINE):
        kind, reason = warned.get(output, (said, ""))
        counts[kind] += 1
        if reason:
            why.setdefault(kind, reason)
    return dict(counts), why


def run_vela(request: dict[str, str]) -> dict[str, str]:
    """Run in the child: compile, and return what was printed."""
    from ethosu.vela.vela import main

    words = [
        request["path"],
        "--accelerator-config",
        request["npu"],
        "--output-dir",
        request["folder"],
    ]
    code: object = 0
    with quiet_stdout() as printed, contextlib.redirect_stderr(sys.stdout):
        try:
            main([*words, "--show-cpu-operations"])
        except SystemExit as ended:
            code = ended.code
        except Exception as error:
            raise EdgeconvError(f"Vela refuses it: {' '.join(str(error).split())}") from error
    if code not in (0, None):
        raise EdgeconvError(f"Vela refuses it: {_reason(printed.text)}")
    return {"text": printed.text}


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines or ["it says nothing"])[-1]

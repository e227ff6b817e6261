"""What Arm's Vela makes of a file for an Ethos-U: operators on the NPU, memory, and its own estimates."""

import contextlib
import csv
import importlib.metadata
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder
from edgeconv.isolate import call

NPUS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip
"""Vela's accelerator configurations."""

LIMIT_S = 600.0


@dataclass(frozen=True)
class Mapping:
    """Vela's answer. ``on_cpu`` counts operators that stay off the NPU by kind; ``sram_kib`` and
    ``flash_kib`` are what the compiled model takes; ``cycles`` and ``estimate_ms`` are Vela's estimates for
    ``system`` and ``memory``, its default configuration, and no measurement.
    """

    npu: str
    on_npu: int
    on_cpu: dict[str, int]
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


def map_to(path: Path, npus: Sequence[str]) -> tuple[Mapping | Refusal, ...]:
    """Compile ``path`` for each of ``npus``; where Vela refuses or crashes, that is its answer.

    Raises UsageError for an unknown name, MissingDependencyError where Vela is not installed.
    """
    for npu in npus:
        if npu not in NPUS:
            raise UsageError(f"--npu {npu} is unknown: {', '.join(NPUS)}")
        require("ethosu.vela", "mcu")
    found: list[Mapping | Refusal] = []
    for npu in npus:
        try:
            found.append(compile_for(path, npu))
        except EdgeconvError as error:
            found.append(Refusal(npu, str(error)))
    return tuple(found)


def compile_for(path: Path, npu: str) -> Mapping:
    """Compile ``path`` for ``npu`` in a child process and return what Vela says; no file is kept.

    Raises EdgeconvError where Vela refuses the file.
    """
    with temporary_folder() as folder:
        request = {"path": str(path.absolute()), "npu": npu, "folder": str(folder)}
        said = call("edgeconv.mcu.npu:run_vela", request, f"Vela on {path.name}", timeout_s=LIMIT_S)
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
        return Mapping(
            npu,
            counts["NPU"],
            dict(Counter(re.findall(r"CPU: (\w+) =", text))),
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


def run_vela(request: dict[str, str]) -> dict[str, str]:
    """Run in the child: compile, and return what was printed."""
    from ethosu.vela.vela import main

    printed = io.StringIO()
    words = [
        request["path"],
        "--accelerator-config",
        request["npu"],
        "--output-dir",
        request["folder"],
    ]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main([*words, "--show-cpu-operations"])
        except SystemExit as ended:
            if ended.code not in (0, None):
                raise EdgeconvError(f"Vela refuses it: {_reason(printed.getvalue())}") from ended
        except Exception as error:
            raise EdgeconvError(f"Vela refuses it: {' '.join(str(error).split())}") from error
    return {"text": printed.getvalue()}


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines or ["it says nothing"])[-1]

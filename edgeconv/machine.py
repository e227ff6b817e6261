"""What this machine is: processor, cores, instructions that matter to INT8, memory, kernel, container.

Read from files only, below ``root``, so that a board can be described from a copy of its files. What
changes while a model runs (clocks, temperature, load) is in edgeconv.sensors.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeconv.system import memory_bytes, processors

ROOT = Path("/")

ARM_PARTS = {
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xc0f"): "Cortex-A15",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd48"): "Cortex-X2",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
}
"""(implementer, part) of /proc/cpuinfo -> core, from Arm's technical reference manuals (MIDR_EL1)."""

FEATURES = {
    "asimd": "neon",
    "neon": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "avx2": "avx2",
    "fma": "fma",
    "avx512f": "avx512f",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "amx_int8": "amx_int8",
}
"""The kernel's name of a processor feature -> ours, for those that decide how fast a model runs."""

INT8_DOT = ("dotprod", "i8mm", "avx_vnni", "avx512_vnni", "amx_int8")
"""Instructions that multiply and add four or more bytes at once."""


@dataclass(frozen=True)
class Cluster:
    """Processors of one kind: their numbers, the core's name and its highest clock."""

    cpus: tuple[int, ...]
    core: str
    max_mhz: float | None


@dataclass(frozen=True)
class Machine:
    """A machine as a figure has to quote it. Sizes in MiB."""

    processor: str
    board: str | None
    architecture: str
    cpus: int
    cpus_usable: float
    clusters: tuple[Cluster, ...]
    features: tuple[str, ...]
    memory_mib: int | None
    system: str
    kernel: str
    container: str | None
    hypervisor: bool
    emulated: bool
    python: str

    @property
    def int8_dot_product(self) -> bool:
        """Whether one of INT8_DOT is there."""
        return any(feature in INT8_DOT for feature in self.features)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def describe(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Machine:
    """Describe this machine, or the one whose /proc, /sys and /etc lie below ``root``."""
    blocks = _blocks(root)
    flags = {
        flag
        for block in blocks
        for key in ("flags", "Features")
        for flag in block.get(key, "").split()
    }
    machine = platform.machine()
    clusters = _clusters(root, blocks)
    cpus = len([b for b in blocks if "processor" in b]) or os.cpu_count() or 1
    kernel = platform.release()
    return Machine(
        processor=_processor(blocks, clusters),
        board=_board(root),
        architecture=machine,
        cpus=cpus,
        cpus_usable=cpus_usable(root),
        clusters=clusters,
        features=tuple(sorted({FEATURES[f] for f in flags if f in FEATURES})),
        memory_mib=_memory_mib(root),
        system=_system(root),
        kernel=kernel,
        container=_container(root, environ),
        hypervisor="hypervisor" in flags,
        emulated=is_emulated(machine, root, environ),
        python=platform.python_version(),
    )


def read(path: Path) -> str | None:
    """Return the text of a small file without its last newline and NULs, or None."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return None


def number(path: Path) -> int | None:
    """Return the integer that a file holds, or None."""
    text = read(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def cpuinfo(root: Path = ROOT) -> str:
    """Return what Linux says of the processors; nothing on other systems."""
    return read(root / "proc/cpuinfo") or ""


def _blocks(root: Path) -> list[dict[str, str]]:
    blocks = []
    for part in cpuinfo(root).split("\n\n"):
        pairs = (line.partition(":") for line in part.splitlines() if ":" in line)
        blocks.append({key.strip(): value.strip() for key, _, value in pairs})
    return [block for block in blocks if block]


def _clusters(root: Path, blocks: list[dict[str, str]]) -> tuple[Cluster, ...]:
    kinds: dict[tuple[str, float | None], list[int]] = {}
    for block in blocks:
        if not block.get("processor", "").isdigit():
            continue
        cpu = int(block["processor"])
        part = (block.get("CPU implementer", ""), block.get("CPU part", ""))
        core = ARM_PARTS.get(part) or block.get("model name") or " ".join(part).strip()
        khz = number(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq")
        kinds.setdefault((core, khz / 1000 if khz else None), []).append(cpu)
    return tuple(Cluster(tuple(cpus), core, mhz) for (core, mhz), cpus in kinds.items())


def _processor(blocks: list[dict[str, str]], clusters: tuple[Cluster, ...]) -> str:
    for block in blocks:
        if model := block.get("model name"):
            return model
    names = [f"{len(cluster.cpus)} x {cluster.core}" for cluster in clusters if cluster.core]
    return " + ".join(names) or platform.processor() or platform.machine()


def _board(root: Path) -> str | None:
    return (
        read(root / "proc/device-tree/model")
        or read(root / "sys/firmware/devicetree/base/model")
        or read(root / "sys/devices/virtual/dmi/id/product_name")
        or None
    )


def cpus_usable(root: Path = ROOT) -> float:
    """Processors that this process may use: its affinity, cut by the container's CPU quota."""
    cpus = float(len(processors()))
    quota = (read(root / "sys/fs/cgroup/cpu.max") or "max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cpus = min(cpus, int(quota[0]) / int(quota[1]))
    return cpus


def meminfo_mib(root: Path, key: str) -> int | None:
    """Return an entry of /proc/meminfo ("MemTotal", "MemAvailable"), in MiB."""
    for line in (read(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) // 1024
    return None


def _memory_mib(root: Path) -> int | None:
    total = meminfo_mib(root, "MemTotal")
    if total is None and (whole := memory_bytes()) is not None:
        return whole // 2**20
    return total


def _system(root: Path) -> str:
    for line in (read(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return f"{platform.system()} {platform.release()}"


def _container(root: Path, environ: Mapping[str, str]) -> str | None:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    groups = read(root / "proc/1/cgroup") or ""
    for word in ("kubepods", "docker", "lxc", "containerd"):
        if word in groups:
            return word
    return environ.get("container") or None


def is_emulated(machine: str, root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs another architecture's instructions (qemu-user): its latency is no figure.

    User-mode emulation hides well; what gives it away is the environment that configures it, or an
    ARM process whose kernel has an x86 interrupt controller.
    """
    if environ.get("EDGECONV_EMULATED") or environ.get("QEMU_CPU") or environ.get("QEMU_LD_PREFIX"):
        return True
    interrupts = read(root / "proc/interrupts") or ""
    arm = machine.startswith(("arm", "aarch"))
    return arm and ("IO-APIC" in interrupts or "Local timer interrupts" in interrupts)

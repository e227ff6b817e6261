"""What changes while a model runs: clocks, temperature, throttling, load, and the time stolen from us."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgeconv.machine import ROOT, cpuinfo, number, read
from edgeconv.system import ticks_per_s

THROTTLE_BITS = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
}
"""vcgencmd get_throttled (Raspberry Pi documentation): bit -> what is so now; bit + 16: has been so."""

THROTTLED_NOW = 0xF

CPU_SENSORS = ("cpu", "soc", "x86_pkg_temp", "coretemp", "k10temp", "acpitz")


@dataclass(frozen=True)
class Clock:
    """A processor's clock and its limits, MHz, and the governor that sets it."""

    cpu: int
    mhz: float | None
    min_mhz: float | None
    max_mhz: float | None
    governor: str | None


def clocks(root: Path = ROOT) -> list[Clock]:
    """Return the clock of each processor; x86 machines without cpufreq give /proc/cpuinfo's."""
    folders = sorted(
        (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"),
        key=lambda path: int(path.parent.name[3:]),
    )
    if folders:
        return [
            Clock(
                int(folder.parent.name[3:]),
                _mhz(folder / "scaling_cur_freq"),
                _mhz(folder / "scaling_min_freq"),
                _mhz(folder / "scaling_max_freq"),
                read(folder / "scaling_governor"),
            )
            for folder in folders
        ]
    lines = cpuinfo(root).splitlines()
    values = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return [Clock(cpu, mhz, None, None, None) for cpu, mhz in enumerate(values)]


def _mhz(path: Path) -> float | None:
    khz = number(path)
    return None if khz is None else khz / 1000


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the hottest processor sensor in degrees Celsius, None where there is none."""
    readings: list[float] = []
    others: list[float] = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        value = number(zone / "temp")
        if value is None:
            continue
        kind = (read(zone / "type") or "").lower()
        (readings if any(s in kind for s in CPU_SENSORS) else others).append(value / 1000)
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if (read(chip / "name") or "") in CPU_SENSORS:
            values = (number(path) for path in chip.glob("temp*_input"))
            readings.extend(v / 1000 for v in values if v is not None)
    plausible = [value for value in (readings or others) if 0 < value < 150]
    return max(plausible) if plausible else None


def throttled() -> int | None:
    """Return the bits of ``vcgencmd get_throttled``, None where that command is not there."""
    tool = shutil.which("vcgencmd")
    if tool is None:
        return None
    try:
        said = subprocess.run([tool, "get_throttled"], capture_output=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_throttled(said.stdout.decode(errors="replace"))


def parse_throttled(text: str) -> int | None:
    """Read ``throttled=0x50005``."""
    try:
        return int(text.strip().partition("=")[2], 16)
    except ValueError:
        return None


def throttle_reasons(bits: int) -> list[str]:
    """Name what the bits say is so now.

    >>> throttle_reasons(0x50005)
    ['under-voltage', 'throttled']
    """
    return [name for bit, name in THROTTLE_BITS.items() if bits >> bit & 1]


@dataclass(frozen=True)
class Ticks:
    """Seconds of processor time since boot, over all processors: doing work, and stolen by a hypervisor."""

    busy_s: float
    stolen_s: float


def ticks(root: Path = ROOT) -> Ticks | None:
    """Read the first line of /proc/stat; None where there is none."""
    fields = (read(root / "proc/stat") or "").partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    hertz = ticks_per_s()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields[1:9])
    return Ticks((user + nice + system + irq + softirq) / hertz, steal / hertz)


def process_time_s(pid: int, root: Path = ROOT) -> float:
    """Processor time of a process so far, in seconds; 0 where nothing tells."""
    fields = (read(root / f"proc/{pid}/stat") or "").rpartition(")")[2].split()
    if len(fields) < 13:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / ticks_per_s()


def thread_times_s(root: Path = ROOT) -> dict[int, float]:
    """Thread number -> seconds of processor time that this process's threads have used so far."""
    times = {}
    hertz = ticks_per_s()
    for task in (root / "proc/self/task").glob("[0-9]*"):
        precise = read(task / "schedstat")
        if precise and precise.split()[0].isdigit():
            times[int(task.name)] = int(precise.split()[0]) / 1e9
            continue
        text = read(task / "stat")
        if text:
            fields = text.rpartition(")")[2].split()
            times[int(task.name)] = (int(fields[11]) + int(fields[12])) / hertz
    return times

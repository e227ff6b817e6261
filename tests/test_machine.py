"""A machine is described from its files: here a Raspberry Pi's, laid out in a temporary folder."""

from pathlib import Path

import pytest

from edgeconv import sensors
from edgeconv.machine import describe, is_emulated

PI5_CORE = """processor\t: {cpu}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def pi5(tmp_path: Path) -> Path:
    blocks = "\n".join(PI5_CORE.format(cpu=cpu) for cpu in range(4))
    write(tmp_path / "proc/cpuinfo", blocks + "\nRevision\t: d04170\n")
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    write(tmp_path / "proc/meminfo", "MemTotal:        8256000 kB\nMemAvailable:    7000000 kB\n")
    write(tmp_path / "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    for cpu in range(4):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        for name, khz in (
            ("cpuinfo_max_freq", 2400000),
            ("scaling_cur_freq", 1500000 + cpu),
            ("scaling_min_freq", 1500000),
            ("scaling_max_freq", 2400000),
        ):
            write(folder / name, f"{khz}\n")
        write(folder / "scaling_governor", "ondemand\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "61250\n")
    write(tmp_path / "sys/class/thermal/thermal_zone1/type", "battery\n")
    write(tmp_path / "sys/class/thermal/thermal_zone1/temp", "99000\n")
    write(tmp_path / "proc/stat", "cpu  100 0 50 1000 0 0 5 7 0 0\ncpu0 1 1 1 1\n")
    return tmp_path


def test_a_pi_is_named_by_board_core_and_features(pi5: Path) -> None:
    machine = describe(pi5, environ={})
    assert machine.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.processor == "4 x Cortex-A76"
    assert machine.cpus == 4
    assert machine.features == ("dotprod", "fp16", "neon")
    assert machine.int8_dot_product
    assert machine.clusters[0].cpus == (0, 1, 2, 3)
    assert machine.clusters[0].max_mhz == 2400
    assert machine.memory_mib == 8062
    assert machine.system == "Debian GNU/Linux 12 (bookworm)"


def test_two_kinds_of_cores_are_two_clusters(pi5: Path) -> None:
    for cpu in (2, 3):
        path = pi5 / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq"
        write(path, "1800000\n")
    assert [c.cpus for c in describe(pi5, environ={}).clusters] == [(0, 1), (2, 3)]


def test_clocks_temperature_and_ticks_are_read(pi5: Path) -> None:
    clocks = sensors.clocks(pi5)
    assert [clock.cpu for clock in clocks] == [0, 1, 2, 3]
    assert (clocks[0].mhz, clocks[0].max_mhz, clocks[0].governor) == (1500, 2400, "ondemand")
    assert sensors.temperature_c(pi5) == 61.25
    ticks = sensors.ticks(pi5)
    assert ticks is not None
    assert ticks.stolen_s > 0
    assert ticks.busy_s > ticks.stolen_s


def test_a_machine_without_any_of_these_files_is_still_described(tmp_path: Path) -> None:
    machine = describe(tmp_path, environ={})
    assert machine.processor
    assert machine.cpus >= 1
    assert sensors.clocks(tmp_path) == []
    assert sensors.temperature_c(tmp_path) is None
    assert sensors.ticks(tmp_path) is None


def test_a_container_and_its_quota_are_seen(pi5: Path) -> None:
    write(pi5 / ".dockerenv", "")
    write(pi5 / "sys/fs/cgroup/cpu.max", "50000 100000\n")
    machine = describe(pi5, environ={})
    assert machine.container == "docker"
    assert machine.cpus_usable == 0.5


def test_throttling_bits_are_named() -> None:
    assert sensors.parse_throttled("throttled=0x50005\n") == 0x50005
    assert sensors.parse_throttled("nonsense") is None
    assert sensors.throttle_reasons(0x50000) == []
    assert sensors.throttle_reasons(0x2) == ["clock capped"]


def test_emulation_is_seen_by_environment_or_by_an_x86_interrupt_controller(pi5: Path) -> None:
    assert not is_emulated("aarch64", pi5, {})
    assert is_emulated("aarch64", pi5, {"QEMU_CPU": "cortex-a72"})
    write(pi5 / "proc/interrupts", " 0:  41 IO-APIC 2-edge timer\nLOC: 1 Local timer interrupts\n")
    assert is_emulated("aarch64", pi5, {})
    assert not is_emulated("x86_64", pi5, {})


def test_this_process_has_threads_with_times() -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc here")
    assert len(sensors.thread_times_s()) >= 1

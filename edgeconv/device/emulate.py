"""A Raspberry Pi's instruction set without the board: real ARM wheels under qemu's user mode.

A Debian tree with Python, its libraries and the aarch64 (or armv7l) wheels of the runtimes are
fetched by apt and pip into the cache; nothing is installed on this machine and no root is needed.
Arithmetic is exact, time is not: nothing here reports a latency.
"""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeconv.cache import cache_dir
from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.choose import on_board
from edgeconv.runtimes.table import RUNTIMES

PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgcc-s1", "libgomp1")
GLIBC = ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34", "_2_35", "_2_36")
"""Every tag must be named: pip does not infer lower ones. Debian 12 has glibc 2.36."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Board:
    """What is emulated. ``cpu`` is qemu's name, ``runtimes`` those with wheels for ``machine``."""

    name: str
    title: str
    arch: str
    machine: str
    qemu: str
    cpu: str
    features: str
    part: str
    variant: str
    runtimes: tuple[str, ...]


def _runtimes(machine: str) -> tuple[str, ...]:
    return tuple(row.name for row in on_board(machine))


BOARDS = {
    board.name: board
    for board in (
        Board(
            "pi4",
            "Raspberry Pi 4 Model B Rev 1.4",
            "arm64",
            "aarch64",
            "qemu-aarch64-static",
            "cortex-a72",
            "fp asimd evtstrm crc32 cpuid",
            "0xd08",
            "0x0",
            _runtimes("aarch64"),
        ),
        Board(
            "pi5",
            "Raspberry Pi 5 Model B Rev 1.0",
            "arm64",
            "aarch64",
            "qemu-aarch64-static",
            "cortex-a76",
            "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
            "dcpop asimddp",
            "0xd0b",
            "0x4",
            _runtimes("aarch64"),
        ),
        Board(
            "pi-32bit",
            "Raspberry Pi 2 Model B Rev 1.1",
            "armhf",
            "armv7l",
            "qemu-arm-static",
            "cortex-a7",
            "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
            "0xc07",
            "0x0",
            _runtimes("armv7l"),
        ),
    )
}
"""Boards by the name that --emulate takes."""


def prepare_board(name: str, runtime: str = "") -> list[str]:
    """Return the command that starts Python on the emulated board, building it on first use.

    About 85 s and 640 MB the first time. A ``runtime`` with packages of its own (``board_packages``)
    has only these there. Raises EdgeconvError off Debian and Ubuntu on x86-64, and where apt or pip fails.
    """
    board = BOARDS[name]
    check_host()
    folder = cache_dir() / "emulate"
    qemu = _qemu(board, folder)
    root = folder / board.arch
    if not (root / ".complete").exists():
        more = ("libatomic1", "python3-numpy") if board.arch == "armhf" else ()
        _unpack(root, board.arch, (*PACKAGES, *more), folder)
        if board.arch == "armhf":
            _link_blas(root)
        (root / ".complete").touch()
    own = runtime != "" and RUNTIMES[runtime].board_packages
    wanted = ["--no-deps", "click", *own] if own else _shared(board)
    digest = hashlib.sha256(" ".join(wanted).encode()).hexdigest()  # other versions, other folder
    site = folder / f"site-{board.machine}-{digest[:12]}"
    if not (site / ".complete").exists():
        _wheels(board, site, wanted)
        (site / ".complete").touch()
    tree = _board_tree(board, root, folder)
    return _command(board, tree, qemu, site)


def check_host() -> None:
    """Raise EdgeconvError on a machine that cannot build a board's tree."""
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing or platform.machine() not in ("x86_64", "AMD64"):
        raise EdgeconvError(
            "--emulate builds its tree with apt-get and dpkg-deb on x86-64 Debian or Ubuntu; here is "
            f"{platform.system()} on {platform.machine()}: run parity on the board itself with "
            "--save-outputs and compare here with --load-outputs"
        )


def _run(command: Sequence[str], what: str, log: Path) -> None:
    with log.open("ab") as file:
        ran = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    if ran.returncode:
        lines = [
            line
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        said = lines[-1] if lines else f"exit code {ran.returncode}"
        raise EdgeconvError(f"{what} failed: {said} (all of it: {log})")


def _qemu(board: Board, folder: Path) -> str:
    installed = shutil.which(board.qemu)
    if installed:
        return installed
    root = folder / "qemu"
    path = root / "usr" / "bin" / board.qemu
    if not path.exists():
        _unpack(root, "amd64", ("qemu-user-static",), folder)
    return str(path)


def _unpack(root: Path, arch: str, packages: Sequence[str], folder: Path) -> None:
    """Fetch packages and what they depend on with an apt state of our own, and unpack them."""
    state = folder / f"apt-{arch}"
    shutil.rmtree(state, ignore_errors=True)
    for part in ("state/lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True)
    root.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    log = folder / f"apt-{arch}.log"
    log.unlink(missing_ok=True)
    options = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        **_sources(state),
    }
    apt = ["apt-get", "-q", *(item for k, v in options.items() for item in ("-o", f"{k}={v}"))]
    with log.open("ab") as file:  # a mirror in the middle of a sync fails one index only
        subprocess.run([*apt, "update"], stdout=file, stderr=subprocess.STDOUT)
    _run([*apt, "install", "-y", "--download-only", *packages], f"apt-get for {arch}", log)
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], f"unpacking {package.name}", log)
    shutil.rmtree(state)


def _sources(state: Path) -> dict[str, Path | str]:
    """Return apt's own sources on Debian 12, and Debian 12's where this host is something else."""
    release = Path("/etc/os-release")
    if release.is_file() and "VERSION_CODENAME=bookworm" in release.read_text(encoding="utf-8"):
        return {}
    if not KEYRING.is_file():
        raise EdgeconvError(
            "--emulate unpacks Debian 12 and checks its signature: sudo apt-get install "
            "debian-archive-keyring"
        )
    listing = state / "sources.list"
    source = f"deb [signed-by={KEYRING}] http://deb.debian.org/debian bookworm main\n"
    listing.write_bytes(source.encode())
    return {"Dir::Etc::SourceList": listing, "Dir::Etc::SourceParts": "/dev/null"}


def _link_blas(root: Path) -> None:
    """Do what update-alternatives would: no maintainer script ran."""
    libraries = root / "usr" / "lib" / "arm-linux-gnueabihf"
    for name in ("blas/libblas.so.3", "lapack/liblapack.so.3"):
        link = libraries / Path(name).name
        if not link.is_symlink():
            link.symlink_to(name)


def _shared(board: Board) -> list[str]:
    """Return what pip finds for the runtimes that share a folder, in this machine's versions."""
    rows = [RUNTIMES[name] for name in board.runtimes]
    wanted = [_same_version(row.packages[0]) for row in rows if not row.board_packages]
    # tflite-runtime was built for numpy 1, and one folder serves all three runtimes
    more = ["--no-deps", "flatbuffers"] if board.arch == "armhf" else ["numpy==1.26.4"]
    return ["click", *wanted, *more]


def _wheels(board: Board, site: Path, wanted: Sequence[str]) -> None:
    """Fetch the wheels that the board's own pip would."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    tags = [f"manylinux{level}_{board.machine}" for level in GLIBC]
    platforms = [item for tag in tags for item in ("--platform", tag)]
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",
        "--target",
        str(site),
    ]
    command += [*platforms, "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", "3.11", *wanted]
    _run(command, f"pip for {board.machine}", site.with_suffix(".log"))


def _same_version(package: str) -> str:
    """Pin a runtime to the version here: what differs is then the processor."""
    try:
        return f"{package}=={importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _board_tree(board: Board, root: Path, folder: Path) -> Path:
    """Return the board's own copy of the tree: hard links, and /proc and /sys as the board has them.

    onnxruntime's cpuinfo crashes on an x86 /proc/cpuinfo; qemu looks in the tree first.
    """
    tree = folder / board.name
    if not (tree / ".complete").exists():
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(root, tree, symlinks=True, copy_function=os.link)
        (tree / ".complete").unlink()  # a link to the root's: made again once the rest is there
        for path, text in _board_files(board).items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(text.encode())
        (tree / ".complete").touch()
    return tree


def _board_files(board: Board) -> Mapping[str, str]:
    processor = "".join(
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {board.features}\n"
        f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: {board.variant}\n"
        f"CPU part\t: {board.part}\nCPU revision\t: 1\n\n"
        for number in range(4)
    )
    files = {
        "proc/cpuinfo": f"{processor}Model\t\t: {board.title}\n",
        "proc/device-tree/model": f"{board.title}\0",
    }
    cpus = "sys/devices/system/cpu"
    files |= {f"{cpus}/{name}": "0-3\n" for name in ("possible", "present", "online")}
    for number in range(4):
        topology = f"{cpus}/cpu{number}/topology"
        files[f"{topology}/physical_package_id"] = "0\n"
        files[f"{topology}/core_id"] = f"{number}\n"
        files[f"{topology}/cluster_cpus_list"] = "0-3\n"
    return files


def _command(board: Board, tree: Path, qemu: str, site: Path) -> list[str]:
    paths = [site]
    if board.arch == "armhf":
        paths.append(tree / "usr" / "lib" / "python3" / "dist-packages")
    settings = {
        "QEMU_CPU": board.cpu,
        "QEMU_LD_PREFIX": str(tree),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONPYCACHEPREFIX": str(site.with_name(f"pycache-{board.machine}")),
    }
    assigned = [f"{key}={value}" for key, value in settings.items()]
    return ["env", "-u", "PYTHONHOME", *assigned, qemu, str(tree / "usr" / "bin" / "python3.11")]

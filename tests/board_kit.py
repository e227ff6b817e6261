"""A Raspberry Pi 4 or 5 behind SSH on loopback: an arm64 OpenSSH server in a tree that qemu's user mode runs.

The tree is edgeconv.device.emulate's, with a server, a shell and a Pi's files in it. Root, apt and
binfmt_misc are needed; nothing stays mounted or registered. Every figure of it is an emulated one.
"""

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeconv.cache import cache_dir
from edgeconv.device import emulate
from edgeconv.device.ssh import Connection, Host
from edgeconv.errors import EdgeconvError

PACKAGES = ("openssh-server", "openssh-sftp-server", "bash", "dash", "coreutils", "util-linux", "base-files")  # fmt: skip
BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = "edgeconv-test-aarch64"
USERS = {"pi": 1000, "small": 1001}
"""The second one's home is a disk of SMALL bytes."""
SMALL = 400_000

PASSWD = "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/host
PidFile none
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin no
SetEnv QEMU_CPU={cpu} PATH=/usr/local/bin:/usr/bin:/bin
"""

SSH_CONFIG = """Host wrong-key
 IdentityFile {keys}/stranger
Host unknown
 UserKnownHostsFile {keys}/none
Host small
 User small
Host off
 Port 9
Host *
 HostName 127.0.0.1
 Port {port}
 User pi
 IdentitiesOnly yes
 UserKnownHostsFile {keys}/known
Host * !wrong-key
 IdentityFile {keys}/user
"""
"""The board is raspberrypi, or any other name; wrong-key, unknown, small and off are it with a fault."""


def pi_files(board: emulate.Board) -> Mapping[str, str]:
    """A Pi's clocks, thermal zone and firmware tool beside what emulate puts into /proc and /sys."""
    files = dict(emulate._board_files(board))
    for number in range(4):
        folder = f"sys/devices/system/cpu/cpu{number}/cpufreq"
        limits = {"cur": 1_800_000, "min": 600_000, "max": 1_800_000}
        files |= {f"{folder}/scaling_{name}_freq": f"{khz}\n" for name, khz in limits.items()}
        files[f"{folder}/cpuinfo_max_freq"] = "1800000\n"
        files[f"{folder}/scaling_governor"] = "ondemand\n"
    files["sys/class/thermal/thermal_zone0/type"] = "cpu-thermal\n"
    files["sys/class/thermal/thermal_zone0/temp"] = "51121\n"
    return files


def why_not() -> str | None:
    """Say what keeps the emulated board from running here; None where nothing does."""
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return "the emulated board needs x86-64 Linux"
    if os.geteuid() != 0:
        return "the emulated board needs root: chroot, mount and binfmt_misc"
    for tool in ("apt-get", "dpkg-deb", "ssh", "ssh-keygen", "unshare", "chroot"):
        if shutil.which(tool) is None:
            return f"the emulated board needs {tool}"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        return "the emulated board needs the right to mount"
    return None


@contextmanager
def aarch64_runs(qemu: Path) -> Iterator[None]:
    """Let the kernel start aarch64 programs by ``qemu`` meanwhile."""
    mounted = (BINFMT / "register").exists()
    if not mounted:
        mount = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("binfmt_misc cannot be mounted here")
    known = [p for p in BINFMT.iterdir() if "aarch64" in p.name]
    if not known:
        magic = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        try:  # F: the interpreter is opened now, so that it is found inside the chroot
            (BINFMT / "register").write_bytes(f":{ENTRY}:M::{magic}:{mask}:{qemu}:OPF".encode())
        except OSError as error:
            pytest.skip(f"binfmt_misc takes no entry here: {error}")
    try:
        yield
    finally:
        if not known:
            (BINFMT / ENTRY).write_text("-1")
        if not mounted:
            subprocess.run(["umount", str(BINFMT)], check=True)


class EmulatedPi:
    """The server. ``keys`` holds user (known there), stranger, known_hosts; ``log`` what sshd says."""

    def __init__(self, keys: Path, board: str) -> None:
        self.keys = keys
        self.board = emulate.BOARDS[board]
        self.folder = cache_dir() / "emulate"
        self.qemu = Path(emulate._qemu(self.board, self.folder)).resolve()
        self.interpreter = self.qemu.parents[1] / "libexec/qemu-binfmt/aarch64-binfmt-P"
        self.tree = self.folder / ("ssh-board" if board == "pi4" else f"ssh-board-{board}")
        if not (self.tree / ".complete").exists():
            shutil.rmtree(self.tree, ignore_errors=True)
            emulate._unpack(self.tree, self.board.arch, (*emulate.PACKAGES, *PACKAGES), self.folder)
            (self.tree / ".complete").touch()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._furnish()
        self.process: subprocess.Popen[bytes] | None = None

    def home(self, user: str = "pi") -> Path:
        """A user's home, as seen from here (that of small only inside the server's own mounts)."""
        return self.tree / "home" / user

    def _furnish(self) -> None:
        for name in ("user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.keys / name)], check=True)  # fmt: skip
        for folder in ("proc", "dev", "run/sshd", "tmp", "root", "etc/ssh", "etc/qemu-binfmt"):
            (self.tree / folder).mkdir(parents=True, exist_ok=True)
        (self.tree / "tmp").chmod(0o1777)
        prefix = self.tree / "etc/qemu-binfmt/aarch64"  # where qemu looks first, of itself
        shutil.rmtree(prefix, ignore_errors=True)
        shutil.rmtree(self.tree / "sys", ignore_errors=True)
        for name, text in pi_files(self.board).items():
            path = (prefix if name.startswith("proc") else self.tree) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        tool = self.tree / "usr/bin/vcgencmd"
        tool.write_text("#!/bin/sh\necho throttled=0x0\n")
        tool.chmod(0o755)
        python = self.tree / "usr/bin/python3"
        python.unlink(missing_ok=True)
        python.symlink_to("python3.11")
        self._accounts()

    def _accounts(self) -> None:
        etc = self.tree / "etc"
        lines = [f"{n}:x:{i}:{i}::/home/{n}:/bin/sh\n" for n, i in USERS.items()]
        (etc / "passwd").write_text(PASSWD + "".join(lines))
        groups = [f"{n}:x:{i}:\n" for n, i in USERS.items()]
        (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n" + "".join(groups))
        (etc / "shadow").write_text(
            "".join(f"{n}:*:19000:0:99999:7:::\n" for n in ("root", *USERS))
        )
        host = etc / "ssh/host"
        for path in (host, host.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host)], check=True)
        text = CONFIG.format(port=self.port, cpu=self.board.cpu)
        text += "AuthorizedKeysFile /etc/ssh/authorized\nStrictModes no\n"
        (etc / "ssh/sshd_config").write_text(text)
        shutil.copy(self.keys / "user.pub", etc / "ssh/authorized")
        kind, key = host.with_suffix(".pub").read_text().split()[:2]
        (self.keys / "known").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        for user, number in USERS.items():
            shutil.rmtree(self.home(user), ignore_errors=True)
            self.home(user).mkdir(parents=True)
            os.chown(self.home(user), number, number)

    def start(self) -> None:
        """Start the server in mounts of its own and wait until it listens."""
        small, number = self.home("small"), USERS["small"]
        steps = [
            "mount --make-rprivate /",
            f"mount -t proc proc {self.tree}/proc",
            f"mount --rbind /dev {self.tree}/dev",
            f"mount -t tmpfs -o size={SMALL},uid={number},gid={number} tmpfs {small}",
            f"export QEMU_CPU={self.board.cpu}",
            f"exec chroot {self.tree} /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config",
        ]
        with (self.keys / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", " && ".join(steps)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        said = (self.keys / "sshd.log").read_text(errors="replace").strip()
        pytest.skip(f"the emulated sshd does not start here: {said[-300:]}")

    def pull_the_plug(self) -> None:
        """End the server and every connection it holds, but nothing that runs there besides."""
        if self.process is None:
            return
        doomed = [self.process.pid]
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
                command = path.with_name("cmdline").read_bytes()
            except OSError:
                continue
            if b"sshd" in command and int(fields[1]) in doomed:
                doomed.append(int(path.parent.name))
        for number in reversed(sorted(doomed)):
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None

    def be_known(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the user an ssh of SSH_CONFIG, in ``folder``."""
        config, tool = folder / "ssh_config", folder / "bin" / "ssh"
        config.write_text(SSH_CONFIG.format(port=self.port, keys=self.keys))
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")

    def connection(self, key: str = "user", known: str = "known", user: str = "pi") -> Connection:
        """A connection that reads none of this machine's own ssh files."""
        return Connection(Host("127.0.0.1", user, self.port), self.options(key, known))

    def options(self, key: str = "user", known: str = "known") -> tuple[str, ...]:
        """Arguments for ssh."""
        files = f"UserKnownHostsFile={self.keys}/{known}"
        return ("-F", "none", "-i", f"{self.keys}/{key}", "-o", "IdentitiesOnly=yes", "-o", files)


@contextmanager
def emulated_pi(keys: Path, board: str = "pi4") -> Iterator[EmulatedPi]:
    """Run the board of ``emulate.BOARDS``; skip, by name, where that cannot be."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    try:
        pi = EmulatedPi(keys, board)
    except EdgeconvError as error:
        pytest.skip(f"the emulated board cannot be built here: {error}")
    with aarch64_runs(pi.interpreter):
        pi.start()
        try:
            yield pi
        finally:
            pi.pull_the_plug()

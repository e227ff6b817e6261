"""A board made ready: our code and the runtimes below one folder there, only what changed copied."""

import json
import re
import shlex
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.bench.read import MACHINE
from edgeconv.device.payload import archive, digest, sources, zipped
from edgeconv.device.ssh import Connection
from edgeconv.device.wheels import Platform, resolve
from edgeconv.errors import EdgeconvError
from edgeconv.files import model_files, sha256
from edgeconv.schema import (
    Check,
    Misfit,
    checked,
    items,
    maybe,
    number,
    one_of,
    parse_json,
    table,
    text,
    whole,
)

BASE = '"${XDG_CACHE_HOME:-$HOME/.cache}/edgeconv-device"'
"""The folder there, as the board's shell reads it. Everything of ours lies below it."""

ASK = """import json, os, platform, shutil, sys, time
base = sys.argv[1]
there = base
while not os.path.isdir(there):
    there = os.path.dirname(there) or "/"
def dead(name):
    try:
        os.kill(int(name.rpartition(".")[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, ValueError):
        pass
    return False
def names(*parts):
    folder = os.path.join(base, *parts)
    found = os.listdir(folder) if os.path.isdir(folder) else []
    for path in [os.path.join(folder, n) for n in found if ".part." in n and dead(n)]:
        shutil.rmtree(path, True) if os.path.isdir(path) else os.unlink(path)
    return [n for n in found if ".part." not in n]
def ended(job):
    try:
        with open(os.path.join(job, "session")) as file:
            return dead("." + file.read().strip())
    except OSError:
        return True
def newest(job):
    return max(os.stat(p).st_mtime for p in [job, *(os.path.join(job, n) for n in os.listdir(job))])
for job in [os.path.join(base, "jobs", n) for n in names("jobs")]:
    if ended(job) and time.time() - newest(job) > 86400:
        shutil.rmtree(job, True)
print(json.dumps({"architecture": platform.machine(), "python": "%d.%d" % sys.version_info[:2],
 "bits": 64 if sys.maxsize > 2**32 else 32, "free_mib": shutil.disk_usage(there).free >> 20,
 "system": platform.platform(), "there": [*names(), *names("wheels"), *names("files")]}))
"""
"""For any Python 3: a board with too old a one is told so. What a broken connection left
half there goes, and a day later the jobs whose results nobody fetched."""


def _formed(pattern: str, what: str) -> Check:
    """Take a text of that form: folders here are called by it."""

    def check(value: Any, field: str) -> str:
        if not re.fullmatch(pattern, text(value, field)):
            raise Misfit(f"{field} is no {what}")
        return str(value)

    return check


ASKED = table(
    {
        "architecture": _formed(r"[A-Za-z0-9_-]{1,32}", "processor"),
        "python": _formed(r"[0-9]{1,3}\.[0-9]{1,3}", "version"),
        "bits": one_of(32, 64),
        "free_mib": whole(),
        "system": text,
        "there": items(text),
    }
)
DESCRIBED = table(
    {
        "machine": MACHINE,
        "throttled": maybe(whole(0)),
        "temperature_c": maybe(number()),
        "load": maybe(number()),
        "clocks": items(
            table({"mhz": maybe(number()), "max_mhz": maybe(number()), "governor": maybe(text)})
        ),
    }
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Board:
    """What a board says of itself. ``free_mib`` is of the disk that our folder there is on.

    ``there`` names what has been copied already: code, wheels and files by their hashes.
    """

    platform: Platform
    system: str
    free_mib: int
    there: set[str] = field(default_factory=set)


def ask(connection: Connection) -> Board:
    """Ask a board for its processor, Python and free space.

    Raises EdgeconvError where it has no Python 3.11 or later.
    """
    said = connection.run(f"python3 - {BASE}", ASK.encode(), timeout_s=120.0)
    data = answer(connection, said, ASKED)
    version = tuple(int(part) for part in data["python"].split("."))
    if version < (3, 11):
        raise EdgeconvError(
            f"{connection.host.target} has Python {data['python']}; edgeconv needs 3.11 or later"
        )
    architecture = data["architecture"]
    if architecture == "aarch64" and data["bits"] == 32:
        architecture = "armv7l"  # a 32-bit system under a 64-bit kernel
    return Board(
        Platform(architecture, data["python"]), data["system"], data["free_mib"], set(data["there"])
    )


def answer(connection: Connection, said: bytes, check: Check) -> dict[str, Any]:
    """Return the JSON object that a command there printed, whatever its shell says around it.

    Raises EdgeconvError naming the board where there is none, or not what ``check`` takes.
    """
    lines = [line for line in said.splitlines() if line.strip()[:1] == b"{"]
    if not lines:
        raise EdgeconvError(f"{connection.host.target}: no python3 answers there")
    what = f"what {connection.host.target} answers"
    found: dict[str, Any] = checked(parse_json(lines[-1], f"{what} is no JSON"), check, what)
    return found


LOADER = """import json, sys, types
sources = json.loads(sys.argv[1])
for name, text in sources.items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(text, module.__dict__)
system, machine, sensors = (sys.modules["edgeconv." + n] for n in ("system", "machine", "sensors"))
from dataclasses import asdict
print(json.dumps({"machine": machine.describe().to_json(), "throttled": sensors.throttled(),
 "temperature_c": sensors.temperature_c(), "load": system.load_average(),
 "clocks": [asdict(clock) for clock in sensors.clocks()]}))
"""


def describe(connection: Connection) -> dict[str, Any]:
    """Return what edgeconv.machine and edgeconv.sensors say of a board, without copying a file there.

    Keys: machine, clocks, temperature_c, throttled (bits, None without vcgencmd), load.
    """
    from edgeconv import machine, sensors, system

    texts = {
        module.__name__: Path(str(module.__file__)).read_text(encoding="utf-8")
        for module in (system, machine, sensors)
    }
    command = f"python3 - {shlex.quote(json.dumps({'edgeconv': '', **texts}))}"
    return answer(connection, connection.run(command, LOADER.encode(), timeout_s=120.0), DESCRIBED)


def setup(
    connection: Connection,
    board: Board,
    runtimes: Sequence[str],
    cache: Path,
    say: Say,
    fresh: bool = False,
) -> str:
    """Copy code and wheels that are not there yet; return the PYTHONPATH there (for its shell).

    Wheels are resolved here, so the board needs no network; ``fresh`` asks the package index again
    where an earlier answer is kept. Raises EdgeconvError where they cannot be had or the disk is
    full.
    """
    code = zipped(sources())
    source = f"src-{digest(code)[:16]}"
    if source not in board.there:
        say(f"{connection.host.target}: copying code ({len(code) / 1e6:.1f} MB)")
        _unpack(connection, [(source, code)])
        board.there.add(source)
    wheels = resolve(runtimes, board.platform, cache / "wheels", fresh, _named(connection, say))
    missing = [wheel for wheel in wheels if wheel.stem not in board.there]
    if missing:
        _copy_wheels(connection, board, missing, say)
    return ":".join([f"{BASE}/{source}", *(f"{BASE}/wheels/{shlex.quote(w.stem)}" for w in wheels)])


def _named(connection: Connection, say: Say) -> Say:
    return lambda text: say(f"{connection.host.target}: {text}")


def _unpack(connection: Connection, zips: Sequence[tuple[str, bytes]]) -> None:
    """Unpack each zip into the folder of its name below BASE, by way of a temporary one."""
    command = f"python3 -c {shlex.quote(UNPACK)} {BASE} {len(zips)}"
    connection.run(command, archive(zips), timeout_s=1800.0)


def _receive(path: str, size: int) -> str:
    """Return shell words that write standard input to ``path``, and fail where it is not ``size`` bytes long.

    A connection that breaks looks like the end of the file there.
    """
    return (
        f'cat > {path}; [ "$(wc -c < {path})" -eq {size} ] ||'
        " { echo 'the copy broke off in the middle' >&2; exit 1; };"
    )


UNPACK = """import io, os, shutil, sys, tarfile, zipfile
base, wanted = sys.argv[1], int(sys.argv[2])
def names(*parts):
    folder = os.path.join(base, *parts)
    return os.listdir(folder) if os.path.isdir(folder) else []
def unpack(name, data):
    folder = os.path.join(base, name)
    part = folder + ".part.%d" % os.getpid()
    try:
        zipfile.ZipFile(io.BytesIO(data)).extractall(part)
        os.rename(part, folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if not os.path.isdir(folder):
            sys.exit(str(error))
    if name.startswith("src-") and not names("jobs"):
        for old in names():
            if old.startswith("src-") and ".part." not in old and old != name:
                shutil.rmtree(os.path.join(base, old), True)
try:
    for member in (tar := tarfile.open(fileobj=sys.stdin.buffer, mode="r|")):
        unpack(member.name, tar.extractfile(member).read())
        wanted -= 1
except tarfile.TarError:
    pass
if wanted:
    sys.exit("the copy broke off in the middle")
"""
"""Unpacks a tar of so many zip files (wheels are such, and our code is sent as one) below its argument.

The board's Python does it, as pip may be absent. A connection that breaks looks like the end of the tar there. Older code goes
unless a job may be running it."""


def _copy_wheels(connection: Connection, board: Board, wheels: Sequence[Path], say: Say) -> None:
    target = connection.host.target
    packed = sum(wheel.stat().st_size for wheel in wheels)
    opened = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            opened += sum(item.file_size for item in content.infolist())
    if opened >> 20 >= board.free_mib:
        raise EdgeconvError(
            f"{target}: its disk is full: {wheels[0].name.partition('-')[0]} and what it needs take"
            f" {opened >> 20} MiB, {board.free_mib} MiB are free"
        )
    say(f"{target}: copying {len(wheels)} wheels ({packed / 1e6:.1f} MB)")
    _unpack(connection, [(f"wheels/{wheel.stem}", wheel.read_bytes()) for wheel in wheels])
    board.there.update(wheel.stem for wheel in wheels)


def put_files(
    connection: Connection, board: Board, paths: Sequence[Path], folder: str, say: Say
) -> list[str]:
    """Copy files into the store there unless their content is there; link them into ``folder``.

    Returns their paths there, for the board's shell. What a file is a model with goes along.
    """
    links = [f"mkdir -p {folder}"]
    targets = [f"{folder}/{shlex.quote(path.name)}" for path in paths]
    for path in (file for given in paths for file in model_files(given)):
        name = sha256(path)
        stored = f"{BASE}/files/{name}"
        if name not in board.there:
            size = path.stat().st_size
            say(f"{connection.host.target}: copying {path.name} ({size / 1e6:.1f} MB)")
            part = f"{stored}.part.$$"
            connection.run(
                f"set -e; mkdir -p {BASE}/files; trap 'rm -f {part}' EXIT; {_receive(part, size)}"
                f" mv {part} {stored}",
                path.read_bytes(),
                timeout_s=1800.0,
            )
            board.there.add(name)
        links.append(f"ln -sf {stored} {folder}/{shlex.quote(path.name)}")
    connection.run(" && ".join(links), timeout_s=60.0)
    return targets

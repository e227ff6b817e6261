"""A board made ready: our code and the runtimes below one folder there, only what changed copied."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.device.payload import archive, digest, sources
from edgeconv.device.ssh import Connection
from edgeconv.device.wheels import Platform, download, requirements
from edgeconv.errors import EdgeconvError

BASE = '"${XDG_CACHE_HOME:-$HOME/.cache}/edgeconv-device"'
"""The folder there, as the board's shell reads it. Everything of ours lies below it."""

ASK = """python3 - <<'PY'
import json, os, platform, shutil, sys
home = os.path.expanduser("~")
print(json.dumps({"architecture": platform.machine(), "python": "%d.%d" % sys.version_info[:2],
 "bits": 64 if sys.maxsize > 2**32 else 32, "free_mib": shutil.disk_usage(home).free >> 20,
 "system": platform.platform()}))
PY"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Board:
    """What a board says of itself before anything is copied. ``free_mib`` is of the home's disk."""

    platform: Platform
    system: str
    free_mib: int


def ask(connection: Connection) -> Board:
    """Ask a board for its processor, Python and free space.

    Raises EdgeconvError where it has no Python 3.11 or later.
    """
    said = connection.run(ASK, timeout_s=120.0)
    try:
        data: dict[str, Any] = json.loads(said.decode().strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise EdgeconvError(f"{connection.host.target}: no python3 answers there") from error
    version = tuple(int(part) for part in data["python"].split("."))
    if version < (3, 11):
        raise EdgeconvError(
            f"{connection.host.target} has Python {data['python']}; edgeconv needs 3.11 or later"
        )
    architecture = data["architecture"]
    if architecture == "aarch64" and data["bits"] == 32:
        architecture = "armv7l"  # a 32-bit system under a 64-bit kernel
    return Board(Platform(architecture, data["python"]), data["system"], data["free_mib"])


def setup(
    connection: Connection, board: Board, runtimes: Sequence[str], cache: Path, say: Say
) -> str:
    """Copy code and wheels that are not there yet; return the PYTHONPATH there (for its shell).

    Wheels are resolved here, so the board needs no network. Raises EdgeconvError where they cannot
    be had or the disk is full.
    """
    code = archive(sources())
    source = f"src-{digest(code)[:16]}"
    _unpack(connection, source, code, "tar -xf - -C", say, "code")
    paths = [source]
    for runtime in runtimes:
        names = requirements([runtime], board.platform)
        site = f"site-{runtime}-{digest(' '.join(names).encode())[:8]}-py{board.platform.python}"
        paths.append(site)
        if _there(connection, site):
            continue
        say(f"{connection.host.target}: resolving {runtime} for {board.platform.architecture}")
        folder = (
            cache / "wheels" / f"{board.platform.architecture}-{board.platform.python}-{runtime}"
        )
        wheels = download([runtime], board.platform, folder)
        data = archive([(wheel.name, wheel.read_bytes()) for wheel in wheels])
        _unpack(connection, site, data, "python3 -c " + shlex.quote(UNPACK), say, runtime)
    return ":".join(f"{BASE}/{path}" for path in paths)


UNPACK = (
    "import sys,tarfile,io,zipfile\n"
    "for m in (t:=tarfile.open(fileobj=sys.stdin.buffer,mode='r|')):\n"
    " zipfile.ZipFile(io.BytesIO(t.extractfile(m).read())).extractall(sys.argv[1])"
)
"""Unpacks a tar of wheels into its argument: wheels are zip files, and pip may be absent."""


def _there(connection: Connection, name: str) -> bool:
    said = connection.run(f"[ -d {BASE}/{name} ] && echo yes || echo no", timeout_s=60.0)
    return said.strip() == b"yes"


def _unpack(
    connection: Connection, name: str, data: bytes, command: str, say: Say, what: str
) -> None:
    """Unpack ``data`` into a folder there by way of a temporary one, unless it is there."""
    if _there(connection, name):
        return
    say(f"{connection.host.target}: copying {what} ({len(data) / 1e6:.1f} MB)")
    part = f"{BASE}/{name}.part.$$"
    connection.run(
        f"set -e; mkdir -p {part}; trap 'rm -rf {part}' EXIT; {command} {part};"
        f" mv -T {part} {BASE}/{name} 2>/dev/null || [ -d {BASE}/{name} ]",
        data,
        timeout_s=1800.0,
    )


def put_file(connection: Connection, path: Path, folder: str, say: Say) -> str:
    """Copy a file into the store there unless its content is there; link it into ``folder``.

    Returns its path there, for the board's shell.
    """
    data = path.read_bytes()
    stored = f"{BASE}/files/{digest(data)}"
    said = connection.run(f"[ -f {stored} ] && echo yes || echo no", timeout_s=60.0)
    if said.strip() != b"yes":
        say(f"{connection.host.target}: copying {path.name} ({len(data) / 1e6:.1f} MB)")
        connection.run(
            f"set -e; mkdir -p {BASE}/files; cat > {stored}.part.$$; mv {stored}.part.$$ {stored}"
            f" || {{ rm -f {stored}.part.$$; exit 1; }}",
            data,
            timeout_s=1800.0,
        )
    target = f"{folder}/{shlex.quote(path.name)}"
    connection.run(f"mkdir -p {folder} && ln -sf {stored} {target}", timeout_s=60.0)
    return target

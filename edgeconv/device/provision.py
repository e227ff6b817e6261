"""What a board is given: our code, the wheels of runtimes and files, below one folder there, only what changed."""

import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgeconv.device.board import BASE, Board, Say
from edgeconv.device.payload import archive, digest, sources, zipped
from edgeconv.device.ssh import Connection
from edgeconv.device.wheels import resolve
from edgeconv.errors import EdgeconvError
from edgeconv.files import model_files, sha256


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

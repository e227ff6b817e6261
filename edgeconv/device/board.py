"""What a board says of itself, and where on it everything of ours lies."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.bench.read import MACHINE
from edgeconv.device.ssh import Connection
from edgeconv.device.wheels import Platform
from edgeconv.errors import EdgeconvError
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

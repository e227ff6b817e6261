"""An Android phone by the system's own adb, in the place of a board by SSH. Not tried on a phone."""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from edgeconv.errors import EdgeconvError

FOLDER = "/data/local/tmp"
"""Where adb's shell may write and run files on Android; a Python unpacked to python/ there is found."""

PREPARE = (
    f'export PATH="$PATH:{FOLDER}/python/bin"; '
    f'[ -w "$HOME" ] && [ "$HOME" != / ] || export HOME={FOLDER}; '
)
"""Android's shell has / for a home, which nobody can write."""

LOST = ("error: ", "adb: ")
"""How adb begins what it says of the connection itself."""
SERVER = "* "
"""How it begins what it says of its own server, which its first call starts."""


@dataclass(frozen=True)
class Phone:
    """A device by the ``serial`` that ``adb devices`` lists."""

    serial: str

    @property
    def target(self) -> str:
        """Its serial."""
        return self.serial

    def arguments(self, command: str, options: Sequence[str]) -> list[str]:
        """Return the call of adb that runs a shell command there. Raises EdgeconvError without adb.

        -T hands bytes through as they are, and the exit code comes back.
        """
        if shutil.which("adb") is None:
            raise EdgeconvError("--device adb://SERIAL needs adb: apt install adb")
        there = f"exec sh -c {shlex.quote(PREPARE + command)}"
        return ["adb", "-s", self.serial, "shell", "-T", *options, there]

    def is_lost(self, code: int, said: str) -> bool:
        """Whether adb says of itself what is wrong."""
        lines = [line for line in said.splitlines() if not line.startswith(SERVER)]
        return code != 0 and bool(lines) and lines[0].startswith(LOST)

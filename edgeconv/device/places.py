"""Boards as places for parity: emulated by qemu, or reached over SSH."""

from collections.abc import Sequence
from pathlib import Path

from edgeconv.cache import cache_dir
from edgeconv.device.emulate import BOARDS, check_host, prepare_board
from edgeconv.device.parity import run_on_boards
from edgeconv.device.ssh import Connection, parse_host
from edgeconv.errors import UsageError
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.cells import Cell, elsewhere
from edgeconv.parity.matrix import Samples, Settings
from edgeconv.parity.places import Found, Here, Place
from edgeconv.runtimes.table import BOARD_SUFFIXES, RUNTIMES, off_board
from edgeconv.terminal import echo


class EmulatedBoard:
    """A Raspberry Pi under qemu: its wheels run the files, each in every runtime that it has.

    Raises UsageError for an unknown name, EdgeconvError where this machine cannot emulate.
    """

    def __init__(self, name: str) -> None:
        if name not in BOARDS:
            raise UsageError(f"--emulate {name} is no board: {', '.join(BOARDS)}")
        check_host()
        self.name = name

    def run(
        self, cells: Sequence[Cell], samples: Samples, settings: Settings, scratch: Path
    ) -> Found:
        """Build the board on first use, and run the files in its Python; raises UsageError where it runs none."""
        suffixes = {c.path.suffix.lower() for c in cells if c.stage in PRECISIONS}
        known = {s for runtime in BOARDS[self.name].runtimes for s in RUNTIMES[runtime].suffixes}
        if not suffixes & known:
            runs = off_board(tuple(s for s in BOARD_SUFFIXES if s in known))
            raise UsageError(f"--emulate {self.name}: none of the files runs there: {runs}")
        where, asked = f"{self.name} (emulated)", {cell.runtime for cell in cells}
        mine: list[Cell] = []
        for runtime in BOARDS[self.name].runtimes:
            row = RUNTIMES[runtime]
            if suffixes & set(row.suffixes) and (not row.asked or runtime in asked):
                python = tuple(prepare_board(self.name, runtime))
                mine += elsewhere(cells, self.name, [runtime], where, python)
        return Here().run(mine, samples, settings, scratch)


class SshBoards:
    """Boards, ssh://user@host, which run the files side by side; what each does goes to standard error."""

    def __init__(self, devices: Sequence[str]) -> None:
        self.hosts = [parse_host(device) for device in dict.fromkeys(devices)]

    def run(
        self, cells: Sequence[Cell], samples: Samples, settings: Settings, scratch: Path
    ) -> Found:
        """Copy files and pictures there, run them, and fetch the outputs."""
        del scratch

        def say(text: str) -> None:
            echo(text, err=True)

        connections = [Connection(host) for host in self.hosts]
        return run_on_boards(cells, connections, samples, settings, cache_dir(), say)


def board_places(emulate: Sequence[str] = (), devices: Sequence[str] = ()) -> list[Place]:
    """Return the places that ``--emulate`` and ``--device`` name."""
    places: list[Place] = [EmulatedBoard(name) for name in emulate]
    return [*places, SshBoards(devices)] if devices else places

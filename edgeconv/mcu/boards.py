"""Microcontrollers that people run nets on: flash and RAM, and where the figures come from."""

import difflib
from dataclasses import dataclass

from edgeconv.errors import UsageError

KIB = 1024


@dataclass(frozen=True)
class Board:
    """A chip: bytes of flash (``external``: beside the chip, the usual size) and of RAM in one piece.

    ``ram`` is the largest block that an arena can lie in, ``ram_all`` the sum of all.
    """

    name: str
    flash: int
    ram: int
    ram_all: int
    source: str
    external: bool = False


BOARDS = {
    board.name: board
    for board in (
        Board("stm32h743", 2048 * KIB, 512 * KIB, 1056 * KIB, "ST DS12110: AXI SRAM of 512 KiB"),
        Board("stm32f746", 1024 * KIB, 240 * KIB, 340 * KIB, "ST DS10916: SRAM1 of 240 KiB"),
        Board("stm32l4r5", 2048 * KIB, 640 * KIB, 640 * KIB, "ST DS12023"),
        Board(
            "nrf52840", 1024 * KIB, 256 * KIB, 256 * KIB, "Nordic nRF52840 product specification"
        ),
        Board("nrf5340", 1024 * KIB, 512 * KIB, 512 * KIB, "Nordic nRF5340: application core"),
        Board(
            "rp2040", 2048 * KIB, 256 * KIB, 264 * KIB, "Raspberry Pi RP2040; Pico's flash", True
        ),
        Board(
            "rp2350", 4096 * KIB, 512 * KIB, 520 * KIB, "Raspberry Pi RP2350; Pico 2's flash", True
        ),
        Board(
            "esp32-s3", 8192 * KIB, 512 * KIB, 512 * KIB, "Espressif ESP32-S3; usual flash", True
        ),
    )
}
"""Name -> chip."""


def find_board(name: str) -> Board:
    """Return the chip called ``name``. Raises UsageError with the nearest names."""
    if name.lower() in BOARDS:
        return BOARDS[name.lower()]
    near = difflib.get_close_matches(name.lower(), BOARDS, 1, 0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(f"--board {name} is unknown{hint}: {', '.join(BOARDS)}")


def fit(board: Board, flash: int, ram: int) -> tuple[bool, str]:
    """Say whether a model of ``flash`` bytes with an arena of ``ram`` fits, and how much of each it takes.

    The program and the runtime are not counted: they come on top.
    """
    fits = flash <= board.flash and ram <= board.ram
    text = (
        f"flash {flash / KIB:.0f} of {board.flash / KIB:.0f} KiB, "
        f"arena {ram / KIB:.0f} of {board.ram / KIB:.0f} KiB in one piece"
    )
    return fits, text

"""A board whose answers are changed: an ``ssh`` of ours runs on this machine what it is given, and lies."""

import json
import platform
import sys
import zipfile
from pathlib import Path
from random import Random

LYING = r"""
import os, random, subprocess, sys
home = f"{work}/.cache/board"
os.makedirs(home, exist_ok=True)
with open(f"{home}/calls", "a+") as calls:
    calls.write("x")
    calls.flush()
    rng = random.Random(seed + calls.tell())
own = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "EDGECONV_CACHE")}
done = subprocess.run(["sh", "-c", sys.argv[-1]], stdout=subprocess.PIPE, env=own | {"HOME": home})
said, code = done.stdout, done.returncode
if rng.random() < share:
    place = rng.randrange(len(said) + 1)
    digits = [n for n, byte in enumerate(said) if chr(byte).isdigit()] or [0]
    odd = rng.choice((b"nan", b"1e999", b"-1", b"null", b'"x"', b"[]", b"99999999999999999999"))
    match rng.randrange(9):
        case 0:
            said = said[:place]
        case 1:
            said = b"Welcome to board\x1b[31m\n" + said
        case 2:
            said = said[:place] + bytes([rng.randrange(256)]) + said[place + 1 :]
        case 3 | 4 | 5:
            place = rng.choice(digits)
            said = said[:place] + odd + said[place + 1 :]
        case 6:
            code = rng.choice((1, 2, 126, 127, 130, 137, 255))
        case 7:
            said += rng.choice((said, b"\x00", b"{", "\u202ex".encode()))
        case _:
            sys.stderr.write(rng.choice(("\x1b[31mred\n", "Connection reset by peer\n", "\u202e" * 9)))
sys.stdout.buffer.write(said)
sys.exit(code)
"""
"""What the host sends is its last word; what comes back is changed with the chance ``share``."""


def board_of(rng: Random, source: Path, target: Path) -> None:
    """Put such a board beside ``target``, which holds its seed."""
    seed, share, work = rng.randrange(10**9), rng.choice((0.05, 0.1, 0.3, 1.0)), str(target.parent)
    target.write_text(f"{source.name} {seed}")
    given = f"work, seed, share = {work!r}, {seed}, {share}"
    equip(target.parent, f"#!{sys.executable} -IS\n{given}\n{LYING}")


def equip(work: Path, ssh: str) -> None:
    """Put the program ``ssh`` and a Python into ``work``/tools, and wheels found earlier into its cache."""
    from edgeconv.device.wheels import Platform, requirements
    from edgeconv.files import sha256

    tools = work / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(ssh)
    (tools / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    version = "{}.{}".format(*sys.version_info[:2])
    here = Platform(platform.machine(), version)
    folder = work / ".cache" / "wheels" / f"{here.architecture}-{version}"
    folder.mkdir(parents=True)
    wheel = folder / "nothing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(zipfile.ZipInfo("nothing.py"), "")  # without the time: always the same bytes
    note = {
        "requirements": requirements(["onnxruntime"], here),
        "wheels": {wheel.name: sha256(wheel)},
    }
    (folder / "onnxruntime.json").write_text(json.dumps(note))

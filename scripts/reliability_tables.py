"""Make the tables of docs/reliability.md from the lines in docs/reliability/.

    python scripts/reliability_tables.py            # rewrite the tables
    python scripts/reliability_tables.py --check    # exit code 1 where they are not what the lines say

A figure stands in no table by hand: campaigns append their lines, and each row names its command.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.metrics import wilson_interval

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
LINES = ROOT / "docs" / "reliability"

Line = dict[str, Any]
SEED = 10**6
"""Cases of a campaign's seed begin at so many times the seed."""


@dataclass(frozen=True)
class Row:
    """The lines of ``file`` that ``wanted`` takes, and what stands before their figures."""

    file: str
    wanted: Callable[[Line], bool]
    words: tuple[str, ...]


def seeds(*numbers: int) -> Callable[[Line], bool]:
    """Take the lines of these campaigns."""
    return lambda line: line["seed"] // SEED in numbers


def mode(name: str) -> Callable[[Line], bool]:
    """Take the lines of this way to hinder a call."""
    return lambda line: bool(line["mode"] == name)


def command(name: str) -> Callable[[Line], bool]:
    """Take the lines of the kills of this command."""
    return lambda line: bool(line["command"] == name)


INPUTS = (
    Row("before", seeds(21), ("dc0329f, before", "`python -m fuzz.run --seed 21`")),
    Row("before", seeds(22), ("dc0329f, before", "`python -m fuzz.run --seed 22 --kind manifest ... (seven kinds)`")),
    Row("readers", seeds(*range(31, 36)), ("57cb528, its faults mended since", "`python -m fuzz.run --readers --seed 31 ... 35 --count 1600`")),
    Row("commands", seeds(*range(51, 56)), ("886d578", "`python -m fuzz.run --cold --seed 51 ... 55`")),
    Row("commands", seeds(61), ("f707668 and 3e85d62, its faults mended since", "`python -m fuzz.run --seed 61 --count 2000`")),
    Row("commands", seeds(62, 63), ("3e85d62 and 043bab2, their faults mended since", "`python -m fuzz.run --seed 62 --count 2000`, `--seed 63`, as far as it came")),
    Row("commands", seeds(64), ("62598de, its faults mended since", "`python -m fuzz.run --seed 64 --count 2000`")),
    Row("commands", seeds(65), ("b2bd45a, with 15 kinds more", "`python -m fuzz.run --seed 65`, as far as it came")),
    Row("commands", seeds(66), ("35748cf", "`python -m fuzz.run --seed 66`, as far as it came")),
    Row("commands", seeds(97, 67), ("04a6d3a", "`python -m fuzz.run --seed 97 --kind 'no file'`, `--seed 67`, as far as it came")),
    Row("commands_70", seeds(*range(70, 75)), ("d1ace7c with a34b464, its faults mended since", "`python -m fuzz.run --seed 70 ... 74 --count 2000`")),
    Row("commands_70", seeds(75), ("d1ace7c with a34b464", "`--seed 75`, as far as it came")),
    Row("commands_70", seeds(81, 82), ("ae01db1", "`--seed 82` of the 17 kinds of that commit, as far as it came; `--seed 81 --kind pt2`, `--kind torchscript`")),
    Row("commands_70", seeds(76), ("8f889f1", "`--seed 76`, all kinds, as far as it came")),
    Row("commands_79", seeds(*range(201, 236)), ("c44c664, its faults mended since", "`--seed 201` ... `235 --count 200 --kind NAME`, the 35 newest kinds, a seed each")),
    Row("commands_79", seeds(79, 80), ("c44c664 and later, before cdf0750; its faults mended since", "`python -m fuzz.run --seed 79 --count 2000`, `--seed 80`")),
    Row("commands_79", seeds(83), ("the same", "`--seed 83`, as far as it came")),
    Row("commands_84", seeds(84), ("4eb648f", "`python -m fuzz.run --seed 84 --count 2000`")),
    Row("commands_84", seeds(85), ("4eb648f", "`--seed 85`, as far as it came")),
    Row("commands_84", seeds(86), ("6fe37a7, with 5 kinds more", "`--seed 86`, as far as it came")),
    Row("commands_84", seeds(*range(401, 407)), ("9682f2c and 1fd7724", "`--kind 'external data' --count 120`; `--count 30` of each kind of marked texts and of labels")),
    Row("commands_85", seeds(*range(85, 90)), ("1ee834f, its fault mended since", "`python -m fuzz.run --seed 85` ... `89 --count 2000`")),
    Row("commands_301", seeds(301), ("before 0e00495", "`--seed 301 --count 150 --kind ncnn`, whose subject is newer than the rows above")),
    Row("commands_90", seeds(90, 91), ("93f2214", "`python -m fuzz.run --seed 90`, `91 --count 2000`")),
    Row("commands_101", seeds(101), ("58a8bc0, its fault mended since", "`python -m fuzz.run --seed 101 --count 2000`")),
    Row("commands_101", seeds(102), ("58a8bc0", "`--seed 102 --count 2000`")),
    Row("commands_101", seeds(103), ("58a8bc0", "`--seed 103`, as far as it came")),
    Row("commands_131", seeds(131), ("19026ea", "`--seed 131` of the eight kinds of later lines, as far as it came; its faults are looked into below")),
    Row("commands_141", seeds(141, 142), ("7e4af4b, its fault mended since", "`python -m fuzz.run --seed 141 --count 2000`, `--seed 142`")),
    Row("commands_151", seeds(*range(151, 156)), ("18c7dfb, its faults mended since", "`python -m fuzz.run --seed 151` ... `155 --count 2000`")),
    Row("commands_161", seeds(*range(161, 166)), ("8cc9e2c, its one fault the judge's own", "`python -m fuzz.run --seed 161` ... `165 --count 2000`")),
    Row("commands_171", seeds(171, 172), ("fcbe545", "`python -m fuzz.run --seed 171`, `172`, as far as they came")),
)  # fmt: skip
KILLS = (
    Row("calls", mode("kill before"), ("`python -m fuzz.faults --cold`: ended before each of 108 of the 201 calls",)),
    Row("calls", mode("kill after"), ("ended after the call",)),
    Row("calls", mode("error"), ("the call fails",)),
    Row("calls", mode("full"), ("the disk is full from the call on (12 of 84; 253 calls are counted today)",)),
    Row("calls_every", mode("kill before"), ("`python -m fuzz.faults --mode 'kill before'` on 7e4af4b: ended before each call, of all that are counted today",)),
    Row("calls_every", mode("kill after"), ("the same, ended after the call",)),
    Row("calls_every", mode("error"), ("the same, the call fails",)),
    Row("calls_every", mode("full"), ("the same, the disk is full from the call on (of those that ask for room), its fault mended since",)),
    Row("calls_full", mode("full"), ("the same after the mend",)),
    Row("calls_interrupt", mode("interrupt"), ("`python -m fuzz.faults --mode interrupt` on 58a8bc0, its faults mended since: Ctrl-C to the export and its children at each of 252 calls",)),
    Row("calls_session", mode("kill before"), ("`python -m fuzz.faults --session --mode 'kill before'` on 7522b7a: the process of either side that makes a call of a session on a board ends before it, each call",)),
    Row("calls_session", mode("kill after"), ("the same, ended after the call",)),
    Row("calls_session", mode("error"), ("the same, the call fails",)),
    Row("calls_session", mode("full"), ("the same, the disk is full from the call on, at every third call",)),
    Row("kills", seeds(41), ("`python -m fuzz.kills --cold --seed 41`",)),
    Row("kills", seeds(42), ("`python -m fuzz.kills --seed 42 --count 1000`",)),
    Row("kills_43", seeds(43), ("`python -m fuzz.kills --seed 43 --count 1000` on 18c7dfb",)),
    *(
        Row("kills_commands", command(name), (f"`python -m fuzz.kills --command '{name}'`",))
        for name in ("sweep", "train", "rescue", "eval boxes", "bench", "parity", "quantize", "run", "report")
    ),
    Row("races", seeds(71), ("`python -m fuzz.races --seed 71`",)),
)  # fmt: skip


def lines_of(row: Row) -> list[Line]:
    """Return a row's lines."""
    found = map(json.loads, (LINES / f"{row.file}.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in found if row.wanted(line)]


def having(lines: Sequence[Line], *kinds: str) -> int:
    """Return how many lines have a fault that begins with one of ``kinds``."""
    return sum(any(fault.startswith(kinds) for fault in line["faults"]) for line in lines)


def inputs_row(lines: Sequence[Line]) -> list[str]:
    """Return cases, those with a fault, distinct tracebacks, hangs, signals, memory and minutes."""
    tracebacks = {f for line in lines for f in line["faults"] if f.startswith("traceback")}
    return [
        str(len(lines)), str(sum(bool(line["faults"]) for line in lines)), str(len(tracebacks)),
        str(having(lines, "hang")), str(having(lines, "signal")), peak(lines), minutes(lines),
    ]  # fmt: skip


def kills_row(lines: Sequence[Line]) -> list[str]:
    """Return cases, partial sets, reruns that failed, things left behind, tracebacks and the like, minutes."""
    kinds = (
        ("partial",),
        ("rerun",),
        ("left",),
        (
            "traceback",
            "silent",
            "signal",
            "hang",
            "exit code",
            "sentence",
        ),
    )
    return [str(len(lines)), *(str(having(lines, *kind)) for kind in kinds), minutes(lines)]


def peak(lines: Sequence[Line]) -> str:
    """Return the highest memory of a case; a dash where the lines do not hold it."""
    known = [line["peak_mib"] for line in lines if "peak_mib" in line]
    return f"{max(known):.0f} MiB" if known else "-"


def minutes(lines: Sequence[Line]) -> str:
    """Return the minutes that cases took, by the clock; a dash where the lines do not hold them."""
    known = [line["seconds"] for line in lines if "seconds" in line]
    return f"{sum(known) / 60:.1f}" if known else "-"


def table(head: str, rows: Iterable[tuple[Row, list[str]]]) -> str:
    """Return a Markdown table under ``head``, a line of column names."""
    rule = "|".join(["---"] * (head.count("|") - 1))
    body = (f"| {' | '.join([*row.words, *figures])} |" for row, figures in rows)
    return "\n".join([head, f"|{rule}|", *body])


MUTANTS = {2026: "mutants", 2028: "mutants_2028", 2031: "mutants_2031", 2032: "mutants_2032"}
"""Seed -> its lines."""


def mutants(seed: int) -> str:
    """Return the share of a seed's mutants that died, by how, and those that lived with why.

    ``since`` in a line is the test that kills a mutant which the tests of its commit let live.
    """
    text = (LINES / f"{MUTANTS[seed]}.jsonl").read_text(encoding="utf-8")
    latest = {line["number"]: line for line in map(json.loads, text.splitlines())}
    why: dict[str, str] = json.loads((LINES / "mutants_lived.json").read_text(encoding="utf-8"))
    ways = [str(line["killed"] or "lived").split()[0] for line in latest.values()]
    left = [line for line in latest.values() if line["killed"] is None]
    lived = [line for line in left if line.get("since") is None]
    same = [line for line in lived if why.get(str(line["number"]), "").startswith("the same")]
    counted, died = len(ways) - len(same), len(ways) - len(left)
    more = len(left) - len(lived)
    said = [
        f"{len(ways)} mutants of seed {seed}: {ways.count('assertion')} died by an assertion, "
        f"{ways.count('crash')} by a crash, {ways.count('time')} by the time limit, {len(left)} lived, "
        f"{len(same)} of these compute the same. Of the other {counted} the tests that need neither `--slow` "
        f"nor `../shared` killed {died} ({_share(died, counted)}), by assertions alone {ways.count('assertion')}."
    ]
    if more:
        said.append(
            f"Tests written since, most with these mutants in sight, kill {more} of those: {died + more} "
            f"({_share(died + more, counted)}), which is no share of fresh mutants."
        )
    rows = (
        f"| {line['file']}:{line['line']} | {line['what']} | {why.get(str(line['number']), 'not looked into')} |"
        for line in sorted(lived, key=lambda line: (line["file"], line["line"]))
    )
    head = " ".join([*said, "Those that lived:"])
    return "\n".join([head, "", "| place | change | why |", "|---|---|---|", *rows])


def _share(some: int, of: int) -> str:
    low, high = wilson_interval(some, of)
    return f"{100 * some / max(1, of):.0f} %, 95 %: {100 * low:.0f} to {100 * high:.0f}"


HEADS = {
    "TABLE": "| commit | command (in tests/) | cases | with a fault | distinct tracebacks | hangs | signals | highest memory | minutes |",
    "KILLS": "| command (in tests/) | cases | partial sets | reruns that failed | left behind | tracebacks, silent failures | minutes |",
}


def page(text: str) -> str:
    """Return the page with its tables made anew: what stands between two equal marks."""
    made = {
        "TABLE": table(HEADS["TABLE"], [(row, inputs_row(lines_of(row))) for row in INPUTS]),
        "KILLS": table(HEADS["KILLS"], [(row, kills_row(lines_of(row))) for row in KILLS]),
        "MUTANTS": "\n\n".join(map(mutants, MUTANTS)),
    }
    for name, body in made.items():
        mark = f"<!-- {name} -->\n"
        before, _, after = text.split(mark)
        text = f"{before}{mark}{body}\n{mark}{after}"
    return text


def main(arguments: Sequence[str]) -> int:
    """Rewrite the page, or say whether it is what the lines make."""
    healthy = PAGE.read_text(encoding="utf-8")
    made = page(healthy)
    if "--check" in arguments:
        return int(made != healthy)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The one end with exit code 1 that leaves files under final names: a target refused, the others written."""

import json
import re
from collections.abc import Iterable
from pathlib import PurePath

from edgeconv.export.targets import TARGETS
from edgeconv.files import PARTNERS

SUFFIXES = {name: target.suffix for name, target in TARGETS.items()}


def partly_refused(out: str, made: Iterable[str]) -> bool:
    """Return whether ``out`` says that targets were refused, and ``made`` is what belongs to the others.

    ``made`` are names below the folder ``out/``. Each verified target has its file, a refused one has none.
    """
    refused, verified = _told(out)
    if not refused or not verified or refused & verified:
        return False
    heads = {PurePath(name).parts[1] for name in made}
    files = {
        head for head in heads if not head.endswith((".json", ".evidence", *PARTNERS.values()))
    }
    beside = {f"{file}.json" for file in files} | {f"{PurePath(f).stem}.evidence" for f in files}
    beside |= {
        f"{PurePath(f).stem}{p}" for s, p in PARTNERS.items() for f in files if f.endswith(s)
    }
    suffixes = sorted(PurePath(file).suffix for file in files)
    return suffixes == sorted(SUFFIXES[target] for target in verified) and heads - files == beside


def _told(out: str) -> tuple[set[str], set[str]]:
    """Return the targets that an export's output, text or JSON, calls refused, and those it calls verified."""
    try:
        told = json.loads(out)
        return set(told["refused"]), {one["target"] for one in told["artifacts"]}
    except (ValueError, KeyError, TypeError):
        pass
    targets = "|".join(SUFFIXES)
    refused = set(re.findall(rf"^REFUSED +({targets}) · ", out, re.MULTILINE))
    said = (
        rf"^(?:verify +({targets}) · (?!cannot)|verdict +({targets}) )"  # the second under --quiet
    )
    found = re.findall(said, out, re.MULTILINE)
    closing = re.search(r"^verdict .*; not written: (.+)$", out, re.MULTILINE)
    if closing is None or set(closing[1].split(", ")) != refused:
        return set(), set()
    return refused, {name for names in found for name in names if name}

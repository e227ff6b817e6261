"""A change that means to move code, not files, moves no byte of any file."""

import json

import pytest
from compare_exports import differences
from conftest import ROOT, Golden

pytest.importorskip("torch")
pytest.importorskip("coremltools")

from export_forms import NETS, file_hashes


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_every_form_of_a_net_is_written_byte_for_byte_as_before(net: str, golden: Golden) -> None:
    """Where the bytes are meant to change: pytest --slow --update-golden tests/test_export_forms.py."""
    name = f"forms_{net}.json"
    path = ROOT / "tests" / "golden" / name
    found = file_hashes(net)
    if path.is_file() and not golden.update:
        before = json.loads(path.read_text())
        changed = [form for form in found if before.get(form) != found[form]]
        assert not changed, (
            f"{len(changed)} of {len(found)} files have other bytes than the ones committed: {changed}. "
            "Where that is meant: pytest --slow --update-golden tests/test_export_forms.py"
        )
    golden.check(name, json.dumps(found, indent=1) + "\n")


def test_a_comparison_names_what_is_new_gone_or_other() -> None:
    before, after = {"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}
    assert differences(before, after) == ["a is gone", "c has other bytes", "d is new"]

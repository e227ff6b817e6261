"""The zoo's script on a net of one convolution."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[1] / "scripts"
NETS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 4, 3, stride=2)
    def forward(self, x):
        return torch.relu(self.layer(x))

def net(): return Net().eval()
def broken(): raise RuntimeError("no such operator here")
ZOO = {"net": (net, (16, 16)), "broken": (broken, (16, 16))}
"""


def test_a_net_becomes_a_line_and_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    make_zoo = __import__("make_zoo")
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "pictures").mkdir()
    draw = np.random.default_rng(0)
    for i in range(8):
        pixels = draw.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i:04}.png")
    job = {
        "file": str(tmp_path / "nets.py"),
        "pictures": str(tmp_path / "pictures"),
        "counts": [4, 4],
    }
    line = make_zoo.examine(job | {"net": "net"})
    assert line["exits"] == {p: {t: 0 for t in make_zoo.TARGETS} for p in ("fp32", "int8")}
    assert (line["input"], line["pictures"]) == ("1x3x16x16", [4, 4])
    assert (line["share"], line["float"]) == (100.0, {})
    static = line["quantize_static"]["sqnr"]["output"]
    assert all(line["int8"][t]["sqnr"]["output"] > static - 0.5 for t in make_zoo.TARGETS)
    assert make_zoo.unbuilt(job | {"net": "net"}) is None
    failed = make_zoo.unbuilt(job | {"net": "broken"})
    page = make_zoo.table([line, failed])
    assert "Rows of commit" not in page
    later = make_zoo.table([line, {**line, "net": "new", "commit": "abc1234"}])
    assert "Rows of commit abc1234: new. Other rows are older than that." in later
    assert "INT8 to every target: 1 of 1 (100 %)" in page
    assert "\n- broken: RuntimeError: no such operator here\n" in page

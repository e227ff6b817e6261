"""Feeds out of memory: the same values back, in any order, from any thread."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from quant_nets import NetBuilder

from edgeconv.errors import EdgeconvError
from edgeconv.export import feeds as spools
from edgeconv.export.feeds import Chosen, Spool
from edgeconv.export.quant.engine import quantize
from edgeconv.samples import Feed


def feed(index: int) -> Feed:
    return {
        "a": np.full((1, 3, 4, 4), index, np.float32),
        "b": np.arange(index, index + 2, dtype=np.float32).reshape(1, 2),
    }


def spooled(count: int) -> Spool:
    spool = Spool()
    for index in range(count):
        spool.append(feed(index))
    return spool


def test_every_feed_comes_back_from_memory_and_from_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most in (1 << 20, 300):  # the second is written to disk after two feeds
        monkeypatch.setattr(spools, "IN_MEMORY", most)
        spool = spooled(20)
        assert len(spool) == 20
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(spool.__getitem__, range(20)))
        for index, got in enumerate(read):
            for name, value in feed(index).items():
                np.testing.assert_array_equal(got[name], value)


def test_slices_and_choices_are_views_in_their_order() -> None:
    spool = spooled(10)
    assert [int(f["a"].max()) for f in spool[2:8:3]] == [2, 5]
    chosen = Chosen(spool, [7, 1, 4])
    assert len(chosen) == 3
    assert [int(f["a"].max()) for f in chosen] == [7, 1, 4]
    assert [int(f["a"].max()) for f in chosen[1:]] == [1, 4]
    with pytest.raises(IndexError):
        spool[10]


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, _place: int) -> None:
            """Find any place."""

        def write(self, _data: bytes) -> None:
            raise OSError(28, "No space left on device")

    spool = Spool()
    monkeypatch.setattr(spool, "_file", Full())
    with pytest.raises(EdgeconvError, match="no room for the calibration pictures"):
        spool.append(feed(0))


@pytest.mark.slow
def test_ten_times_the_pictures_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "IN_MEMORY", 0)
    net = NetBuilder((1, 3, 96, 96))  # tensors of more values than are kept of each for its range
    stem = net.conv("input", 16, stride=2)
    graph = net.head(net.conv(stem, 32, kernel=1, stride=2))
    peaks = []
    for count in (100, 1000):
        spool, random = Spool(), np.random.default_rng(0)
        for _ in range(count):
            shape = graph.shape("input")
            spool.append({"input": random.normal(0, 1, shape).astype(np.float32)})
        tracemalloc.start()
        quantize(graph, spool)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]

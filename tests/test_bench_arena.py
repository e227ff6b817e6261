"""The arena: known from onnxruntime and TFLite's builtin kernels, and not made up elsewhere."""

import json
from pathlib import Path

import pytest
from bench_kit import PEER, write_model
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.runtimes.onnxrt import onnx_arena


def arena_of(*arguments: object) -> float | None:
    said = CliRunner().invoke(
        main, ["bench", *map(str, arguments), "--runs", "10", "--no-reference", "--json", "-q"]
    )
    assert said.exit_code == 0, said.output
    found: float | None = json.loads(said.stdout)["rows"][0]["arena_mib"]
    return found


def test_onnxruntime_says_what_it_set_aside(tmp_path: Path) -> None:
    small = arena_of(write_model(tmp_path, "a.onnx"))
    # two activations of 16 x 512 x 512 floats are alive at once
    large = arena_of(write_model(tmp_path, "b.onnx", channels=16, size=512))
    assert small is not None
    assert large is not None
    assert small < 2.5 < 2 * 16 <= large < 128


def test_a_log_that_says_nothing_gives_no_figure() -> None:
    assert onnx_arena("") is None


@pytest.mark.skipif(not PEER.is_file(), reason=f"{PEER} is not there")
def test_builtin_kernels_have_one_block_and_a_delegates_memory_is_unknown() -> None:
    pytest.importorskip("ai_edge_litert")
    arena = arena_of(PEER, "--no-xnnpack")
    assert arena is not None
    # 64 x 64 pictures of 8 + 16 channels are the two largest neighbours: 96 KiB; weights are 0.5 MB
    assert 0.09 < arena < 0.3
    assert arena_of(PEER) is None

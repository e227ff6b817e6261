"""The table of one recipe in every runtime: what is equal, how far the rest is, what failed."""

import json
from pathlib import Path

import make_runtime_matrix as matrix
import numpy as np
import pytest
from click.testing import CliRunner
from json_lines import read_lines


def test_values_in_the_same_quantum_are_equal_and_others_count_how_many_they_are_off() -> None:
    wanted = np.array([[0.1, 0.2, 0.3, -0.4]])
    same = matrix.distance(wanted + 0.04, wanted, 0.1)
    assert same == {"equal": 1.0, "most": 0, "values": 4}
    other = matrix.distance(wanted + np.array([[0.0, 0.1, 0.0, -0.3]]), wanted, 0.1)
    assert (other["equal"], other["most"]) == (0.5, 3)


def test_the_table_has_a_column_a_runtime_and_says_what_failed(tmp_path: Path) -> None:
    good = {"equal": 0.9987, "most": 1, "values": 800}
    lines = [
        {"net": "a", "rows": {"onnxruntime": good}},
        {"net": "b", "rows": {"onnxruntime": {"error": "crashed"}, "executorch": good}},
    ]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = CliRunner().invoke(matrix.main, ["table", "--lines", str(path)]).output.splitlines()
    assert said[0] == "| net | onnxruntime | executorch |"
    assert said[2] == "| a | 99.87, 1 |  |"
    assert said[3] == "| b | failed | 99.87, 1 |"


def test_the_page_of_parity_has_the_table_of_the_kept_lines() -> None:
    docs = Path(matrix.__file__).parents[1] / "docs"
    table = matrix.rows_of(read_lines(docs / "runtimes.jsonl"))
    assert table.count("\n") >= 10
    assert table in (docs / "parity_results.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_bundled_nets_run_everywhere(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    case = matrix.bundled()[2]
    line = matrix.compared(case, tmp_path, matrix.HERE, pictures=4, slow=1)
    assert line["rows"]["pte · executorch"]["equal"] == 1.0
    assert (
        line["rows"]["tflite · tflite-micro"]["most"]
        <= 1 + line["rows"]["tflite · ai-edge-litert/no-xnnpack"]["most"]
    )


def test_a_net_of_a_file_is_calibrated_on_pictures_that_are_named(tmp_path: Path) -> None:
    words = ["run", "--lines", str(tmp_path / "l.jsonl"), "--no-bundled", "--net", "small.onnx"]
    words += ["--files", str(tmp_path)]
    refused = CliRunner().invoke(matrix.main, words)
    assert refused.exit_code == 2
    assert "give --calib" in refused.output
    (case,) = matrix.named(["nets/small.onnx"], "photos")
    assert (case.title, case.options["calib"]) == ("small", "photos")

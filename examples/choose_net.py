"""Which file to ship for a budget of milliseconds: python choose_net.py LABELLED_PICTURES OUTPUT MILLISECONDS."""

import json
import subprocess
import sys
from pathlib import Path


def main(pictures: Path, output: Path, budget_ms: float) -> None:
    """Sweep two sizes of a net and print the cells that are worth shipping, the most accurate first."""
    command = ["edgeconv", "sweep", "mobilenet_v1", "--resolution", "32,64", "--precision", "int8"]
    command += ["--target", "tflite", "--data", str(pictures), "--budget-ms", str(budget_ms)]
    command += ["--seconds", "0.2", "--output", str(output)]
    subprocess.run(command, check=True)
    found = json.loads((output / "results.json").read_text(encoding="utf-8"))
    worth = [cell for cell in found["cells"] if cell["status"] == "front"]
    for cell in sorted(worth, key=lambda cell: cell["accuracy"], reverse=True):
        print(f"{cell['accuracy']:.1%}  {cell['timing']['latency_ms']:.3f} ms  {cell['file']}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))

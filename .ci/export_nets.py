"""Export the four nets as CI compares them: ``python .ci/export_nets.py DIR [NET...]``.

INT8 to ONNX and TFLite, recipe fast, verified on 200 of the bundled pictures with their classes.
"""

import sys
from pathlib import Path

from edgeconv import export_model

ROOT = Path(__file__).resolve().parents[1]
NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")


def main(folder: Path, nets: tuple[str, ...]) -> int:
    """Export ``nets`` into ``folder``; 3 where one misses its budget."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = ROOT / "calib_data" / "test"
    truth = folder / "truth.csv"
    names = sorted(path.name for path in pictures.glob("*.png"))
    truth.write_text("".join(f"{name},{name.partition('_')[0]}\n" for name in names))
    done = True
    for net in nets:
        report = export_model(
            net,
            targets=("onnx", "tflite"),
            precision="int8",
            recipe="fast",
            calib_count=64,
            verify=str(pictures),
            verify_count=200,
            truth=str(truth),
            threads=1,
            output=folder,
        )
        done = done and bool(report)
    return 0 if done else 3


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), tuple(sys.argv[2:]) or NETS))

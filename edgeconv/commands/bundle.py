"""``edgeconv bundle``: an archive for a board without a network, and its results read here."""

import shlex
from pathlib import Path
from typing import Any

import click

from edgeconv.commands.grouped import examples
from edgeconv.commands.output_types import OutputPath
from edgeconv.errors import UsageError
from edgeconv.terminal import echo, echo_folded, print_json


@click.command(epilog=examples("edgeconv bundle out/model_int8.tflite --output board.tar.gz"))
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL...]")
@click.option(
    "--output",
    type=OutputPath(),
    default=Path("bundle.tar.gz"),
    show_default=True,
    help="Where the archive goes.",
)
@click.option("--wheels", metavar="ARCH", help="Put the wheels in too: aarch64, armv7l or x86_64.")
@click.option(
    "--python", default="3.11", show_default=True, help="The board's Python, for --wheels."
)
@click.option("--force", is_flag=True, help="Replace an archive that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--show", type=click.Path(path_type=Path), metavar="RESULTS", help="Print a board's results.json.")  # fmt: skip
def command(
    models: tuple[Path, ...],
    output: Path,
    wheels: str | None,
    python: str,
    force: bool,
    show: Path | None,
    as_json: bool,
) -> None:
    """Pack MODELs with inputs, the outputs they give here, and our code.

    On the board, `python3 run.py` benches and checks them and writes results.json.
    """
    if show is not None:
        _show(show, as_json)
        return
    if not models:
        raise UsageError("name at least one model to pack, or --show results.json")
    if output.exists() and not force:
        raise UsageError(f"{output} is there already; give --force to replace it")
    from edgeconv.cache import cache_dir
    from edgeconv.device.bundle import bundle_name, make_bundle
    from edgeconv.device.wheels import Platform

    platform = Platform(wheels, python) if wheels else None
    sizes = make_bundle(models, output, platform, cache_dir() / "wheels")
    if as_json:
        print_json({"archive": str(output), "bytes": output.stat().st_size, "unpacked": sizes})
        return
    parts = " · ".join(f"{name} {size / 1e6:.2f}" for name, size in sorted(sizes.items()))
    echo_folded(f"{output}: {output.stat().st_size / 1e6:.2f} MB (unpacked, MB: {parts})")
    packed, root = shlex.quote(output.name), shlex.quote(bundle_name(output))
    echo(f"on the board: tar -xf {packed} && cd {root} && python3 run.py")


def _show(path: Path, as_json: bool) -> None:
    from edgeconv.bench.read import report_from_json
    from edgeconv.bench.text import print_report
    from edgeconv.device.bundle import read_results
    from edgeconv.tables import open_console

    results: dict[str, Any] = read_results(path)
    report = report_from_json(results["bench"])
    if as_json:
        print_json({"bench": report.to_json(), "checks": results["checks"]})
        return
    print_report(report, open_console())
    for name, check in results["checks"].items():
        if "error" in check:
            echo(f"outputs  {name}: {check['error']}")
            continue
        for output, found in check["outputs"].items():
            echo(
                f"outputs  {name} {output} in {check['runtime']}: largest difference from here"
                f" {found['max_difference']:.4g}, {100 * found['equal']:.1f} % equal, same top-1 in"
                f" {100 * found['same_top1']:.0f} % of {check['samples']}"
            )

"""The command line: each command lives in edgeconv.commands and is imported when it is called."""

import importlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edgeconv import __version__
from edgeconv.arguments import speaking_of_flags
from edgeconv.defaults import defaults_of, naming_file
from edgeconv.errors import UsageError, nearest
from edgeconv.guard import guarded
from edgeconv.log import LEVELS, show
from edgeconv.terminal import Answer

COMMANDS = {
    "export": "Convert a net or file to ONNX, TFLite or Core ML, float or INT8, and verify the result.",
    "run": "Print the top-5 of pictures from any exported file.",
    "snippet": "Write a small program that runs an exported file.",
    "report": "Write one page about an exported file, to send to a colleague.",
    "parity": "Compare files in every runtime with their float reference, hop by hop.",
    "eval": "Measure files at their own task: accuracy class by class, boxes.",
    "train": "Train a net on a folder of labelled pictures, for any width.",
    "rescue": "Try what may mend a missed INT8 verdict, and say which is worth it.",
    "models": "List the nets with their options, parameters, multiply-adds and accuracies.",
    "summary": "Print an architecture layer by layer.",
    "bench": "Measure latency, with an interval and the reasons not to trust it.",
    "sweep": "Say which net, width, resolution, precision and runtime to ship.",
    "bundle": "Pack models, inputs and our code for a board without a network.",
    "device": "Ask or prepare a board over SSH.",
    "quantize": "Quantize a float .onnx file to INT8 and verify it.",
    "recipe": "Show, compare and check INT8 recipes.",
    "inspect": "Say what is inside an exported or foreign file.",
    "demo": "Run the whole job once, on the bundled weights and pictures.",
    "doctor": "Say which runtimes and converters are installed and what each missing one adds.",
}
"""Command name -> its line in ``--help``; the module of that name holds ``command``."""


SAID_WITHOUT_DASHES = ("help", "version")
"""Options of the group that people also write as commands."""
HELP = {"-h", "--help", "--version"}
"""What prints text whatever else is asked."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports one only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``edgeconv.commands.<cmd_name>`` and return its command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"edgeconv.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` begin with; name the likeliest where there is none."""
        if args and args[0] in SAID_WITHOUT_DASHES:
            if (rest := args[1:]) and args[0] == "help":
                return super().resolve_command(ctx, [*rest, "--help"])
            args = [f"--{args[0]}"]
        elif args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = nearest(args[0], COMMANDS, "edgeconv --help lists them")
            raise UsageError(f"there is no command {args[0]!r}: {hint}")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and name is not None and not ctx.resilient_parsing:
            ctx.default_map = {name: defaults_of(command, name, Path(), COMMANDS)}
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run and exit; every failure prints as one sentence (edgeconv/guard.py)."""
        if not extra.get("standalone_mode", True) or "_EDGECONV_COMPLETE" in os.environ:
            return super().main(*args, **extra)
        given = args[0] if args else extra.pop("args", None)
        words = list(sys.argv[1:] if given is None else given)
        options = words[: words.index("--")] if "--" in words else words
        kept = [word for word in options if word != "--debug"] + words[len(options) :]

        def run(answer: Answer) -> object:
            _refuse_empty(options)
            with (
                speaking_of_flags(),
                _naming_flags(kept),
                naming_file(Path()),
                self.make_context("edgeconv", kept, obj=answer) as context,
            ):
                return self.invoke(context)

        as_json = "--json" in options and not HELP & set(options)
        sys.exit(guarded(run, as_json=as_json, debug=len(kept) < len(words)))


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise UsageError for a word without a letter: an empty path would be the current folder."""
    for before, word in itertools.pairwise(["", *words]):
        assigned = word.startswith("--") and word.endswith("=") and word.count("=") == 1
        if word and not assigned:
            continue
        flag = word if assigned else before
        what = f"what {flag.rstrip('=')} names" if flag.startswith("--") else "an argument"
        raise UsageError(f"{what} is empty: a variable of the shell that is not set?")


@contextmanager
def _naming_flags(words: Sequence[str]) -> Iterator[None]:
    """Say of an argument too many which flag it follows, where one does: that flag takes no value."""
    try:
        yield
    except click.NoSuchOption as error:
        del (error.possibilities or [])[1:]  # the nearest; click would sort them by name
        raise
    except click.UsageError as error:
        flags = {
            option
            for parameter in (error.ctx.command.params if error.ctx is not None else ())
            if isinstance(parameter, click.Option) and parameter.is_flag
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for flag, value in itertools.pairwise(words):
            if flag in flags and f"extra argument ({value})" in error.message:
                said = f"{error.message}: {flag} takes no value"
                raise click.UsageError(said, error.ctx) from None
        raise


def _set_inflate(ctx: click.Context, parameter: click.Parameter, value: int | None) -> None:
    """Say it in the environment, so that child processes know it too."""
    if value is not None:
        os.environ["EDGECONV_MAX_INFLATE_MIB"] = str(value)


def _set_log(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        show(value)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="edgeconv")
@click.option(
    "--max-inflate",
    type=click.IntRange(1),
    metavar="MIB",
    expose_value=False,
    callback=_set_inflate,
    help="What a small archive or picture may grow to when it is read.  [default: 256]",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    envvar="EDGECONV_LOG",
    show_envvar=True,
    expose_value=False,
    callback=_set_log,
    help="Log what is done to standard error: stages, processes, files opened, downloads.",
)
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Print the traceback of a failure too; goes anywhere on the line.",
)
def main() -> None:
    """From a PyTorch mobile CNN to a verified INT8 model on a device."""


if __name__ == "__main__":
    sys.exit(main())

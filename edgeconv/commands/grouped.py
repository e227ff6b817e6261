"""``--help`` in sections: a command says which of its options belong together."""

from collections.abc import Callable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import click

Groups = Mapping[str, Sequence[str]]
"""Section -> names of parameters, in the order they are shown."""


class GroupedCommand(click.Command):
    """A command whose help shows its options in ``groups``; what no group names comes last."""

    def __init__(self, *arguments: Any, groups: Groups, **extra: Any) -> None:
        super().__init__(*arguments, **extra)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, then the rest as click does."""
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx)) is not None
            and not isinstance(parameter, click.Argument)
        }
        named = {name for names in self.groups.values() for name in names}
        rest = [str(name) for name in records if name not in named]
        for title, names in [*self.groups.items(), ("Other options", rest)]:
            shown = [records[name] for name in names if name in records]
            if shown:
                with formatter.section(title):
                    formatter.write_dl(shown)


class PlainGroup(click.Group):
    """A group that lists its commands with the whole first sentence of each, not cut at a width."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, made.get_short_help_str(1000)) for name, made in self.commands.items()]
            )


def examples(*lines: str) -> str:
    """Return an epilog that shows ``lines`` as commands to copy, long ones broken as a shell takes it."""
    if not lines:
        return ""
    broken = (wrap(line, 72, break_on_hyphens=False) for line in lines)
    return "\b\nExamples:\n" + "\n".join("  " + " \\\n      ".join(parts) for parts in broken)


def grouped(groups: Groups, *lines: str) -> Callable[[Callable[..., Any]], GroupedCommand]:
    """Return a decorator like click.command for a command with ``groups`` and example ``lines``."""
    return click.command(cls=GroupedCommand, groups=groups, epilog=examples(*lines))

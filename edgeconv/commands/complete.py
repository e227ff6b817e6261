"""What the shell offers for an argument: nets, recipes, boards, and files of what a command reads."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _offer(words: Iterable[str], incomplete: str, *, files: bool) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    found = [CompletionItem(word) for word in words if word.startswith(incomplete)]
    return [*found, CompletionItem(incomplete, type="file")] if files else found


def complete_nets(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Offer the four nets, then files."""
    from edgeconv.models.specs import SPECS

    return _offer(SPECS, incomplete, files=True)


def complete_recipes(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Offer the ways to make a recipe, then recipe files."""
    return _offer(("fast", "std", "best"), incomplete, files=True)


def complete_files(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Offer files and folders, where other words are taken too."""
    return _offer((), incomplete, files=True)


def complete_hosts(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Offer the hosts that the user's ssh configuration names."""
    hosts = (f"ssh://{host}" for host in ssh_hosts(Path.home() / ".ssh" / "config"))
    return _offer(hosts, incomplete, files=False)


def ssh_hosts(config: Path) -> Iterator[str]:
    """Yield the names after ``Host`` in an ssh configuration, patterns left out."""
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        if found := re.match(r"\s*host[\s=]+(.*)", line, re.IGNORECASE):
            yield from (name for name in found[1].split() if not set(name) & set("*?!"))

"""Pages of the site that are made from the code: the command reference and the Python reference."""

import re
from collections.abc import Iterator
from typing import Any

import click

from edgeconv import __all__ as calls
from edgeconv.cli import COMMANDS, main


def commands(group: click.Group, words: str) -> Iterator[tuple[str, str]]:
    """Yield (words, help) of every command below ``group``, groups' own help first."""
    context = click.Context(group, info_name=words)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        made = click.Context(command, info_name=name, parent=context, max_content_width=88)
        yield f"{words} {name}", command.get_help(made)
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")


def command_reference() -> str:
    """Return the page of every command's help, as the commands print it."""
    parts = ["# Commands", ""]
    for words, text in commands(main, "edgeconv"):
        about = COMMANDS.get(words.removeprefix("edgeconv "))
        parts += [f"## {words}", "", *([about, ""] if about else []), "```text", text, "```", ""]
    return "\n".join(parts)


def python_reference() -> str:
    """Return the page of what ``import edgeconv`` gives, filled in by mkdocstrings."""
    names = [name for name in calls if not name.startswith("_")]
    return "\n".join(["# Python", "", *(f"::: edgeconv.{name}\n" for name in names)])


def on_files(files: Any, config: Any) -> Any:
    """Add the made pages, for mkdocs."""
    from mkdocs.structure.files import File

    for name, text in (("cli.md", command_reference()), ("api.md", python_reference())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Let the keyboard reach what scrolls sideways, code and tables, for mkdocs.

    >>> on_page_content('<table><pre><span></span><code class="language-sh">ls')
    '<table tabindex="0"><pre><span></span><code tabindex="0" class="language-sh">ls'
    """
    html = html.replace("<table>", '<table tabindex="0">')
    return re.sub(r"(<pre>(?:<span></span>)?<code)\b", r'\1 tabindex="0"', html)

"""Every shell line that a page, a workflow or a template shows names commands, options, targets and files that are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import ROOT

from edgeconv.cli import main

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "demo/*.md", "calib_data/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # which tells of options that are no more
)
SCRIPTED = sorted(
    path
    for pattern in (".github/**/*.yml", "*.yml", ".ci/run", "Makefile")
    for path in ROOT.glob(pattern)
    if path.is_file()
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
STOPS = {"&&", "||", "|", ";", ">", ">>", "<", "&"}
OUR_FILES = r"(?:scripts|tests|examples|\.ci|demo)/[\w./-]+"


def page_lines(text: str) -> Iterator[str]:
    """Yield the lines of code blocks, fenced or indented, and what stands between backquotes."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"(?:^ {4}\S.*\n?)+", rest, re.MULTILINE)
    for block in (*fenced, *indented):
        yield from joined(block)
    yield from (" ".join(line.split()) for line in re.findall(r"(?<!`)`([^`]+)`(?!`)", rest))


def joined(text: str) -> Iterator[str]:
    """Yield lines, those that a backslash continues as one."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        yield line.strip().removeprefix("$ ")


def commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell line; a line that is none gives nothing that is ours."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # an apostrophe of a sentence
        return
    while words:
        end = next((i for i, word in enumerate(words) if word in STOPS), len(words))
        yield words[:end]
        words = words[end + 1 :]


def wrong(words: list[str]) -> str | None:
    """Return what a command names that is not there."""
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    if not words:
        return None
    name = words[0].rpartition("/")[2]
    if name == "edgeconv" or words[1:3] == ["-m", "edgeconv"]:
        return wrong_edgeconv(words[1:] if name == "edgeconv" else words[3:])
    targets = [word for word in words[1:] if "=" not in word]
    if name == "make" and len(targets) == 1 and re.fullmatch(r"[a-z][a-z-]*", targets[0]):
        there = re.search(rf"^{targets[0]}:", MAKEFILE, re.MULTILINE)
        return None if there else f"make has no {targets[0]}"
    if name.startswith("python"):
        return wrong_script(words[1:])
    return None


def wrong_edgeconv(words: list[str]) -> str | None:
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if not re.fullmatch(r"[a-z][a-z-]*", words[0]):
            return None  # COMMAND, ...: a sentence about all of them
        found = command.get_command(context, words[0])
        if found is None:
            return f"{command.name} has no command {words[0]}"
        command, words = found, words[1:]
    known = {"--help", "-h", "--debug", "--max-inflate"} | {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        option = word.partition("=")[0].rstrip(".,:)")
        if re.fullmatch(r"--[a-z][a-z0-9-]*|-[a-z]", option) and option not in known:
            return f"{command.name} has no {option}"
    return None


def wrong_script(words: list[str]) -> str | None:
    for word in words:
        if re.fullmatch(OUR_FILES, word) and not (ROOT / word).exists():
            return f"{word} is not there"
    script = next((word for word in words if re.fullmatch(r"scripts/\w+\.py", word)), None)
    if script is None:
        return None
    text = (ROOT / script).read_text(encoding="utf-8")
    after = words[words.index(script) + 1 :]
    options = [w.partition("=")[0] for w in after if re.match(r"--[a-z]", w)]
    return next(
        (f"{script} has no {o}" for o in options if not re.search(rf'["/]{o}\b', text)), None
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_pages_shell_lines_name_is_there(path: Path) -> None:
    lines = page_lines(path.read_text(encoding="utf-8"))
    found = [(line, said) for line in lines for words in commands(line) if (said := wrong(words))]
    assert not found


@pytest.mark.parametrize("path", SCRIPTED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_workflows_or_a_templates_lines_name_is_there(path: Path) -> None:
    found = [
        (line, said)
        for text in scripts_of(path)
        for line in joined(text)
        for words in commands(line)
        if (said := wrong(words))
    ]
    assert not found


def scripts_of(path: Path) -> Iterator[str]:
    """Yield the shell scripts of a file: a workflow's steps, or all of it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".yml":
        yield text
        return
    yaml = pytest.importorskip("yaml")
    try:
        yield from runs(yaml.load(text, yaml.BaseLoader))
    except yaml.YAMLError:
        pytest.skip(f"{path.name} is for another reader")


def runs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "run" and isinstance(inner, str):
                yield re.sub(r"\$\{\{.*?\}\}", "value", inner)
            else:
                yield from runs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from runs(inner)


@pytest.mark.parametrize(
    "line",
    [
        "edgeconv exprot x",
        "cd / && edgeconv doctor --jsn",
        "edgeconv recipe shwo x",
        "python scripts/nothing.py",
        "python scripts/walkthroughs.py --nothing",
        "FOO=1 make nothing",
        ".venv/bin/edgeconv bench x --emulate pi4 --secods 1",
    ],
)
def test_a_line_that_names_what_is_not_there_is_found(line: str) -> None:
    assert [said for words in commands(line) if (said := wrong(words))]

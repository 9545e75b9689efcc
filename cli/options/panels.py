"""Help in sections: the options that a newcomer needs come first, the others by what they are for.

An option names its section with `rich_help_panel`, which typer itself uses only with rich; s2s
prints plain help, because that starts quickly and looks the same in a pipe. Lines are as wide as
the terminal, up to `WIDEST`, and end between words.
"""

import re
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from typer.core import TyperCommand, TyperGroup

MAIN = "Options"
SEARCH = "Search"
SAMPLING = "Sampling (--search sample)"
RISK = "Minimum Bayes risk (--search mbr)"
CONTENT = "Input and content of outputs"
LISTING = "Several outputs and scores"
READING = "How texts are scored"
TESTS = "Paired tests and single lines"
PICTURES = "Files and pictures"
MEASURING = "Extent of the measurement"
SPEED = "Speed"
PLACES = "Runs and image features"
COMPLETION = "Completion of the shell"
MESSAGES = "Messages"
LIMITS = "Limits"
ORDER = (
    *(MAIN, SEARCH, SAMPLING, RISK, LISTING, CONTENT, READING, TESTS, PICTURES, MEASURING),
    *(PLACES, LIMITS, SPEED, COMPLETION, MESSAGES),
)

WIDEST = 100
"""Columns: longer lines are hard to read."""

_WORDS = re.compile(r"(?:[<>|] +|--?[\w-]+ +(?=[^-<>| ]))?(?:'[^']*'|[^\s'])+")
"""Words of a command, whole where they are in quotes; an option stays with its value."""

COMPLETION_OPTIONS = ("install_completion", "show_completion")
"""Parameters that typer adds, without a section."""


class SectionedCommand(TyperCommand):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the sections in their order."""
        _write_sections(_records(self.get_params(ctx), ctx), formatter)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the description."""
        _write_paragraphs(self.help or "", formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_paragraphs(self.epilog or "", formatter)


class SectionedGroup(TyperGroup):
    """A group of commands whose help says what each of them does in full."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options in sections."""
        self.format_commands(ctx, formatter)
        _write_sections(_records(self.get_params(ctx), ctx), formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a summary for each command, as long as it is."""
        commands: Any = self.commands
        records = [(name, commands.summary(name)) for name in self.list_commands(ctx)]
        _write_sections({"Commands": records}, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands, in the order of the help; builds none of them."""
        return list(self.commands)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the description."""
        _write_paragraphs(self.help or "", formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_paragraphs(self.epilog or "", formatter)


def _records(parameters: list[Any], context: Any) -> dict[str, list[tuple[str, str]]]:
    """Names and help of the parameters by section, the sections in order."""
    sections: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *ORDER)}
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None:
            sections[_section(parameter)].append(record)
    return sections


def _section(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    if parameter.name in COMPLETION_OPTIONS:
        return COMPLETION
    panel: str | None = getattr(parameter, "rich_help_panel", None)
    return panel or MAIN


def _write_sections(sections: dict[str, list[tuple[str, str]]], formatter: Any) -> None:
    """Write records in two columns, the second at the same place in all sections."""
    names = [len(name) for records in sections.values() for name, _ in records]
    limit = max(16, min(30, formatter.width // 3))
    place = 2 + max((length for length in names if length <= limit), default=limit) + 2
    for title, records in sections.items():
        if not records:
            continue
        formatter.write(f"\n{title}:\n")
        for name, text in records:
            first, *rest = wrap_words(text, formatter.width - place) or [""]
            if len(name) <= place - 4:
                formatter.write(f"  {name:{place - 2}}{first}".rstrip() + "\n")
            else:
                formatter.write(f"  {name}\n")
                rest = [first, *rest]
            for line in rest:
                formatter.write(f"{'':{place}}{line}\n")


def _write_paragraphs(text: str, formatter: Any) -> None:
    r"""Write paragraphs of help; the lines of one that begins with `\b` stay lines."""
    for paragraph in filter(None, re.split(r"\n\s*\n", text.strip("\n"))):
        lines = paragraph.splitlines()
        formatter.write("\n")
        if lines[0].strip() != "\b":
            lines = wrap_words(" ".join(line.strip() for line in lines), formatter.width - 2)
        else:
            lines = [part for line in lines[1:] for part in _fit(line, formatter.width - 2)]
        for line in lines:
            formatter.write(f"  {line}".rstrip() + "\n")


def _fit(line: str, width: int) -> Iterator[str]:
    """A line of examples or of a list, in several lines where the terminal is narrow."""
    if len(line) <= width:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())]
    entry = re.match(r"\s+\S+\s{2,}", line)
    if entry is not None:  # a name and its explanation
        head = entry.group()
        first, *rest = wrap_words(line[len(head) :], width - len(head))
        yield head + first
        yield from (" " * len(head) + part for part in rest)
        return
    # A command, whose lines the shell joins.
    current = indent
    for word in _WORDS.findall(line):
        if current.strip() and len(current) + len(word) + 3 > width:
            yield f"{current}\\"
            current = f"{indent}    "
        current += f"{word} "
    yield current.rstrip()


def wrap_words(text: str, width: int) -> list[str]:
    """Lines that end between words: a word longer than a line stays whole."""
    return wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)

"""Options of `s2s translate` beside the search: contents of outputs, how they are listed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .panels import CONTENT, LISTING, SPEED

if TYPE_CHECKING:
    from s2s.inference.glossary import Glossary

Tag = Annotated[
    str | None,
    typer.Option(
        metavar="TAG",
        help="Put TAG, such as <2en>, in front of lines without a tag.",
        rich_help_panel=CONTENT,
    ),
]
PrefixFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Output i begins with line i of FILE.", rich_help_panel=CONTENT
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="The input is TSV with these columns: source, features, prefix, must, avoid.",
        rich_help_panel=CONTENT,
    ),
]
Must = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TERM",
        help="Every output contains TERM (beam search); repeatable.",
        rich_help_panel=CONTENT,
    ),
]
Avoid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TERM",
        help="No output contains TERM as whole words; repeatable.",
        rich_help_panel=CONTENT,
    ),
]
GlossaryFile = Annotated[
    Path | None,
    typer.Option(
        "--glossary",
        metavar="FILE",
        help="Outputs contain the translations, in FILE (source, tab, target), of the terms that "
        "their lines have (beam search).",
        rich_help_panel=CONTENT,
    ),
]
GlossaryIgnoreCase = Annotated[
    bool,
    typer.Option(
        "--glossary-ignore-case",
        help="Find terms of the glossary in upper and lower case.",
        rich_help_panel=CONTENT,
    ),
]
ReplaceUnknown = Annotated[
    bool,
    typer.Option(
        "--replace-unknown",
        help="Replace unknown tokens by the source words they attend to ...",
        rich_help_panel=CONTENT,
    ),
]
Dictionary = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="... or by their translations in FILE: source, tab, target.",
        rich_help_panel=CONTENT,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1,
        max=1024,
        metavar="N",
        help="Translate with N processes, each on a core (CPU).",
        rich_help_panel=SPEED,
    ),
]
NBest = Annotated[
    int | None,
    typer.Option("--nbest", metavar="N", min=1, help="List the N best outputs of each line."),
]
Scores = Annotated[
    bool,
    typer.Option("--scores", help="List outputs with their scores.", rich_help_panel=LISTING),
]
ListFormat = Literal["tsv", "jsonl"]
Format = Annotated[
    ListFormat | None,
    typer.Option(
        "--format",
        help="Format of the list (line, rank, log_prob, score, length, status, text); tsv by "
        "default.",
        rich_help_panel=LISTING,
    ),
]


def choose_glossary(path: Path | None, ignore_case: bool) -> "Glossary | None":
    """The glossary of a file, if one is given; raises DataError for its faults."""
    from s2s.errors import UsageError
    from s2s.inference.glossary import Glossary

    if path is None:
        if ignore_case:
            raise UsageError("--glossary-ignore-case: has no effect without --glossary")
        return None
    return Glossary.read(path, ignore_case=ignore_case)

"""`s2s pull`: a model from the Hugging Face hub."""

from pathlib import Path
from typing import Annotated

import typer

from .export import Force
from .options.common import examples, note

EPILOG = examples(
    "s2s pull owner/dates",
    "s2s pull owner/dates@v1 -o dates.s2s",
    "s2s translate --run owner/dates < input.txt",
)


def pull(
    repository: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/NAME[@REVISION]",
            help="Repository, and a commit, tag or branch of it; by default the newest commit.",
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="Copy it to a file NAME.s2s or a folder; by default it is in the cache alone.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Download a model from the Hugging Face hub, or a newer commit of it.

    '--run OWNER/NAME' downloads a model that is not in the cache, and uses it from there without
    the network afterwards; this command fetches the newest. A repository that is no model of s2s,
    or has files that may execute code, is refused.
    """
    from s2s.pipeline.sharing import pull as download
    from s2s.run.hub import parse_hub_name

    note(str(download(parse_hub_name(repository), output, force=force)))

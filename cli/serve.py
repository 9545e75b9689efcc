"""`s2s serve`: trained runs behind HTTP."""

from typing import Annotated

import typer

from .options.common import (
    RUNS,
    Checkpoint,
    Device,
    Runs,
    choose_checkpoint,
    choose_run,
    choose_search,
    examples,
)
from .options.completion import run_names
from .options.fusion import Lm, LmWeight, choose_fusion
from .options.grouped import grouped
from .options.outputs import GlossaryFile, GlossaryIgnoreCase, choose_glossary
from .options.panels import LIMITS
from .options.search import SearchOptions

EPILOG = examples(
    "s2s serve",
    "s2s serve runs/multi30k-de-en --port 8080",
    "s2s serve de-en=runs/one en-de=runs/two --beam 5",
    "s2s serve --precision int8 --host 0.0.0.0",
    "curl http://127.0.0.1:8000/v1/text --data-binary @input.txt -H 'Content-Type: text/plain'",
)


@grouped
def serve(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]RUN...",
            help="Folders or names of runs, by default the newest. Requests choose one by its "
            "name; the first is the default.",
        ),
    ] = None,
    *,
    run_option: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="[NAME=]RUN",
            help="The same as RUN; repeatable.",
            autocompletion=run_names,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen at; 0.0.0.0 is every one."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one."),
    ] = 8000,
    search: SearchOptions,
    lm: Lm = None,
    lm_weight: LmWeight = None,
    glossary: GlossaryFile = None,
    glossary_ignore_case: GlossaryIgnoreCase = False,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
    batch_lines: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Lines, of all waiting requests, that are translated together. Outputs do not "
            "depend on it.",
            rich_help_panel=LIMITS,
        ),
    ] = 64,
    queue: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Requests that may wait for a model; further ones get status 503.",
            rich_help_panel=LIMITS,
        ),
    ] = 128,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Time of a request, waiting included; then it gets status 504.",
            rich_help_panel=LIMITS,
        ),
    ] = 60.0,
    max_lines: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Most lines of a request.", rich_help_panel=LIMITS),
    ] = 1000,
    max_length: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Most characters of a line.", rich_help_panel=LIMITS),
    ] = 2000,
    max_bytes: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Largest body of a request.", rich_help_panel=LIMITS),
    ] = 1 << 20,
) -> None:
    """Serve runs over HTTP: a page, a JSON API, metrics.

    The page is at /, the description of the API at /docs. Requests that wait at the same time are
    translated together. Ctrl-C and SIGTERM stop the server once all requests are answered.
    """
    which = choose_checkpoint(checkpoint)
    from s2s.serve.extra import require_libraries

    require_libraries()
    named = [*(run or ()), *(run_option or ())]
    chosen = [_named(text) for text in named] if named else [(None, None)]
    found = [(name, choose_run(place, runs)) for name, place in chosen]
    from s2s.serve.models import Source
    from s2s.serve.server import serve as serve_runs
    from s2s.serve.settings import Limits, Settings, Timeouts

    fusion = choose_fusion(lm, lm_weight, runs)
    terms = choose_glossary(glossary, glossary_ignore_case)
    sources = [
        Source(
            name=name or one.name,
            run=one,
            search=choose_search(one, search),
            device=device,
            checkpoint=which,
            fusion=fusion,
            glossary=terms,
        )
        for name, one in found
    ]
    settings = Settings(
        host=host,
        port=port,
        queue=queue,
        batch=batch_lines,
        limits=Limits(lines=max_lines, line_length=max_length, body_bytes=max_bytes),
        timeouts=Timeouts(request=timeout),
    )
    serve_runs(sources, settings)


def _named(text: str) -> tuple[str | None, str]:
    """Name and run of `NAME=RUN`; no name for a run alone."""
    from pathlib import Path

    if "=" not in text or Path(text).exists():
        return None, text
    name, _, run = text.partition("=")
    return name or None, run

"""`s2s push`: a run's model to the Hugging Face hub."""

from typing import Annotated

import typer

from .export import Languages, License, Precision
from .options.common import RUNS, Checkpoint, Runs, choose_checkpoint, examples, note, say
from .options.completion import run_names

EPILOG = examples(
    "s2s push runs/quickstart owner/dates",
    "s2s push de-en.s2s owner/de-en --public --license cc-by-4.0 --language de --language en",
    "s2s translate --run owner/dates < input.txt",
)


def push(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Folder or name of the run, or an exported model.",
            autocompletion=run_names,
        ),
    ],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Repository; made if there is none.")
    ],
    *,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Push to a public repository, or make one; by default a new one is private.",
        ),
    ] = False,
    precision: Precision = None,
    license_: License = None,
    languages: Languages = None,
    keep_card: Annotated[
        bool, typer.Option("--keep-card", help="Keep the README.md of the repository.")
    ] = False,
    checkpoint: Checkpoint = "best",
    runs: Runs = RUNS,
) -> None:
    """Push a model to the Hugging Face hub, with a model card.

    The token is that of 'hf auth login' or the variable HF_TOKEN. A model that is there becomes an
    earlier commit of the repository. Prints the commit, which pins the model: OWNER/NAME@COMMIT.
    """
    from s2s.run.finding import find_run
    from s2s.run.hub import parse_hub_name

    name = parse_hub_name(repository)
    chosen = find_run(run, runs)
    which = choose_checkpoint(checkpoint)
    from s2s.pipeline.exporting import ExportOptions
    from s2s.pipeline.model_card import CardOptions
    from s2s.pipeline.sharing import push as upload

    card = CardOptions(license=license_, languages=tuple(languages or ()))
    options = ExportOptions(checkpoint=which, precision=precision, card=card)
    made = upload(chosen, name, options, private=not public, keep_card=keep_card)
    note(str(made))
    if public and made.is_private:
        note(f"{name}: the repository was private before and stays so")
    say(f"{name}@{made.revision}")

"""`s2s check`: checks a recipe and the data that it names."""

from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import RECIPE, AsJson, Overrides, RecipePath, examples, note, say, say_json

if TYPE_CHECKING:
    from s2s.recipe.load import Draft

EPILOG = examples(
    "s2s check",
    "s2s check my.yaml --set model.decoder.layers=3",
    "s2s check my.yaml --no-data --json",
    "s2s check my.yaml --print > resolved.yaml",
)


def check(
    recipe: RecipePath = RECIPE,
    overrides: Overrides = None,
    prints: Annotated[
        bool,
        typer.Option(
            "--print",
            help="Print what the recipe, its bases and --set say together, as one recipe; comments "
            "say which file and line each value comes from.",
        ),
    ] = False,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Check the recipe alone, not the files it names.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a recipe and its local data, and report every fault with its line.

    Of files and folders, the first rows are read: columns have to exist, and text has to be UTF-8.
    A data set on the hub is not contacted.
    """
    from s2s.errors import RecipeError, UsageError
    from s2s.recipe.load import load_draft
    from s2s.recipe.said import dump_said

    if as_json and prints:
        raise UsageError("--print: prints YAML, which excludes --json")

    draft = None
    try:
        draft = load_draft(recipe, overrides or ())
        if draft.recipe.train.log_to:
            from s2s.training.trackers.build import check_trackers

            check_trackers(draft.recipe.train.log_to)
        faults = [] if no_data else _data_faults(draft)
    except UsageError as error:  # of the recipe, or of what it asks for
        faults = list(error.faults) if isinstance(error, RecipeError) else [str(error)]
    if as_json:
        say_json(_content(str(recipe), draft, faults))
    if faults:
        raise RecipeError(faults)
    assert draft is not None, "else there are faults"
    said = f"{recipe}: ok ({', '.join(text for _, text in _parts(draft))})"
    if prints:
        typer.echo(dump_said(draft), nl=False)
        note(said)
    elif not as_json:
        say(said)


def _data_faults(draft: "Draft") -> list[str]:
    """Faults of the data, each with its line of the recipe."""
    from s2s.data.sources.check import data_faults, unseen
    from s2s.text.remote import url_of

    for name in unseen(draft.recipe):
        is_hub = url_of(name) is None
        where = "on the hub, which is not contacted" if is_hub else "a URL, which is not opened"
        note(f"{name}: {where}; 's2s prep' reads it")
    return [draft.fault(keys, what) for keys, what in data_faults(draft.recipe)]


def _parts(draft: "Draft") -> list[tuple[str, str]]:
    """What the recipe is, by name and in words."""
    recipe = draft.recipe
    return [
        ("task", recipe.task),
        ("data", f"data {recipe.data.kind}"),
        ("tokenizer", f"tokenizer {_tokenizer(draft)}"),
        ("decoder", f"decoder {recipe.model.decoder.kind}"),
        ("run", f"run {draft.name}"),
    ]


def _tokenizer(draft: "Draft") -> str:
    return draft.recipe.tokenizer.kind if draft.says(("tokenizer",)) else "auto"


def _content(name: str, draft: "Draft | None", faults: list[str]) -> dict[str, object]:
    """The result for a program; without values of a recipe that cannot be read."""
    values = {} if draft is None else {key: text.split()[-1] for key, text in _parts(draft)}
    return {"recipe": name, "ok": not faults, "faults": faults, **values}

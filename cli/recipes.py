"""`s2s recipes`: lists, prints and copies the recipes that come with s2s."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .options.common import RECIPE, STDOUT, examples, note
from .options.completion import recipe_names
from .options.messages import Quiet, Verbose, remember
from .options.panels import SectionedGroup

recipes = typer.Typer(
    help="List, show and copy the recipes that come with s2s.",
    epilog=examples("s2s recipes list", "s2s recipes copy quickstart"),
    cls=SectionedGroup,
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the recipe, as in `s2s recipes list`.",
        autocompletion=recipe_names,
    ),
]


@recipes.callback()
def options(context: typer.Context, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Without a command, print the help."""
    remember(context, quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@recipes.command("list", epilog=examples("s2s recipes list"))
def list_recipes() -> None:
    """List the recipes with their purpose."""
    from s2s.recipe.load import shipped_recipes

    found = shipped_recipes()
    width = max((len(recipe.name) for recipe in found), default=0)
    for recipe in found:
        typer.echo(f"{recipe.name:{width}}  {recipe.summary}".rstrip())


@recipes.command("show", epilog=examples("s2s recipes show quickstart"))
def show(name: Name) -> None:
    """Print a recipe."""
    from s2s.recipe.shipped import find_shipped

    typer.echo(find_shipped(name).path.read_text(encoding="utf-8"), nl=False)


@recipes.command(
    "copy",
    epilog=examples("s2s recipes copy quickstart", "s2s recipes copy quickstart my.yaml"),
)
def copy(
    name: Name,
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="File to write; - is stdout.")
    ] = RECIPE,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Copy a recipe into the current folder, to run or change it."""
    from s2s.recipe.shipped import copy_recipe

    if target == STDOUT:
        show(name)
        return
    target = copy_recipe(name, target, force=force, option="--force")
    argument = "" if target == RECIPE else f" {target}"
    note(f"{target} written; next: s2s train{argument}")


@recipes.command("schema", epilog=examples("s2s recipes schema > recipe.schema.json"))
def schema() -> None:
    """Print the JSON Schema of recipes, for completion and checks in editors."""
    from s2s.recipe.load import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))

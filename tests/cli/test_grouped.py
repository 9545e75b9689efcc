"""A dataclass among a command's parameters stands for options of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from s2s_cli.options.grouped import changed, grouped


@dataclass(frozen=True, kw_only=True)
class Colour:
    name: Annotated[str, typer.Option(help="Of the paint.")]
    coats: Annotated[int, typer.Option("--layers", min=1)] = 2


@dataclass(frozen=True, kw_only=True)
class Varnish(Colour):
    is_matt: Annotated[bool, typer.Option("--matt")] = False
    tins: Annotated[list[Path] | None, typer.Option("--tin")] = None


def outcome(*arguments: str) -> object:
    seen: list[object] = []
    app = typer.Typer()

    @app.command()
    @grouped
    def paint(
        wall: Annotated[str, typer.Argument()] = "north",
        *,
        varnish: Varnish,
        brush: Annotated[str, typer.Option()] = "flat",
    ) -> None:
        """Paint a wall."""
        seen.append((wall, varnish, brush))

    result = CliRunner().invoke(app, arguments)
    return seen[0] if seen else result.output


def test_fields_are_options_and_the_command_gets_the_dataclass() -> None:
    given = outcome("south", "--name", "red", "--layers", "3", "--matt", "--tin", "a", "--tin", "b")
    tins = [Path("a"), Path("b")]
    assert given == ("south", Varnish(name="red", coats=3, is_matt=True, tins=tins), "flat")


def test_defaults_are_the_fields() -> None:
    assert outcome("--name", "red", "--brush", "round") == ("north", Varnish(name="red"), "round")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--name"),
        (("--name", "red", "--layers", "0"), "--layers"),
        (("--coats", "3"), "--coats"),
    ],
)
def test_options_are_checked_like_any_other(arguments: tuple[str, ...], complaint: str) -> None:
    output = outcome(*arguments)
    assert isinstance(output, str) and complaint in output


def test_help_is_the_commands_and_each_fields() -> None:
    output = outcome("--help")
    assert isinstance(output, str)
    for text in ("Paint a wall.", "--name", "Of the paint.", "--layers", "--matt", "--brush"):
        assert text in output
    assert "varnish" not in output


def test_changed_options_have_their_names_on_the_command_line() -> None:
    given = Varnish(name="red", coats=3, is_matt=True)
    assert changed(given) == ["--name", "--layers", "--matt"]
    assert changed(given, ("is_matt", "tins")) == ["--matt"]

"""The commands of s2s, walked from the program itself."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from s2s_cli.main import app
from s2s_cli.options.grouped import option_name
from s2s_cli.options.lazy import LazyCommands, lazy_group


class Parameter(NamedTuple):
    """An argument or option of a command."""

    command: str
    name: str
    """`--input`, or `SRC` for an argument."""
    annotation: Any


def commands() -> dict[tuple[str, ...], Any]:
    """Every command and group by the words that call it; the program itself has none."""
    return dict(_below((), lazy_group(app)))


def _below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    inner = getattr(command, "commands", None)
    if inner is not None:
        assert isinstance(inner, LazyCommands)
        for name in inner:
            yield from _below((*words, name), inner[name])


def parameters() -> Iterator[Parameter]:
    """Every parameter of every command, as its function has them."""
    for group, words in (
        (app, ()),
        *((g.typer_instance, (g.name,)) for g in app.registered_groups),
    ):
        assert group is not None
        for info in group.registered_commands:
            assert info.callback is not None
            name = info.name or info.callback.__name__.replace("_", "-")
            for one in inspect.signature(info.callback).parameters.values():
                yield Parameter(" ".join((*words, name)), _name(one), one.annotation)


def _name(parameter: inspect.Parameter) -> str:
    infos = get_args(parameter.annotation)[1:]
    if any(type(info).__name__ == "ArgumentInfo" for info in infos):
        return next(str(info.metavar) for info in infos if info.metavar)
    return option_name(parameter.name, parameter.annotation)

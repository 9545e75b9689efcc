"""Commands that are built when they are called: typer takes 50 ms to build all of them."""

import inspect
from collections import UserDict
from copy import copy
from typing import Any

import typer
from typer.main import get_command
from typer.models import CommandInfo, TyperInfo

from .messages import with_messages
from .panels import SectionedCommand, SectionedGroup


class LazyCommands(UserDict[str, Any]):
    """The commands of an application by name; each is built when it is first looked up.

    Every command has its help in sections and the options of `with_messages`.
    """

    def __init__(self, app: typer.Typer) -> None:
        super().__init__()
        for info in app.registered_commands:
            assert info.callback is not None, "a command is a function"
            self.data[info.name or info.callback.__name__.replace("_", "-")] = info
        for group in app.registered_groups:
            assert group.name is not None, "s2s_cli.main names its groups"
            self.data[group.name] = group

    def __getitem__(self, name: str) -> Any:
        """The command. Raises KeyError."""
        found = self.data[name]
        if isinstance(found, CommandInfo):
            found = self.data[name] = _command(found)
        elif isinstance(found, TyperInfo):
            found = self.data[name] = lazy_group(_application(found))
            found.name = name
        return found

    def summary(self, name: str) -> str:
        """The first paragraph of a command's description."""
        found = self.data[name]
        if isinstance(found, TyperInfo):
            found = _application(found).info
        text = found.help if isinstance(found.help, str) else inspect.getdoc(found.callback)
        return " ".join((text or "").strip().split("\n\n")[0].split())


def lazy_group(app: typer.Typer) -> SectionedGroup:
    """The group of an application's commands, with the options of its callback."""
    alone = copy(app)
    alone.registered_commands, alone.registered_groups = [], []
    group = get_command(alone)
    assert isinstance(group, SectionedGroup), "as each application says"
    group.commands = LazyCommands(app)
    return group


def _command(info: CommandInfo) -> Any:
    callback = info.callback
    assert callback is not None, "a command is a function"
    info = copy(info)
    info.cls, info.callback = SectionedCommand, with_messages(callback)
    alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    alone.registered_commands = [info]
    return get_command(alone)


def _application(group: TyperInfo) -> typer.Typer:
    assert group.typer_instance is not None, "a group is an application"
    return group.typer_instance

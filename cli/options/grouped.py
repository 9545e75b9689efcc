"""Options that several commands share, declared once as the fields of a dataclass."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer is to see it: a parameter that is a dataclass stands for its fields.

    Each field is an option of its own, annotated and with a default as a parameter would be; the
    command is called with the dataclass made of them.
    """
    flat: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            flat.extend(_options(parameter.annotation))
        else:
            flat.append(parameter)

    @wraps(command)
    def called(**given: Any) -> None:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**given, **made)

    called.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return called


def _options(kind: Any) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(
            field.name,
            keyword,
            annotation=field.type,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(kind)
    ]


def changed(group: Any, names: Iterable[str] | None = None) -> list[str]:
    """The options of a group, or the `names` of them, that are not as by default: `--beam`, ..."""
    return [
        f"--{field.name.replace('_', '-')}"
        for field in fields(group)
        if (names is None or field.name in names) and getattr(group, field.name) != field.default
    ]

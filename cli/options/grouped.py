"""Options that several commands share: the fields of a dataclass."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_args


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """`command` for typer: a parameter that is a dataclass becomes an option for each field.

    A field has the annotation and the default that the option would have as a parameter. The
    command receives the dataclass.
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
    """The options of a group, or the `names` of them, that differ from their defaults."""
    return [
        option_name(field.name, field.type)
        for field in fields(group)
        if (names is None or field.name in names) and getattr(group, field.name) != field.default
    ]


def option_name(name: str, annotation: Any) -> str:
    """`--beam`: the name that the annotation declares, else the field's."""
    # In an annotation, the first name that `typer.Option` is given lies in its `default`.
    declared = [
        one
        for option in get_args(annotation)[1:]
        for one in (option.default, *(option.param_decls or ()))
        if isinstance(one, str) and one.startswith("--")
    ]
    return declared[0].partition("/")[0] if declared else f"--{name.replace('_', '-')}"

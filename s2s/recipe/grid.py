"""The settings of a sweep: every combination of values that `--set A.B=X,Y` lists, or some of them.

The text after `=` is a YAML list without its brackets, so values may be lists, sections and quoted
texts with commas: `metrics=[bleu,chrf],[chrf]`.
"""

import hashlib
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import SequenceNode

from s2s.errors import UsageError

LONGEST_VALUE = 32
"""Characters of a value within a name."""

LONGEST_NAME = 120
"""Characters of a name; file systems allow 255 bytes."""


@dataclass(frozen=True)
class Axis:
    """A field that a sweep varies."""

    path: str
    """The field, dotted."""
    values: tuple[str, ...]
    """Its values, each in YAML; one alone where the field is set but not varied."""
    label: str = ""
    """The end of the path that tells it from the other varied fields."""

    @property
    def is_varied(self) -> bool:
        """Whether there are several values."""
        return len(self.values) > 1


@dataclass(frozen=True)
class Setting:
    """One combination of values."""

    suffix: str
    """What its run's name has after that of the recipe."""
    values: dict[str, str]
    """The values of the varied fields, by their paths."""
    overrides: tuple[str, ...]
    """All fields that are set, varied or not, in the order of the command line."""


@dataclass(frozen=True)
class Grid:
    """All combinations of the values of some fields."""

    axes: tuple[Axis, ...]

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def varied(self) -> tuple[Axis, ...]:
        """The fields with several values."""
        return tuple(axis for axis in self.axes if axis.is_varied)

    def settings(self, count: int | None = None, seed: int = 1) -> list[Setting]:
        """All settings, the values of the last field in turn; or `count` of them at random.

        With one seed, a larger count has the settings of a smaller one first.
        """
        if count is None or count >= len(self):
            chosen: Iterator[int] = iter(range(len(self)))
            count = len(self)
        else:
            chosen = _without_repetition(random.Random(seed), len(self))
        return [self._setting(self._places(number)) for number in islice(chosen, count)]

    def setting(self, values: dict[str, str]) -> Setting:
        """The setting with these values of varied fields; the first ones of all others."""
        return self._setting(
            [axis.values.index(values.get(axis.path, axis.values[0])) for axis in self.axes]
        )

    def _places(self, number: int) -> list[int]:
        """The place of each field's value in the setting of this number."""
        places: list[int] = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis.values))
            places.insert(0, place)
        return places

    def _setting(self, places: Sequence[int]) -> Setting:
        pairs = [(axis, axis.values[place]) for axis, place in zip(self.axes, places, strict=True)]
        varied = {axis.path: value for axis, value in pairs if axis.is_varied}
        parts = [f"{axis.label}-{_plain(axis, value)}" for axis, value in pairs if axis.is_varied]
        suffix = "-".join(parts)
        if len(suffix) > LONGEST_NAME:
            suffix = f"{suffix[: LONGEST_NAME - 9]}-{_digest(repr(varied), 8)}"
        return Setting(suffix, varied, tuple(f"{axis.path}={value}" for axis, value in pairs))


def read_grid(overrides: Sequence[str]) -> Grid:
    """The grid of `A.B=X,Y` arguments. Raises UsageError for arguments that are none."""
    axes = [_axis(override) for override in overrides]
    for place, axis in enumerate(axes):
        if axis.path in [other.path for other in axes[:place]]:
            raise UsageError(f"--set {axis.path}: given twice; list all values once: A.B=X,Y")
        if axis.path == "name" and axis.is_varied:
            raise UsageError("--set name: expected one name; runs are named by their values")
    paths = [axis.path for axis in axes if axis.is_varied]
    return Grid(tuple(Axis(axis.path, axis.values, _label(axis.path, paths)) for axis in axes))


def _axis(override: str) -> Axis:
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not path:
        raise UsageError(f"--set {override}: expected PATH=VALUE,VALUE,..., such as seed=1,2")
    values = _values(text)
    for place, value in enumerate(values):
        if value in values[:place]:
            raise UsageError(f"--set {path}: the value {value} is listed twice")
    return Axis(path, values)


def _values(text: str) -> tuple[str, ...]:
    """The texts of the values; the text itself where it is not a list, whose fault the recipe then
    has."""
    whole = f"[{text}]"
    try:
        node = YAML(typ="rt", pure=True).compose(whole)
    except (YAMLError, RecursionError, ValueError):
        return (text,)
    if not isinstance(node, SequenceNode) or node.end_mark.index != len(whole) or not node.value:
        return (text,)
    found = (whole[item.start_mark.index : item.end_mark.index] for item in node.value)
    return tuple(item.strip() for item in found)


def _label(path: str, paths: Sequence[str]) -> str:
    """The shortest end of a path that no other path has."""
    parts = path.split(".")
    for count in range(1, len(parts)):
        end = ".".join(parts[-count:])
        if sum(other == end or other.endswith(f".{end}") for other in paths) <= 1:
            return end
    return path


def _plain(axis: Axis, value: str) -> str:
    """A value as a part of a name; a digest is added where that alone does not tell it from the
    field's other values, on a file system that ignores case."""
    plain = _cut(value)
    shared = [other for other in axis.values if _cut(other).lower() == plain.lower()]
    is_whole = bool(plain) and len(shared) == 1
    return plain if is_whole else f"{plain}-{_digest(value, 4)}".strip("-")


def _cut(value: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", value).strip("-_")
    # A sign counts, a bracket does not.
    plain = f"-{plain}" if re.match(r"-[0-9.]", value) else plain
    return plain[:LONGEST_VALUE]


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _without_repetition(draw: random.Random, count: int) -> Iterator[int]:
    """The numbers below `count` in random order."""
    seen: set[int] = set()
    while len(seen) < count:
        number = draw.randrange(count)
        if number not in seen:
            seen.add(number)
            yield number

"""The outputs of a split with their scores and attention, as a report shows them.

They are plain data, so that a file can keep them: a second report then needs no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from s2s.report.lengths import LengthBin

Text = str
Weight = Annotated[int, Field(ge=0, le=1000)]
"""Attention in thousandths."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score with its signature."""

    name: str
    label: str
    value: float
    signature: str
    interval: tuple[float, float] | None
    """Mean and half width of a 95 % confidence interval."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """The regions of one image among the source tokens of a sample."""

    id: str
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A line with its output and the attention between their tokens."""

    line: int
    """From 1."""
    source: Text
    output: Text
    references: tuple[Text, ...]
    score: float | None
    source_tokens: tuple[Text, ...] = ()
    """Without attention there are no tokens."""
    output_tokens: tuple[Text, ...] = ()
    attention: tuple[dict[int, Weight], ...] = ()
    """For each output token the weights of source tokens, without those below a thousandth."""
    images: tuple[Region, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of a split."""

    split: str
    num_lines: int
    """Lines that were translated: the first of the split."""
    num_in_split: int
    model: str
    """The checkpoint, such as `update 2,467`."""
    search: dict[str, str | int | float | bool | None]
    device: str
    seconds: float
    """Time that the search took."""
    scores: tuple[Score, ...]
    blank: tuple[int, int]
    """Lines of output, and of references, without text."""
    line_score: str
    """Label of the score by which lines are sorted."""
    is_lower_better: bool
    bin_score: str
    """Label of the score by source length."""
    bins: tuple[LengthBin, ...]
    best: tuple[Sample, ...]
    worst: tuple[Sample, ...]
    samples: tuple[Sample, ...]
    """Lines at equal distances."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Outputs in a file."""

    key: str
    """A hash of everything that decides them."""
    outputs: Outputs


_ADAPTER: TypeAdapter[Kept] = TypeAdapter(Kept)


def dump_kept(kept: Kept) -> bytes:
    """The file's content, which `load_kept` reads."""
    return _ADAPTER.dump_json(kept)


def load_kept(content: bytes) -> Kept:
    """Outputs from a file. Raises ValueError for anything else."""
    return _ADAPTER.validate_json(content)


def thousandths(rows: Sequence[Sequence[float]]) -> tuple[dict[int, int], ...]:
    """Rows of weights without those that round to nothing."""
    return tuple(
        {place: min(w, 1000) for place, weight in enumerate(row) if (w := round(1000 * weight)) > 0}
        for row in rows
    )


def plain_search(fields: dict[str, Any]) -> dict[str, str | int | float | bool | None]:
    """The fields of a search as plain values."""
    return {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in fields.items()
    }

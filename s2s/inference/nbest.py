"""Outputs of a line as text with their scores, and the formats they are written in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from s2s.search.hypothesis import Hypothesis

ListFormat = Literal["tsv", "jsonl"]

COLUMNS = ("line", "rank", "log_prob", "score", "length", "status", "text")
"""The fields of an output in both formats."""

Status = Literal["finished", "cut", "proven", "unproven"]
"""Ended by itself, or cut at the longest output. For exhaustive search: proven to be the most
probable, or the best found before the search ran out of nodes."""


@dataclass(frozen=True)
class NbestOptions:
    """How outputs are written with their scores, instead of one line for a line."""

    nbest: int = 1
    """The number of best outputs of a line; all samples are written."""
    form: ListFormat = "tsv"


@dataclass(frozen=True)
class Output:
    """One output of one line."""

    text: str
    log_prob: float
    """Natural logarithm of its probability, with EOS if it is finished."""
    score: float
    """The score that search ranks by; larger is better."""
    length: int
    """The number of tokens in `log_prob`, with EOS if it is finished."""
    status: Status
    unmet: tuple[str, ...] | None = None
    """The constraints of its line that it does not meet; None if lines have no constraints."""

    @classmethod
    def of(cls, hypothesis: Hypothesis, text: str) -> Self:
        """The output of a hypothesis, whose text is given."""
        h = hypothesis
        return cls(text.replace("\n", " "), h.log_prob, h.score, h.length, _status(h))


def _status(hypothesis: Hypothesis) -> Status:
    if not hypothesis.finished:
        return "cut"
    match hypothesis.proven:
        case None:
            return "finished"
        case True:
            return "proven"
        case False:
            return "unproven"


MAX_NAMED = 10
"""The most lines that a report names."""


def name_lines(numbers: Sequence[int]) -> str:
    """`line 3` or `lines 3, 4, 7 and 12 more`."""
    shown = ", ".join(f"{number}" for number in numbers[:MAX_NAMED])
    more = f" and {len(numbers) - MAX_NAMED:,} more" if len(numbers) > MAX_NAMED else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{more}"


def join_outputs(pieces: list[list[Output]]) -> list[Output]:
    """Outputs of a line from those of its pieces: sums, and the worst status.

    A blank line has no pieces and one output: the empty text, of probability 1.
    """
    if len(pieces) == 1:
        return pieces[0]
    return [_joined(parts) for parts in zip(*pieces, strict=False)] or [_joined(())]


def _joined(parts: tuple[Output, ...]) -> Output:
    statuses = {part.status for part in parts}
    by_severity: tuple[Status, ...] = ("cut", "unproven", "finished")
    return Output(
        text=" ".join(part.text for part in parts if part.text),
        log_prob=sum((part.log_prob for part in parts), 0.0),
        score=sum((part.score for part in parts), 0.0),
        length=sum(part.length for part in parts),
        status=next((s for s in by_severity if s in statuses), "proven" if parts else "finished"),
    )


def format_outputs(outputs: list[Output], line: int, form: ListFormat) -> str:
    """Outputs of line number `line` (from 1), a row each, ranks from 1; without a last line end."""
    return "\n".join(_row(output, line, rank, form) for rank, output in enumerate(outputs, start=1))


def _row(output: Output, line: int, rank: int, form: ListFormat) -> str:
    """`COLUMNS` as TSV (a tab within the text becomes a space) or as a JSON object."""
    numbers = (output.log_prob, output.score)
    if form == "jsonl":
        values = (line, rank, *numbers, output.length, output.status, output.text)
        row: dict[str, object] = dict(zip(COLUMNS, values, strict=True))
        if output.unmet is not None:
            row["unmet"] = output.unmet
        return json.dumps(row, ensure_ascii=False)
    text = output.text.replace("\t", " ")
    fields = (line, rank, *(f"{x:.6f}" for x in numbers), output.length, output.status, text)
    return "\t".join(map(str, fields))

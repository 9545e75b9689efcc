"""Jobs: what a request asks of a model.

A job is made by the event loop and run by the thread of its model. Jobs with equal `key` are
searched together, piece by piece; what a piece becomes does not depend on the others.
"""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from s2s.inference.attention.maps import AttentionMap, maps_of
from s2s.inference.constraint_compiler import ConstraintCompiler
from s2s.inference.line_constraints import LineConstraints, unmet
from s2s.inference.nbest import Output
from s2s.inference.source_pieces import SourcePieces
from s2s.inference.translator import LineTranslator
from s2s.recipe.search import Search
from s2s.search.constraints.spec import UNCONSTRAINED, ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.text.lines import unless_blank


@dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """What requests have to share to be searched together."""

    search: Search
    keep: int = 1
    """The number of best outputs of a line."""
    want_attention: bool = False


class Job(Protocol):
    """What a request asks of a model; `answer` gets the outcome, or an error."""

    answer: Future[Any]
    turn: int

    @property
    def key(self) -> Hashable:
        """Jobs of one key may be searched together."""
        ...


@dataclass(frozen=True)
class LineOutcome:
    """What became of a line."""

    outputs: list[Output]
    attention: AttentionMap | None = None


@dataclass(eq=False, kw_only=True)
class TranslationJob:
    """Lines to translate."""

    lines: list[str]
    options: TranslateOptions
    tag: str | None = None
    constraints: list[LineConstraints] | None = None
    """One for each line; None if no line has any."""
    terms: list[tuple[str, ...]] | None = None
    """The terms of the glossary in each line, once it is read."""
    answer: Future[list[LineOutcome]] = field(default_factory=Future)
    turn: int = 0
    """Its place in the queue."""
    notes: list[str] = field(default_factory=list)
    """Remarks about the lines, such as outputs that were cut."""
    translator: LineTranslator | None = None
    pieces: SourcePieces | None = None
    found: list[list[Hypothesis]] = field(default_factory=list)
    """The hypotheses of the pieces that are searched already, the first ones."""

    @property
    def key(self) -> Hashable:
        """See `Job`."""
        return self.options

    @property
    def is_prepared(self) -> bool:
        """Whether the lines are read."""
        return self.pieces is not None

    @property
    def left(self) -> int:
        """The number of pieces that are still to be searched."""
        assert self.pieces is not None
        return len(self.pieces.sources) - len(self.found)

    def prepare(self, base: LineTranslator, compiler: ConstraintCompiler) -> None:
        """Read the lines, with the model's translator; raises what is wrong with them."""
        self.translator = replace(
            base.counting(), search=self.options.search, tag=self.tag, report=self.notes.append
        )
        # As `s2s translate` reads them.
        lines = list(map(unless_blank, self.lines))
        specs = None
        if self.constraints is None and compiler.glossary is not None:
            self.constraints = [LineConstraints()] * len(lines)
        if self.constraints is not None:
            self.terms = compiler.terms(self.translator, lines)
            specs = compiler.compiled(self.translator, lines, self.constraints)
        self.pieces = self.translator.pieces(lines, constraints=specs)

    def constraint(self, piece: int) -> ConstraintSpec:
        """The constraints of a piece."""
        assert self.pieces is not None
        specs = self.pieces.constraints
        return UNCONSTRAINED if specs is None else specs[piece]

    def finish(self) -> list[LineOutcome]:
        """What became of the lines, all of whose pieces are searched."""
        assert self.pieces is not None
        assert self.translator is not None
        self.translator.report_outputs(self.found, self.pieces)
        self.translator.report_unknown()
        outputs = self.translator.outputs_of(self.found, self.pieces)
        if self.constraints is not None:
            assert self.terms is not None
            target = self.translator.target
            outputs = [
                [replace(output, unmet=unmet(output.text, one, target, terms)) for output in many]
                for many, one, terms in zip(outputs, self.constraints, self.terms, strict=True)
            ]
        maps: Sequence[AttentionMap | None] = [None] * len(outputs)
        if self.options.want_attention:
            maps = maps_of(self.translator, self.lines, self.pieces, self.found)
        return [LineOutcome(*both) for both in zip(outputs, maps, strict=True)]


@dataclass(eq=False, kw_only=True)
class SingleJob:
    """What a model computes for one request by itself."""

    compute: Callable[[LineTranslator], Any]
    needs_all_tokens: bool = False
    """Whether it is computed without a shortlist, which may lack tokens of given translations."""
    answer: Future[Any] = field(default_factory=Future)
    turn: int = 0
    """Its place in the queue."""

    @property
    def key(self) -> Hashable:
        """See `Job`: no other job has it."""
        return id(self)


def succeed(job: Job, outcome: Any) -> None:
    """Give a job its outcome, unless nobody waits for it any more."""
    with suppress(InvalidStateError):
        job.answer.set_result(outcome)


def fail(job: Job, error: BaseException) -> None:
    """Give a job an error, unless nobody waits for it any more."""
    with suppress(InvalidStateError):
        job.answer.set_exception(error)

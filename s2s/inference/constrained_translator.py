"""A translator of lines with constraints and a glossary, which reports what is not met."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from s2s.inference.constraint_compiler import ConstraintCompiler
from s2s.inference.glossary import Glossary
from s2s.inference.line_constraints import (
    GivenConstraints,
    LineConstraints,
    LineConstraintsReader,
    unmet,
)
from s2s.inference.nbest import MAX_NAMED, Output, name_lines
from s2s.inference.translator import LineTranslator
from s2s.messages import printable
from s2s.text.tokenizer import Tokenizer
from s2s.text.word_boundaries import occurrences


@dataclass
class GlossaryCounts:
    """How many terms of a glossary lines have, and outputs."""

    lines: int = 0
    with_terms: int = 0
    terms: int = 0
    """Counted as often as they occur in the sources."""
    met: int = 0
    """Those of them that the outputs have."""

    def add(
        self, outputs: Sequence[str], terms: Sequence[Sequence[str]], target: Tokenizer
    ) -> None:
        """Count the terms of lines and their best outputs."""
        self.lines += len(outputs)
        for text, required in zip(outputs, terms, strict=True):
            self.with_terms += bool(required)
            self.terms += len(required)
            for term in dict.fromkeys(required):
                found = occurrences(text, target.normalize(term))
                self.met += min(found, required.count(term))

    def merge(self, other: "GlossaryCounts") -> None:
        """Add the counts of other lines."""
        self.lines += other.lines
        self.with_terms += other.with_terms
        self.terms += other.terms
        self.met += other.met

    def note(self) -> str:
        """The counts in one line."""
        if not self.terms:
            return f"glossary: none of its terms is in the {self.lines:,} lines"
        return (
            f"glossary: the outputs have {self.met:,} of {self.terms:,} terms, in "
            f"{self.with_terms:,} of {self.lines:,} lines"
        )


class ConstrainedTranslator:
    """A translator of lines with constraints; it reports outputs that do not meet them."""

    def __init__(
        self,
        translator: LineTranslator,
        reader: LineConstraintsReader | GivenConstraints | None = None,
        glossary: Glossary | None = None,
    ) -> None:
        """Reports terms of the glossary that no output can have."""
        self.translator = translator
        self.reader = reader or GivenConstraints(LineConstraints())
        self.glossary = glossary
        self.compiler = ConstraintCompiler(translator.target, glossary)
        self.counts = GlossaryCounts()
        if note := impossible_terms(self.compiler):
            translator.report(note)

    def __call__(self, lines: list[str], first: int = 0) -> list[str]:
        """One translation per line, as `LineTranslator`."""
        return [outputs[0].text for outputs in self.outputs(lines, first)]

    def outputs(self, lines: list[str], first: int = 0, keep: int = 1) -> list[list[Output]]:
        """As `LineTranslator.outputs`; each output names the constraints it does not meet."""
        sources, line_constraints = self.reader.read(lines, first)
        target = self.translator.target
        constraints = self.compiler.compiled(self.translator, sources, line_constraints)
        found = self.translator.outputs(sources, first, keep, constraints)
        terms = self.compiler.terms(self.translator, sources)
        checked = [
            [replace(one, unmet=unmet(one.text, constraints, target, required)) for one in outputs]
            for outputs, constraints, required in zip(found, line_constraints, terms, strict=True)
        ]
        self._report([outputs[0] for outputs in checked], first)
        self.counts.add([outputs[0].text for outputs in found], terms, target)
        return checked

    def report_terms(self) -> None:
        """Report how many terms of the glossary the whole input has, and its outputs."""
        if self.glossary is not None:
            self.translator.report(self.counts.note())

    def _report(self, outputs: list[Output], first: int) -> None:
        """Report outputs that do not meet their constraints, in one line."""
        missed = [
            (first + place, output.unmet)
            for place, output in enumerate(outputs, start=1)
            if output.unmet
        ]
        if not missed:
            return
        kinds = [what.partition(" ")[0] for _, several in missed for what in several]
        parts = [f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds)]
        self.translator.report(
            f"{len(missed):,} of {len(outputs):,} outputs do not meet the constraints of their "
            "lines "
            f"({', '.join(parts)}): {name_lines([number for number, _ in missed])}"
        )


def impossible_terms(compiler: ConstraintCompiler) -> str | None:
    """A note on the terms of a glossary that no output can have; None if there are none."""
    found = list(compiler.impossible.values())
    if not found:
        return None
    shown = []
    for entry in found[:MAX_NAMED]:
        unknown = dict.fromkeys(compiler.target.unknown([entry.target])[0])
        why = f" ({printable(', '.join(unknown))})" if any(unknown) else ""
        shown.append(f"{entry.place} '{printable(entry.target)}'{why}")
    more = f" and {len(found) - MAX_NAMED:,} more" if len(found) > MAX_NAMED else ""
    return (
        f"glossary: no output can have {len(found):,} of its terms, which the tokenizer does not "
        f"know: {', '.join(shown)}{more}"
    )

"""A comparison as text: scores, and the lines that differ most."""

from collections.abc import Iterator, Sequence

from s2s.metrics.comparison import Against, Comparison, Contrast, System

Sides = tuple[Sequence[str] | None, Sequence[Sequence[str | None]]]
"""Sources, if there are any, and sets of references."""


def table(comparison: Comparison) -> Iterator[str]:
    """Every score of every output, with p and the numbers of better and worse lines."""
    names = [comparison.baseline, *(other.name for other in comparison.others)]
    width = max(map(len, names))
    for place, score in enumerate(comparison.scores):
        yield f"{score.label}  {score.signature}"
        yield f"  {comparison.baseline:<{width}}  {score.formatted:>6}  baseline"
        for other in comparison.others:
            contrast = other.contrasts[place]
            yield f"  {other.name:<{width}}  {contrast.score.formatted:>6}  {_verdict(contrast)}"
            if contrast.is_flat:
                yield (
                    f"  {score.label} cannot tell {comparison.baseline} and {other.name} apart: it "
                    f"is {contrast.score.formatted} whichever lines they exchange; p says nothing"
                )


def side_by_side(comparison: Comparison, outputs: Sequence[System], sides: Sides) -> Iterator[str]:
    """The lines on which each output differs most from the baseline, with both scores."""
    first, *others = outputs
    for against, other in zip(comparison.others, others, strict=True):
        yield ""
        yield _heading(comparison, against)
        for found in against.lines:
            place = found.line - 1
            yield f"line {found.line}: {found.baseline:.2f} -> {found.other:.2f}"
            rows = [("source", sides[0][place])] if sides[0] is not None else []
            rows += [
                ("reference", text) for lines in sides[1] if (text := lines[place]) is not None
            ]
            rows += [(first.name, first.lines[place]), (other.name, other.lines[place])]
            width = max(len(name) for name, _ in rows)
            for name, text in rows:
                yield f"  {name:<{width}}  {text}"


def _verdict(contrast: Contrast) -> str:
    counts = ""
    if contrast.wins is not None:
        counts = f"  better {contrast.wins:,}, equal {contrast.ties:,}, worse {contrast.losses:,}"
    return f"p = {contrast.p_value:.4f}{counts}"


def _heading(comparison: Comparison, against: Against) -> str:
    pair = f"{comparison.baseline} and {against.name}"
    if not against.num_unequal:
        return f"{pair}: the same text in every line"
    differ = f"{pair}: {against.num_unequal:,} lines differ"
    if against.by is None:
        return differ
    if against.lines:
        return f"{differ}; most by {against.by}:"
    by = next(one for one in against.contrasts if one.score.label == against.by)
    return differ if by.wins or by.losses else f"{differ}, none by {against.by}"

"""Search as asked for on a command line: the recipe's section with some choices replaced."""

from dataclasses import replace

from s2s.errors import UsageError
from s2s.recipe import BeamSearch, GreedySearch, Search


def override(
    search: Search,
    *,
    kind: str | None = None,
    width: int | None = None,
    length_penalty: float | None = None,
) -> Search:
    """`search` with every choice that is not None replaced.

    A width or a length penalty alone asks for a beam. Raises UsageError for an unknown kind, for
    choices that contradict each other, and for values out of range.
    """
    if kind is None:
        kind = search.kind if width is None and length_penalty is None else "beam"
    lengths = {"max_ratio": search.max_ratio, "max_offset": search.max_offset}
    match kind:
        case "greedy":
            _refuse(width, "a beam width")
            _refuse(length_penalty, "a length penalty")
            return GreedySearch(kind="greedy", **lengths)  # type: ignore[arg-type]
        case "beam":
            beam = search if isinstance(search, BeamSearch) else None
            beam = beam or BeamSearch(kind="beam", **lengths)  # type: ignore[arg-type]
            return _with(beam, width, length_penalty)
        case _:
            raise UsageError(f"search: expected 'greedy' or 'beam', found '{kind}'")


def _refuse(value: float | None, what: str) -> None:
    if value is not None:
        raise UsageError(
            f"greedy search has no use for {what} ({value:g}); leave it out or search by 'beam'"
        )


def _with(beam: BeamSearch, width: int | None, length_penalty: float | None) -> BeamSearch:
    if width is not None:
        if not 1 <= width <= 1000:
            raise UsageError(f"beam width: expected 1 to 1000, found {width}")
        beam = replace(beam, width=width)
    if length_penalty is not None:
        if not 0.0 <= length_penalty < float("inf"):
            raise UsageError(f"length penalty: expected 0 or more, found {length_penalty:g}")
        beam = replace(beam, length_penalty=length_penalty)
    return beam

"""Choices made on the command line: the recipe's section with some of its fields replaced."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from s2s.errors import UsageError
from s2s.recipe.load import build_search
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search

KINDS: dict[str, type[Search]] = {
    "greedy": GreedySearch,
    "beam": BeamSearch,
    "sample": SampleSearch,
    "exhaustive": ExhaustiveSearch,
}
"""The kinds of search; of several that know a choice, the first that comes is meant."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line says, under the names of the recipe's fields; None for nothing."""

    kind: str | None = None
    width: int | None = None
    length_penalty: float | None = None
    length_normalization: str | None = None
    coverage_penalty: float | None = None
    groups: int | None = None
    diversity: float | None = None
    samples: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    nodes: int | None = None
    max_ratio: float | None = None
    max_offset: int | None = None
    min_ratio: float | None = None
    min_offset: int | None = None
    no_repeat_ngram: int | None = None
    repetition_penalty: float | None = None
    shortlist: int | None = None
    shortlist_frequent: int | None = None
    precision: str | None = None

    def given(self) -> dict[str, Any]:
        """The fields that say something, but for the kind."""
        said = asdict(self)
        return {name: said[name] for name in said if name != "kind" and said[name] is not None}


def option(name: str) -> str:
    """How the command line calls a field."""
    return "--beam" if name == "width" else f"--{name.replace('_', '-')}"


def override(search: Search, choices: Choices) -> Search:
    """`search` with every choice that was made.

    Without a kind, choices that the recipe's kind does not know ask for the kind that does:
    `--temperature` alone samples. Of another kind than the recipe's, what the two have in common
    is kept and the rest is as by default. Raises UsageError for an unknown kind, for choices that
    do not go together, and for values out of range.
    """
    given = choices.given()
    kind = choices.kind or _kind_of(search.kind, given)
    if kind not in KINDS:
        raise UsageError(f"--search: expected one of {', '.join(KINDS)}, found '{kind}'")
    strange = [name for name in given if name not in _names(kind)]
    if strange:
        known = " or ".join(k for k in KINDS if strange[0] in _names(k))
        raise UsageError(
            f"{kind} search has no use for {option(strange[0])}; leave it out or search by {known}"
        )
    before = {name: getattr(search, name) for name in _names(search.kind)}
    kept = {name: value for name, value in before.items() if name in _names(kind)}
    names = {name: option(name) for name in _names(kind)}
    built = build_search({**kept, **given, "kind": kind}, names)
    if "shortlist_frequent" in given and built.shortlist == 0:
        raise UsageError("--shortlist-frequent: has no use without --shortlist")
    return built


def _kind_of(recipe_kind: str, given: dict[str, Any]) -> str:
    """The recipe's kind if it knows all that was given, else the first kind that does."""
    for kind in (recipe_kind, *KINDS):
        if given.keys() <= _names(kind):
            return kind
    names = ", ".join(option(name) for name in given)
    raise UsageError(f"no search knows all of {names}; --search says which is meant")


def _names(kind: str) -> set[str]:
    """Fields of a kind of search."""
    return {field.name for field in fields(KINDS[kind])}

"""The keywords by which calls in Python choose a search and what is asked of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from s2s.errors import UsageError
from s2s.inference.glossary import Glossary
from s2s.inference.line_constraints import LineConstraints
from s2s.pipeline.task_checks import check_glossary
from s2s.recipe.choices import (
    CandidateSource,
    CandidateWeighting,
    LengthNormalization,
    SearchKind,
    SearchPrecisionChoice,
    UtilityName,
)
from s2s.recipe.search import Search
from s2s.recipe.search_overrides import KEYWORDS, keyword, override
from s2s.recipe.suggestions import close_to
from s2s.run.directory import Run


class SearchOptions(TypedDict, total=False):
    """Fields of the recipe's `search`, named as the options of `s2s translate`.

    What is not given is as the recipe has it. `s2s translate --help` explains each.
    """

    search: SearchKind | None
    beam: int | None
    length_penalty: float | None
    length_normalization: LengthNormalization | None
    coverage_penalty: float | None
    groups: int | None
    diversity: float | None
    nodes: int | None
    max_ratio: float | None
    max_offset: int | None
    min_ratio: float | None
    min_offset: int | None
    no_repeat_ngram: int | None
    repetition_penalty: float | None
    suppress_unknown: bool | None
    samples: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    seed: int | None
    candidates: int | None
    candidates_from: CandidateSource | None
    utility: UtilityName | Sequence[UtilityName] | None
    weighting: CandidateWeighting | None
    shortlist: int | None
    shortlist_frequent: int | None
    precision: SearchPrecisionChoice | None


class TranslateOptions(SearchOptions, total=False):
    """Options of a translation."""

    batch_size: int
    """Most lines read together; outputs do not depend on it."""
    tag: str | None
    """Of lines that begin with none."""
    constraints: LineConstraints | Sequence[LineConstraints] | None
    """For all lines, or one for each."""
    glossary: Mapping[str, str] | str | Path | None
    """Translations of source terms, or a file of them: outputs have those of terms that lines
    have."""
    glossary_ignore_case: bool
    """Whether terms are found in upper and lower case."""
    replace_unknown: bool | Mapping[str, str]
    """Replace unknown tokens by source words, or by their translations in a dictionary."""


def choose_search(search: Search, options: Mapping[str, Any]) -> Search:
    """`search` with the given fields; raises UsageError as `override` does."""
    fields = {short: name for name, short in KEYWORDS.items()}
    choices = {fields.get(name, name): value for name, value in options.items()}
    if isinstance(utility := choices.get("utility"), str | list | tuple):
        choices["utility"] = [utility] if isinstance(utility, str) else list(utility)
    for name, value in choices.items():
        is_several = name == "utility" and isinstance(value, list)
        if value is not None and not (is_several or isinstance(value, bool | int | float | str)):
            kind = type(value).__name__
            raise UsageError(f"{keyword(name)}: expected a number or a text, found {kind}")
    return override(search, choices, keyword)


def choose_glossary(runs: Sequence[Run], options: TranslateOptions) -> Glossary | None:
    """The glossary, if one is given; raises UsageError or DataError for its faults."""
    given, ignore_case = options.get("glossary"), options.get("glossary_ignore_case", False)
    if given is None:
        if ignore_case:
            raise UsageError("glossary_ignore_case: has no effect without glossary")
        return None
    check_glossary(runs, "glossary")
    if isinstance(given, str | Path):
        return Glossary.read(Path(given), ignore_case=ignore_case)
    return Glossary.of(given, ignore_case=ignore_case)


def check_names(given: Mapping[str, Any], options: type) -> None:
    """Raises UsageError for a keyword that is not among the options of a TypedDict."""
    known = tuple(options.__annotations__)
    for name in given:
        if name not in known:
            near = close_to(name, known) or f"; there are {', '.join(known)}"
            raise UsageError(f"{name}: no such option{near}")

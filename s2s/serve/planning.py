"""From a request to a job: checks what is asked against the model and the limits."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any

from s2s.errors import UsageError
from s2s.inference.continuations import Continuation, continuations
from s2s.inference.line_constraints import LineConstraints
from s2s.inference.pair_scores import PairScore, score_lines
from s2s.inference.translator import LineTranslator
from s2s.recipe.search import (
    BeamSearch,
    ExhaustiveSearch,
    MbrSearch,
    RerankSearch,
    SampleSearch,
    Search,
)
from s2s.recipe.search_overrides import KINDS, override
from s2s.recipe.suggestions import close_to
from s2s.search.strategies.build import (
    build_constrained_strategy,
    build_strategy,
    most_outputs,
)
from s2s.serve.faults import Refused
from s2s.serve.jobs import SingleJob, TranslateOptions, TranslationJob
from s2s.serve.models import Model
from s2s.serve.schemas import (
    AlternativesRequest,
    AttentionRequest,
    ScoreRequest,
    TranslateRequest,
)
from s2s.serve.settings import Limits
from s2s.spaces import is_blank
from s2s.text.lines import unless_blank
from s2s.text.tags import check_tag

OF_THE_SERVER = ("precision", "shortlist", "shortlist_frequent")
"""Fields of a search that decide how a model is loaded; options of the command set them."""


def plan_translation(model: Model, request: TranslateRequest, limits: Limits) -> TranslationJob:
    """The job of a request to translate; raises UsageError where it cannot be done."""
    most = limits.attention_lines if request.attention else limits.lines
    _check_lines("text", request.text, most, limits)
    return TranslationJob(
        lines=request.text,
        options=_options(model, request, limits),
        tag=_tag(model, request.tag),
        constraints=_constraints(model, request, limits),
    )


def plan_attention(model: Model, request: AttentionRequest, limits: Limits) -> TranslationJob:
    """The job of a request for attention; raises UsageError where it cannot be done."""
    whole = TranslateRequest(**request.model_dump(), attention=True)
    return plan_translation(model, whole, limits)


def plan_text(model: Model, lines: list[str], tag: str | None, limits: Limits) -> TranslationJob:
    """The job of lines of plain text; raises UsageError where it cannot be done."""
    _check_lines("the text", lines, limits.lines, limits)
    options = TranslateOptions(search=model.search)
    return TranslationJob(lines=lines, options=options, tag=_tag(model, tag))


def plan_alternatives(
    model: Model, request: AlternativesRequest, limits: Limits
) -> tuple[SingleJob, list[str]]:
    """The job of a request for alternatives, and the notes it will make; raises UsageError where it
    cannot be done."""
    _check_lines("text", [request.text], 1, limits)
    _check_lines("prefix", [request.prefix], 1, limits)
    _check_most("count", request.count, limits.alternatives)
    search = _search(model, request.search, limits)
    tag = _tag(model, request.tag)
    notes: list[str] = []
    line = unless_blank(request.text)

    def compute(translator: LineTranslator) -> list[Continuation]:
        chosen = replace(translator, search=search, tag=tag, report=notes.append)
        return continuations(chosen, line, request.prefix, request.count)

    return SingleJob(compute=compute), notes


def plan_scores(model: Model, request: ScoreRequest, limits: Limits) -> tuple[SingleJob, list[str]]:
    """The job of a request for scores, and the notes it will make; raises UsageError where it
    cannot be done."""
    _check_lines("source", request.source, limits.lines, limits)
    _check_lines("target", request.target, limits.lines, limits)
    if len(request.source) != len(request.target):
        raise UsageError(
            f"target: expected a translation for each of {len(request.source)} sources, found "
            f"{len(request.target)}"
        )
    pairs = list(zip(request.source, request.target, strict=True))
    notes: list[str] = []

    def compute(translator: LineTranslator) -> list[PairScore]:
        chosen = replace(translator, report=notes.append)
        return score_lines(chosen, pairs, ("source", 0))

    return SingleJob(compute=compute, needs_all_tokens=True), notes


def _options(model: Model, request: TranslateRequest, limits: Limits) -> TranslateOptions:
    search = _search(model, request.search, limits)
    _check_most("nbest", request.nbest, limits.outputs)
    if request.must or model.source.glossary is not None:
        build_constrained_strategy(search, request.nbest)  # reports a mistake early
    else:
        build_strategy(search, request.nbest)
    if request.attention:
        _check_attention(model, search)
    if request.attention or (isinstance(search, BeamSearch) and search.coverage_penalty):
        _check_cells(request.text, search, limits)
    return TranslateOptions(search=search, keep=request.nbest, want_attention=request.attention)


def _search(model: Model, given: Mapping[str, Any], limits: Limits) -> Search:
    """The model's search with the fields of a request; raises UsageError for what is too much."""
    if not given:
        return model.search
    known = tuple(dict.fromkeys(f.name for kind in KINDS.values() for f in fields(kind)))
    for name in given:
        if name not in known:
            raise UsageError(f"search.{name}: unknown field{close_to(name, known)}")
        if name in OF_THE_SERVER and given[name] != getattr(model.search, name):
            raise UsageError(
                f"search.{name}: the server was started with {getattr(model.search, name)}, which "
                "a request cannot change"
            )
    kind = given.get("kind")
    if kind is not None and not isinstance(kind, str):
        raise UsageError(f"search.kind: expected one of {', '.join(KINDS)}")
    changes = {name: value for name, value in given.items() if name not in OF_THE_SERVER}
    found = override(model.search, changes, "search.{}".format)
    _check_search(found, model.search, limits)
    if isinstance(found, RerankSearch) and model.translator.reranker is None:
        raise UsageError(
            "search.kind: the server was started without 'rerank', and lacks its other models"
        )
    return found


def _check_search(search: Search, usual: Search, limits: Limits) -> None:
    match search:
        case BeamSearch():
            _check_most("search.width", search.width, limits.outputs, usual)
        case SampleSearch():
            _check_most("search.samples", search.samples, limits.outputs, usual)
        case ExhaustiveSearch():
            _check_most("search.width", search.width, limits.outputs, usual)
            _check_most("search.nodes", search.nodes, limits.nodes, usual)
        case MbrSearch():
            most = limits.outputs // (2 if search.candidates_from == "both" else 1)
            _check_most("search.candidates", search.candidates, most, usual)
        case RerankSearch():
            _check_most("search.candidates", search.candidates, limits.outputs, usual)
    _check_most("search.max_ratio", search.max_ratio, limits.max_ratio, usual)
    _check_most("search.max_offset", search.max_offset, limits.max_offset, usual)


def _check_most(place: str, found: float, most: float, usual: Search | None = None) -> None:
    """Raises UsageError for a number above the limit and above that of the server's own search."""
    own = 0 if usual is None else getattr(usual, place.rpartition(".")[-1], 0)
    if found > max(most, own):
        raise UsageError(f"{place}: expected at most {max(most, own):,g}, found {found:,g}")


def _check_attention(model: Model, search: Search) -> None:
    if model.recipe.model.attention.kind == "none":
        raise UsageError(f"model {model.name} has no attention (model.attention.kind: none)")
    if isinstance(search, ExhaustiveSearch):
        raise UsageError("exhaustive search keeps no attention; use greedy, beam or sample")


def _check_cells(lines: Sequence[str], search: Search, limits: Limits) -> None:
    """Raises Refused for a line whose attention would not fit into memory beside that of others."""
    # Attention is kept of all candidates until they are ranked.
    is_kept = isinstance(search, BeamSearch | MbrSearch | RerankSearch)
    width = most_outputs(search) if is_kept else 1
    for number, line in enumerate(lines, start=1):
        longest = search.max_ratio * len(line) + search.max_offset
        if len(line) * longest * width > limits.attention_cells:
            raise Refused(
                413,
                f"text: line {number}: too long for its attention to be kept in a search of "
                f"width {width}; shorten it, or search with a smaller width",
            )


def _check_lines(place: str, lines: Sequence[str], most: int, limits: Limits) -> None:
    if len(lines) > most:
        raise Refused(413, f"{place}: expected at most {most:,} lines, found {len(lines):,}")
    for number, line in enumerate(lines, start=1):
        if len(line) > limits.line_length:
            raise Refused(
                413,
                f"{place}: line {number}: expected at most {limits.line_length:,} characters, "
                f"found {len(line):,}",
            )


def _tag(model: Model, tag: str | None) -> str | None:
    if tag is not None:
        check_tag(model.translator.source, tag, "tag")
    return tag


def _constraints(
    model: Model, request: TranslateRequest, limits: Limits
) -> list[LineConstraints] | None:
    """The constraints of each line; None if there are none."""
    if request.prefix is None and not request.must and not request.avoid:
        return None
    copies = model.translator.extended_vocabulary is not None
    for place, terms in (("must", request.must), ("avoid", request.avoid)):
        if terms and copies:
            raise UsageError(
                f"{place}: model {model.name} copies words that are not in its vocabulary "
                "(model.copy), to which terms refer"
            )
        if len(terms) > limits.terms:
            raise UsageError(f"{place}: expected at most {limits.terms} terms, found {len(terms)}")
        if any(map(is_blank, terms)):
            raise UsageError(f"{place}: expected a term, found nothing but spaces")
    prefixes = [""] if request.prefix is None else request.prefix
    if len(prefixes) == 1:
        prefixes = prefixes * len(request.text)
    if len(prefixes) != len(request.text):
        raise UsageError(
            f"prefix: expected one, or one for each of {len(request.text)} lines, found "
            f"{len(prefixes)}"
        )
    _check_lines("prefix", prefixes, limits.lines, limits)
    made = partial(LineConstraints, must=tuple(request.must), avoid=tuple(request.avoid))
    return [made(prefix=prefix) for prefix in prefixes]

"""Continuations of an output: what the model would write next, a word at a time."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from s2s.errors import UsageError
from s2s.inference.source_pieces import SourcePieces
from s2s.inference.translator import LineTranslator
from s2s.recipe.search import BeamSearch, Search
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from s2s.text.word_boundaries import single_spaced


@dataclass(frozen=True)
class Continuation:
    """A way to go on after a prefix."""

    next: str
    """The next word, or the rest of a word that the prefix begins; empty where the output ends."""
    prefix: str
    """The beginning of `text` up to and with that word."""
    text: str
    """The best output that goes on so."""
    log_prob: float
    """Natural logarithm of the probability of that output."""


def continuations(
    translator: LineTranslator, line: str, prefix: str, count: int
) -> list[Continuation]:
    """At most `count` continuations of `prefix` in a translation of `line`, probable ones first.

    No two have the same next word. A prefix that is empty or ends with a space is followed by a new
    word; any other may also be the beginning of a longer word. The most probable next tokens are
    found first, then the best output after each, by the search of the translator.

    Raises UsageError for a line that is translated in pieces.
    """
    pieces = translator.pieces([line])
    if len(pieces.sources) > 1:
        raise UsageError(
            f"expected a line that is translated whole, found one of {len(pieces.sources)} pieces"
        )
    if not pieces.sources:
        return []
    whole = translator.whole(translator.read(translator.tagged([line])))
    (tokens,) = translator.read_targets([prefix], whole)
    found = _best_outputs(translator, pieces, tokens, 2 * count)
    begun = single_spaced(translator.target.normalize(prefix))
    if begun and prefix[-1:].isspace():
        begun += " "
    best: dict[str, Continuation] = {}
    for hypothesis, text in found:
        going = _continuation(text, begun, hypothesis.log_prob)
        if going is None or (going.next in best and best[going.next].log_prob >= going.log_prob):
            continue
        best[going.next] = going
    return sorted(best.values(), key=lambda one: -one.log_prob)[:count]


def _continuation(text: str, begun: str, log_prob: float) -> Continuation | None:
    """How `text` goes on after `begun`; None if it begins in another way."""
    if text == begun.rstrip():
        return Continuation("", text, text, log_prob)
    if not text.startswith(begun):
        return None
    word = re.compile(r"\s*(\S*)").match(text, len(begun))
    assert word is not None
    return Continuation(word[1], text[: word.end()], text, log_prob)


def _best_outputs(
    translator: LineTranslator, pieces: SourcePieces, prefix: Sequence[int], count: int
) -> list[tuple[Hypothesis, str]]:
    """The best output, and its text, for each of the `count` most probable next tokens."""
    first = _search(translator, _one_step(translator.search, len(prefix), count), pieces, [prefix])
    possible = [one for one in first[0] if math.isfinite(one.log_prob)]  # of a small vocabulary
    ended = [one for one in possible if one.finished]
    begun = [one.tokens for one in possible if not one.finished]
    source = pieces.sources[0]
    several = pieces._replace(sources=[source] * len(begun), places=[pieces.places[0]] * len(begun))
    longer = _search(translator, translator.search, several, begun, keep=1)
    found = [*ended, *(hypotheses[0] for hypotheses in longer)]
    texts = translator.write([one.tokens for one in found], [source] * len(found))
    return [(one, text.replace("\n", " ")) for one, text in zip(found, texts, strict=True)]


def _one_step(settings: Search, length: int, count: int) -> BeamSearch:
    """The search for the `count` most probable tokens after a prefix of `length` tokens."""
    return BeamSearch(
        kind="beam",
        width=count,
        length_penalty=0.0,
        max_ratio=1e-12,  # the longest output does not depend on the source
        max_offset=length + 1,
        suppress_unknown=settings.suppress_unknown,
        shortlist=settings.shortlist,
        precision=settings.precision,
    )


def _search(
    translator: LineTranslator,
    settings: Search,
    pieces: SourcePieces,
    prefixes: Sequence[Sequence[int]],
    keep: int | None = None,
) -> list[list[Hypothesis]]:
    """The hypotheses of each source that begin with its prefix; all of a beam if `keep` is None."""
    width = settings.width if isinstance(settings, BeamSearch) else 1
    constraints = [
        ConstraintSpec((PrefixConstraint(tuple(prefix)),) if len(prefix) else ())
        for prefix in prefixes
    ]
    return search(
        translator.scorer,
        pieces.ids,
        settings,
        translator.device,
        keep=keep or width,
        places=pieces.places,
        constraints=constraints,
        features=translator.image_features_of(pieces.sources),
        ranking=translator.ranking(settings, pieces.sources),
    )

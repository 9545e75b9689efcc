"""Chooses tokenizers: characters for words, words for closed vocabularies, else subwords."""

import unicodedata
from typing import Any

from s2s.tasks.defaults.choice import Choice
from s2s.tasks.defaults.counts import PairCounts, SideCounts
from s2s.tasks.defaults.steps import step_of

ONE_WORD = 0.7
"""Share of lines of one word from which a side counts as words, not sentences."""

CLOSED_WORDS = 400
"""The most different words of a closed vocabulary, such as phones or commands."""

CLOSED_RARE = 0.003
"""The largest share of running words of a closed vocabulary that occur only once or twice."""

VOCABULARIES = (
    (8e3, 500),
    (30e3, 1_000),
    (90e3, 2_000),
    (300e3, 3_000),
    (1e6, 4_000),
    (10e6, 8_000),
    (100e6, 16_000),
)
"""Pieces for a corpus of at most so many running words, of both sides."""

LARGEST_VOCABULARY = 32_000
"""The same for more words."""

CHANGED = 0.003
"""Share of targets from which normalization counts as harmful."""

CHARACTERS_PER_PIECE = 3.8
"""Characters of a piece in text with spaces, for estimates before the tokenizer is trained."""


def is_closed(side: SideCounts) -> bool:
    """Whether a side has few different words, each of them often: phones, commands, tags."""
    return (
        side.mean_words >= 1.5
        and 0 < len(side.words) <= CLOSED_WORDS
        and side.share_of_rare_words(3) <= CLOSED_RARE
    )


def is_of_words(side: SideCounts) -> bool:
    """Whether most lines of a side are single words in an alphabet."""
    return side.share_of_one_word >= ONE_WORD and side.share_without_spaces < 0.5


def choose_tokenizers(
    counts: PairCounts, *, has_source: bool, has_features: bool
) -> tuple[dict[str, Any], Choice]:
    """The recipe's `tokenizer` section, and the choice of it."""
    target, target_reason = _side(counts, counts.target)
    if not has_source:
        return target, Choice({("tokenizer",): target}, target_reason)
    source, source_reason = _side(counts, counts.source)
    is_shared = source["kind"] == target["kind"] == "unigram" and not has_features
    if is_shared and counts.shares_script:
        target["vocabulary"] = vocabulary_for(counts, counts.source, counts.target)
        reason = f"{target_reason}; both sides share a script, so they share the pieces"
        return target, Choice({("tokenizer",): target}, reason)
    chosen: dict[str, Any] = {"kind": "separate", "source": source, "target": target}
    reason = f"source: {source_reason}; target: {target_reason}"
    if has_features:
        separators = "".join(sorted(set(counts.feature_characters) & set(";(),|+")))
        chosen["source_features"] = {"kind": "word", "separators": separators or " "}
    return chosen, Choice({("tokenizer",): chosen}, reason)


def vocabulary_for(counts: PairCounts, *sides: SideCounts) -> int:
    """The number of pieces for these sides of the corpus; never more than their words allow."""
    scale = counts.pairs / max(1, counts.target.lines)
    running = scale * (counts.source.num_words + counts.target.num_words)
    if all(side.share_without_spaces > 0.5 for side in sides):
        running = scale * sum(side.characters for side in sides) / 2
    pieces = step_of(running, VOCABULARIES, LARGEST_VOCABULARY)
    words = sum(len(side.words) for side in sides)
    letters = sum(len(side.alphabet) for side in sides)
    return max(20, min(pieces, (letters + words // 2) // 10 * 10))


def tokens_of(side: SideCounts, tokenizer: dict[str, Any]) -> float:
    """The estimated number of tokens of a line, end of sentence not counted."""
    match tokenizer["kind"]:
        case "character":
            return side.mean_characters
        case "word":
            return side.mean_words
        case _:
            per_piece = 1.5 if side.share_without_spaces > 0.5 else CHARACTERS_PER_PIECE
            return max(side.mean_words, side.mean_characters / per_piece)


def _side(counts: PairCounts, side: SideCounts) -> tuple[dict[str, Any], str]:
    """The tokenizer of a side, and why."""
    if is_of_words(side):
        share = f"{side.share_of_one_word:.0%} of the lines are one word"
        is_composed = any(unicodedata.normalize("NFD", c) != c for c in side.alphabet)
        if side is counts.source and is_composed:
            return {"kind": "character", "decompose": True}, f"{share}, with accents or syllables"
        return {"kind": "character"}, share
    if is_closed(side):
        return {"kind": "word"}, f"only {len(side.words)} different words, each of them often"
    pieces = vocabulary_for(counts, side)
    chosen: dict[str, Any] = {"kind": "unigram", "vocabulary": pieces}
    reason = f"{counts.pairs:,} pairs of some {side.mean_words:.0f} words"
    if side.share_without_spaces > 0.5:
        chosen["character_coverage"] = 0.9995
        reason += ", in a script without spaces"
    if counts.target.share_changed > CHANGED:
        chosen["normalization"] = "identity"
        reason += (
            "; the usual normalization would change letters or numbers of "
            f"{counts.target.share_changed:.1%} of the targets, which no output could have"
        )
    return chosen, reason

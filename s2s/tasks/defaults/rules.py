"""What counts say about filters, training, search and metrics; one function a subject.

The numbers come from trainings that `benchmarks/defaults.py` scored on validation data;
docs/defaults.md lists which data and settings were tried. Between those sizes they are guesses.
"""

import math
from dataclasses import dataclass
from typing import Any

from s2s.recipe.yaml import Keys
from s2s.tasks.defaults.choice import Choice, at
from s2s.tasks.defaults.counts import PairCounts
from s2s.tasks.defaults.sizes import LARGE, MEDIUM, SMALL, Size
from s2s.tasks.defaults.speed import LONGEST
from s2s.tasks.defaults.steps import step_of
from s2s.tasks.defaults.tokenizers import is_closed, is_of_words, tokens_of

BUDGET = "15 min"
"""The time of a training whose recipe says nothing about its length."""

AMBIGUOUS = 0.25
"""Share of repeated sources with several targets from which there is no one right output, as in
dialogue."""

SUMMARY = 2.5
"""Ratio of source to target characters from which targets count as summaries."""

COPIED = 0.3
"""Share of longer target words that stand in the source, from which copying pays."""

LONG_SOURCE = 150
"""Tokens to which the sources of summaries are cut: what matters stands at the beginning."""

ROUND = 50
"""Numbers of tokens are rounded to multiples of this."""

DROPOUT = ((20e3, 0.4), (200e3, 0.3), (1.5e6, 0.2))
"""Dropout for corpora of at most so many target tokens."""

LEAST_DROPOUT = 0.1
"""The same for more tokens."""

BATCH_PAIRS = ((60e3, 20), (200e3, 32), (1.5e6, 36), (1e7, 64))
"""Pairs of a batch for corpora of at most so many target tokens."""

MOST_BATCH_PAIRS = 96
"""The same for more tokens."""

FEWEST_BATCH_TOKENS = 200

CUDA_BATCHES = 4
"""How many times larger batches are on a GPU, which small ones leave idle. An estimate: it has not
been measured."""

EPOCHS = ((500, 150), (2_000, 100), (6_000, 60), (20_000, 40), (60_000, 30))
"""The most epochs that help a corpus of at most so many pairs."""

EPOCHS_OF_MANY = 20
"""The same for more pairs."""

LARGE_MODEL_TOKENS = 300e3
"""Target tokens up to which a small model is the better one, whatever the time."""


@dataclass(frozen=True)
class Lengths:
    """Estimated tokens of the pairs, from characters and the tokenizer that was chosen."""

    source: float
    """Tokens of a source on average."""
    target: float
    longest_source: float
    """Tokens that 99 % of the sources do not exceed."""
    longest_target: float
    total_target: float
    """Target tokens of all training pairs."""


def lengths_of(counts: PairCounts, tokenizer: dict[str, Any], features: float = 0.0) -> Lengths:
    """The lengths under a `tokenizer` section; `features` are tokens of source features."""
    source = tokenizer.get("source", tokenizer)
    target = tokenizer.get("target", tokenizer)
    sides = []
    for side, section in ((counts.source, source), (counts.target, target)):
        mean = tokens_of(side, section)
        longest = mean * side.characters_at(0.99) / max(1.0, side.mean_characters)
        sides.append((mean, longest))
    (source_mean, source_most), (target_mean, target_most) = sides
    return Lengths(
        source=source_mean + features,
        target=target_mean,
        longest_source=source_most + features,
        longest_target=target_most,
        total_target=(target_mean + 1) * counts.pairs,
    )


def is_summary(counts: PairCounts) -> bool:
    """Whether targets are much shorter than sources, and in their words."""
    ratio = counts.source.mean_characters / max(1.0, counts.target.mean_characters)
    return ratio >= SUMMARY and counts.share_copied_uncased >= COPIED


def choose_filters(
    counts: PairCounts, lengths: Lengths, *, has_features: bool = False
) -> list[Choice]:
    """Filters and limits that fit the lengths; sources that end with features are not cut."""
    found = []
    if lengths.longest_source > 2 * LONG_SOURCE and is_summary(counts) and not has_features:
        found.append(
            Choice(
                {at("data.truncate.source"): LONG_SOURCE},
                f"1 % of the sources have more than {lengths.longest_source:.0f} tokens, and "
                "targets are short: they tell what stands at the beginning",
            )
        )
    elif max(lengths.longest_source, lengths.longest_target) > 180:
        longest = max(lengths.longest_source, lengths.longest_target)
        most = min(1000, math.ceil(1.3 * longest / ROUND) * ROUND)
        found.append(
            Choice(
                {at("data.filters.max_length"): most},
                f"1 % of the texts have more than {longest:.0f} tokens",
            )
        )
    ratio = max(lengths.source, lengths.target) / max(1.0, min(lengths.source, lengths.target))
    if ratio > 3.0 or counts.share_ambiguous > AMBIGUOUS:
        values: dict[Keys, Any] = {at("data.filters.max_ratio"): 1000.0}
        reason = f"lengths of source and target differ {ratio:.1f} times on average"
        if ratio <= 3.0:
            reason = "a source has several targets, of any length"
        if lengths.target > lengths.source or counts.share_ambiguous > AMBIGUOUS:
            most = math.ceil(1.5 * lengths.longest_target / ROUND) * ROUND
            values[at("search.max_offset")] = max(20, most)
        found.append(Choice(values, reason))
    return found


def choose_metrics(counts: PairCounts, target: dict[str, Any]) -> Choice:
    """Metrics, and the one that chooses the best checkpoint."""
    side = counts.target
    has_text = counts.source.characters > 0  # a caption has no source to pronounce
    if has_text and target["kind"] == "word" and is_of_words(counts.source):
        return _metrics(["g2p_wer", "per"], "g2p_wer", "words into symbols, as in pronunciation")
    if side.share_of_one_word >= 0.5 and side.share_without_spaces < 0.5:
        reason = f"{side.share_of_one_word:.0%} of the targets are one word, where BLEU is 0"
        return _metrics(["exact", "cer"], "exact", reason)
    if is_closed(side):
        reason = f"{len(side.words)} different target words: outputs may be exactly right"
        best = "bleu" if side.mean_words >= 4 else "chrf"
        return _metrics(["exact", "bleu", "chrf"], best, reason)
    if counts.share_ambiguous > AMBIGUOUS:
        reason = f"{counts.share_ambiguous:.0%} of repeated sources have different targets"
        return _metrics(["bleu", "chrf", "perplexity"], "perplexity", reason)
    if is_summary(counts):
        ratio = side.mean_characters and counts.source.mean_characters / side.mean_characters
        return _metrics(["rouge"], "rougeL", f"summaries: sources are {ratio:.0f} times as long")
    if counts.pairs < 5_000 or side.mean_words < 4:
        few = f"{counts.pairs:,} pairs of {side.mean_words:.0f} words"
        return _metrics(["bleu", "chrf"], "chrf", f"{few}: chrF tells weak models apart")
    return _metrics(["bleu", "chrf"], "bleu", "targets are sentences")


def choose_copying(counts: PairCounts, tokenizer: dict[str, Any]) -> list[Choice]:
    """A pointer network where targets repeat the words of their sources."""
    is_shared = tokenizer["kind"] in ("unigram", "bpe")
    if not is_shared or not is_summary(counts):
        return []
    share = counts.share_copied
    found = []
    if counts.share_copied_uncased > share + 0.2:
        found.append(
            Choice(
                {at("tokenizer.normalization"): "nmt_nfkc_cf"},
                f"{counts.share_copied_uncased:.0%} of the target words stand in their source, but "
                f"only {share:.0%} in the same case; outputs are in lower case",
            )
        )
        share = counts.share_copied_uncased
    if share >= COPIED:
        reason = f"{share:.0%} of the longer target words stand in their source"
        found.append(Choice({at("model.copy"): "pointer", at("model.tied"): "all"}, reason))
    return found


def choose_dropout(lengths: Lengths, size: Size) -> Choice:
    """More dropout for fewer tokens and larger models."""
    tokens = lengths.total_target
    rate = step_of(tokens, DROPOUT, LEAST_DROPOUT)
    if size is LARGE and LEAST_DROPOUT < rate < 0.4:
        rate = round(rate + 0.1, 1)
    names = ("embedding", "encoder", "decoder", "readout")
    values: dict[Keys, Any] = {("model", "dropout", name): rate for name in names}
    return Choice(values, f"some {_thousands(tokens)} target tokens")


def choose_batch(lengths: Lengths, *, is_cuda: bool) -> tuple[int, Choice]:
    """Small batches for few tokens, where the number of updates counts: the pairs of a batch, and
    the choice."""
    tokens = lengths.total_target
    pairs = step_of(tokens, BATCH_PAIRS, MOST_BATCH_PAIRS)
    if is_cuda:
        pairs *= CUDA_BATCHES
    longer = min(max(min(lengths.source, LONG_SOURCE), lengths.target), LONGEST) + 1
    batch_tokens = max(FEWEST_BATCH_TOKENS, math.ceil(pairs * longer / ROUND) * ROUND)
    pairs = max(1, round(batch_tokens / longer))
    reason = f"some {pairs} pairs: on {_thousands(tokens)} target tokens, updates count"
    return pairs, Choice({at("train.batch_tokens"): batch_tokens}, reason)


def epochs_for(pairs: int) -> int:
    """The most epochs that help a corpus of so many pairs."""
    return step_of(pairs, EPOCHS, EPOCHS_OF_MANY)


def sizes_for(lengths: Lengths) -> tuple[Size, ...]:
    """The sizes that the corpus is large enough for, largest first."""
    if lengths.total_target > LARGE_MODEL_TOKENS:
        return (LARGE, MEDIUM, SMALL)
    return (SMALL,)


def _metrics(names: list[str], best: str, reason: str) -> Choice:
    return Choice({at("metrics"): names, at("train.best"): best}, reason)


def _thousands(number: float) -> str:
    """A number to two digits: 410,000."""
    digits = max(0, math.floor(math.log10(max(1.0, number))) - 1)
    return f"{round(number / 10**digits) * 10**digits:,}"

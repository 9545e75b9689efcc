"""Counts of training pairs, from which defaults are chosen."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from s2s.data.sources.chunks import Chunk
from s2s.spaces import split_words
from s2s.text.source_features import SEPARATOR

MOST_COUNTED = 100_000
"""Pairs that are counted in detail; of the others only the number matters."""

MOST_WORDS = 2_000_000
"""Distinct words of a side that are kept; more do not change any choice."""

LONG_WORD = 4
"""Letters of a word that stands in source and target because it was copied, not by chance."""

MANY_SOURCES, MANY_REPEATED = 20, 0.02
"""Repeated sources, and the share of pairs that have one, from which their targets tell whether a
source has one right target."""

DOUBTFUL = "\u200c\u200d\u00ad"
"""Characters that sentencepiece's rules for translation remove, but spelling needs: zero-width
non-joiner and joiner of Persian and Indic scripts, soft hyphen."""

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO ", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that write no spaces between words, as Unicode names their characters."""


@dataclass
class SideCounts:
    """Counts of one side of the pairs."""

    lines: int = 0
    characters: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """Words between spaces, with how often each occurs."""
    alphabet: Counter[str] = field(default_factory=Counter)
    """Characters, with how often each occurs."""
    one_word: int = 0
    """Lines of one word at most."""
    changed: int = 0
    """Lines in which normalization would change letters or numbers: x², a zero-width non-joiner."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Numbers of characters of the lines."""

    def add(self, lines: Iterable[str]) -> None:
        """Count these lines."""
        for line in lines:
            words = split_words(line)
            self.lines += 1
            self.characters += len(line)
            self.lengths[len(line)] += 1
            if len(self.words) < MOST_WORDS:
                self.words.update(words)
            self.alphabet.update(line)
            self.one_word += len(words) <= 1
            self.changed += _is_changed(line)

    @property
    def mean_characters(self) -> float:
        """Characters of a line on average."""
        return self.characters / max(1, self.lines)

    @property
    def num_words(self) -> int:
        """Words of all lines."""
        return sum(self.words.values())

    @property
    def mean_words(self) -> float:
        """Words of a line on average."""
        return self.num_words / max(1, self.lines)

    @property
    def share_of_one_word(self) -> float:
        """The share of lines of one word at most."""
        return self.one_word / max(1, self.lines)

    @property
    def share_changed(self) -> float:
        """The share of lines that normalization would change."""
        return self.changed / max(1, self.lines)

    def characters_at(self, share: float) -> int:
        """The length in characters that a share of the lines does not exceed."""
        left = share * self.lines
        for length in sorted(self.lengths):
            left -= self.lengths[length]
            if left <= 0:
                return length
        return 0

    def share_of_rare_words(self, count: int) -> float:
        """The share of running words that occur fewer than `count` times."""
        rare = sum(times for times in self.words.values() if times < count)
        return rare / max(1, self.num_words)

    @property
    def letters(self) -> set[str]:
        """The letters among the characters, without case, marks and digits."""
        found = "".join(self.alphabet).casefold()
        return {c for c in found if unicodedata.category(c).startswith("L")}

    @property
    def share_without_spaces(self) -> float:
        """The share of characters of scripts that write no spaces between words."""
        inside = sum(n for c, n in self.alphabet.items() if _is_unspaced(c))
        return inside / max(1, self.characters)


@dataclass
class PairCounts:
    """Counts of the training pairs."""

    pairs: int = 0
    """All pairs, also those that are not counted in detail."""
    source: SideCounts = field(default_factory=SideCounts)
    target: SideCounts = field(default_factory=SideCounts)
    feature_characters: Counter[str] = field(default_factory=Counter)
    """Characters of the source features, where sources have some."""
    long_target_words: int = 0
    """Words of targets of at least `LONG_WORD` letters."""
    copied: int = 0
    """Those of them that stand in their source."""
    copied_uncased: int = 0
    """Those that stand in their source if case is ignored."""
    targets_of: dict[str, list[int]] = field(default_factory=dict, repr=False)
    """Hashes of the targets of each source."""

    def add(self, source: Sequence[str], target: Sequence[str], whole: Sequence[str]) -> None:
        """Count these pairs; `whole` are the sources with ids and features."""
        self.source.add(source)
        self.target.add(target)
        for line, other in zip(whole, target, strict=True):
            self.targets_of.setdefault(line, []).append(hash(other))
        for one, other in zip(source, target, strict=True):
            wanted = {word for word in split_words(other) if len(word) >= LONG_WORD}
            if wanted:
                folded = {word.casefold() for word in split_words(one)}
                self.long_target_words += len(wanted)
                self.copied += len(wanted & set(split_words(one)))
                self.copied_uncased += sum(word.casefold() in folded for word in wanted)

    @property
    def share_copied(self) -> float:
        """The share of long target words that stand in their source."""
        return self.copied / max(1, self.long_target_words)

    @property
    def share_copied_uncased(self) -> float:
        """The same if case is ignored."""
        return self.copied_uncased / max(1, self.long_target_words)

    @property
    def share_ambiguous(self) -> float:
        """The share of repeated sources whose targets differ; 0 if there are few repeated ones."""
        repeated = [targets for targets in self.targets_of.values() if len(targets) > 1]
        pairs = sum(map(len, repeated))
        if len(repeated) < MANY_SOURCES or pairs < MANY_REPEATED * self.source.lines:
            return 0.0
        return sum(len(set(targets)) > 1 for targets in repeated) / len(repeated)

    @property
    def shares_script(self) -> bool:
        """Whether most letters of the target are letters of the source too."""
        target = self.target.letters
        return bool(target) and len(target & self.source.letters) >= len(target) / 2


def count_pairs(
    chunks: Iterator[Chunk], *, has_text: bool, num_ids: int, has_features: bool
) -> PairCounts:
    """Count training pairs; sources may end with ids of image features and with source features."""
    counts = PairCounts()
    for chunk in chunks:
        left = MOST_COUNTED - counts.pairs
        counts.pairs += len(chunk.source)
        if left <= 0:
            continue
        source, target = chunk.source[:left], chunk.target[:left]
        if num_ids:
            source = [line.rsplit(SEPARATOR, num_ids)[0] for line in source]
        if has_features:
            split = [line.rpartition(SEPARATOR) for line in source]
            source = [text for text, _, _ in split]
            for _, _, features in split:
                counts.feature_characters.update(features)
        whole = chunk.source[:left]
        counts.add(source if has_text else [""] * len(source), target, whole)
    return counts


def _is_changed(line: str) -> bool:
    """Whether normalization would change letters, marks or numbers beyond composing accents."""
    if line.isascii():
        return False
    if any(character in line for character in DOUBTFUL):
        return True
    composed = unicodedata.normalize("NFC", line)
    if unicodedata.normalize("NFKC", composed) == composed:
        return False
    return any(
        unicodedata.category(c)[0] in "LMN" and unicodedata.normalize("NFKC", c) != c
        for c in set(composed)
    )


def _is_unspaced(character: str) -> bool:
    """Whether the script of a character writes no spaces between words."""
    if character.isascii():
        return False
    return unicodedata.name(character, "").startswith(UNSPACED)

"""The tokenizers of both sides: trained together, saved and loaded as a pair."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from s2s.errors import DataError, RunError
from s2s.files import atomic_write, read_json
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    FromRunTokenizer,
    SentencePieceTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    Tokenizers,
    WordTokenizer,
)
from s2s.text.source_features import FEATURES_FOLDER, SEPARATOR, SourceFeatureTokenizer
from s2s.text.spelled_words import SpelledWords, SpelledWordTrainer
from s2s.text.subword import MODEL_FILE, Subwords, SubwordTrainer
from s2s.text.tags import Tagged, read_tags, tags_of, untagged
from s2s.text.taken_tokenizer import (
    Ready,
    open_sentencepiece,
    taken_folder,
    taken_trainer,
    text_tokenizer,
)
from s2s.text.tokenizer import Tokenizer, TokenizerTrainer
from s2s.text.vocabulary import (
    VOCABULARY_FILE,
    Characters,
    CharacterTrainer,
    Words,
    WordTrainer,
    load_vocabulary,
)

PAIR_FILE = "tokenizers.json"
FORMAT = 1

BEFORE = {"source_features": "before"}
"""What the file of a pair says beside its format where features stand before the source. Earlier
versions refuse such a pair, as they would read its sources in another order."""


@dataclass(frozen=True)
class TokenizerPair:
    """Tokenizers of the two sides: the same object if the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer

    @property
    def is_shared(self) -> bool:
        """Whether both sides have one vocabulary."""
        return self.source is self.target

    def save(self, folder: Path) -> None:
        """Write both into `folder`."""
        if self.is_shared:
            self.source.save(folder / "shared")
        else:
            self.source.save(folder / "source")
            self.target.save(folder / "target")
        content: dict[str, object] = {"format": FORMAT, "shared": self.is_shared}
        source = untagged(self.source)
        if isinstance(source, SourceFeatureTokenizer) and source.is_before:
            content |= BEFORE
        atomic_write(folder / PAIR_FILE, json.dumps(content) + "\n")


def load_tokenizer(folder: Path, *, is_before: bool = False) -> Tokenizer:
    """Read what `Tokenizer.save` wrote; source features stand before the source if `is_before`.
    Raises RunError if it is missing or damaged."""
    tags = read_tags(folder)
    found = _load_untagged(folder, is_before)
    return found if tags is None else Tagged(found, tags)


def _load_untagged(folder: Path, is_before: bool) -> Tokenizer:
    base = _load_one(folder)
    features = folder / FEATURES_FOLDER
    if not features.exists():
        return base
    return SourceFeatureTokenizer(base, _load_one(features), is_before=is_before)


def _load_one(folder: Path) -> Tokenizer:
    if (folder / MODEL_FILE).exists():
        return Subwords.load(folder)
    if (folder / VOCABULARY_FILE).exists():
        tokens, spelling = load_vocabulary(folder)
        return SpelledWords(tokens, spelling) if isinstance(tokens, Words) and spelling else tokens
    raise RunError(f"{folder}: no tokenizer here (neither {MODEL_FILE} nor {VOCABULARY_FILE})")


def load_tokenizers(folder: Path) -> TokenizerPair:
    """Read what `TokenizerPair.save` wrote. Raises RunError if it is missing or damaged."""
    path = folder / PAIR_FILE
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file; 's2s prep' makes the tokenizers") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); 's2s prep --force' makes it again") from error
    if content == {"format": FORMAT, "shared": True}:
        shared = load_tokenizer(folder / "shared")
        return TokenizerPair(shared, shared)
    separate = {"format": FORMAT, "shared": False}
    if content in (separate, separate | BEFORE):
        source = load_tokenizer(folder / "source", is_before=content != separate)
        return TokenizerPair(source, load_tokenizer(folder / "target"))
    raise RunError(f"{path}: expected tokenizers of format {FORMAT}, found {content!r:.80}")


def sampling(tokenizer: Tokenizer, alpha: float, seed: Sequence[int]) -> Tokenizer:
    """The tokenizer with subword sampling of its text; tags and features are not sampled.

    What it encodes is a function of the lines and `seed`.
    """
    match tokenizer:
        case Tagged():
            return Tagged(sampling(tokenizer.base, alpha, seed), tokenizer.tags)
        case SourceFeatureTokenizer():
            base = sampling(tokenizer.base, alpha, seed)
            return SourceFeatureTokenizer(base, tokenizer.features, is_before=tokenizer.is_before)
        case Subwords():
            return tokenizer.sampling(alpha, seed)
        case _:
            raise DataError(
                "tokenizer.sampling: expected a tokenizer of subwords to sample, and that of the "
                "run is one of words or characters; remove it"
            )


def train_tokenizers(
    recipe: Tokenizers,
    chunks: Iterable[tuple[Sequence[str], Sequence[str]]],
    seed: int,
    tags: Sequence[str] = (),
    folder: Path = Path(),
) -> TokenizerPair:
    """Train on chunks of (source lines, target lines), which are read once.

    The source's tokenizer gets the `tags`, which lines do not have. Tokenizers of other runs are
    taken from the `folder` of the run. Raises DataError if a vocabulary does not fit the text, a
    file is no model, or a tokenizer that is taken over lacks a tag.
    """
    source: TokenizerTrainer
    if isinstance(recipe, SeparateTokenizers):
        source = _side("source", recipe.source, seed, folder)
        target = _side("target", recipe.target, seed, folder)
        if recipe.source_features is not None:
            source = _SourceFeatureTrainer(
                base=source,
                features=_trainer(recipe.source_features, seed),
                is_before=recipe.source_features_place == "before",
            )
    elif isinstance(recipe, FromRunTokenizer):
        pair = load_tokenizers(taken_folder(folder, "tokenizer"))
        source = target = taken_trainer(pair.source, recipe)
        if not pair.is_shared:
            target = taken_trainer(pair.target, recipe)
    else:
        source = target = _trainer(recipe, seed)
    for source_lines, target_lines in chunks:
        source.add(source_lines)
        target.add(target_lines)
    trained = _with_tags(source.train(), tags, recipe)
    return TokenizerPair(trained, trained if target is source else target.train())


def _with_tags(tokenizer: Tokenizer, tags: Sequence[str], recipe: Tokenizers) -> Tokenizer:
    """The source's tokenizer with these tags, and those that it has."""
    known = tags_of(tokenizer)
    missing = [tag for tag in tags if tag not in known]
    if not missing:
        return tokenizer
    if isinstance(recipe, FromRunTokenizer) and not recipe.extend:
        listed = ", ".join(known) or "none"
        raise DataError(
            f"data.tag: the tokenizer of {recipe.run} has no tag {missing[0]} (its tags: "
            f"{listed}); tokenizer.extend: 1 or more adds it"
        )
    return Tagged(untagged(tokenizer), [*known, *missing])


def _side(side: str, recipe: SideTokenizer, seed: int, folder: Path) -> TokenizerTrainer:
    """The trainer of one of two sides; of a run that is taken over, that of its text."""
    if not isinstance(recipe, FromRunTokenizer):
        return _trainer(recipe, seed, f"tokenizer.{side}")
    pair = load_tokenizers(taken_folder(folder, f"tokenizer.{side}"))
    return taken_trainer(text_tokenizer(pair.source if side == "source" else pair.target), recipe)


@dataclass(frozen=True)
class _SourceFeatureTrainer:
    """Trains on the text and the features of sources."""

    base: TokenizerTrainer
    features: TokenizerTrainer
    is_before: bool

    def add(self, lines: Sequence[str]) -> None:
        """Read more text."""
        split = [line.rpartition(SEPARATOR) for line in lines if SEPARATOR in line]
        self.base.add([line for line in lines if SEPARATOR not in line])
        self.base.add([source for source, _, _ in split])
        self.features.add([features for _, _, features in split])

    def train(self) -> Tokenizer:
        """Both tokenizers. Raises DataError if the text cannot fill a vocabulary."""
        return SourceFeatureTokenizer(
            self.base.train(), self.features.train(), is_before=self.is_before
        )


def _trainer(recipe: SideTokenizer, seed: int, place: str = "tokenizer") -> TokenizerTrainer:
    match recipe:
        case SentencePieceTokenizer():
            return Ready(open_sentencepiece(recipe, place))
        case FromRunTokenizer():
            raise AssertionError("taken over, not trained")
        case SubwordTokenizer():
            return SubwordTrainer(recipe, seed)
        case CharacterTokenizer():
            return CharacterTrainer(recipe)
        case WordTokenizer(characters=True):
            characters = CharacterTrainer(CharacterTokenizer(kind="character"))
            return SpelledWordTrainer(WordTrainer(recipe), characters)
        case WordTokenizer():
            return WordTrainer(recipe)
        case _:
            assert_never(recipe)


__all__ = [
    "Characters",
    "Subwords",
    "Tagged",
    "Tokenizer",
    "TokenizerPair",
    "Words",
    "load_tokenizer",
    "load_tokenizers",
    "sampling",
    "train_tokenizers",
]

"""The tokenizers of both sides: trained together, saved and loaded as a pair."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from s2s.errors import RunError
from s2s.files import atomic_write, read_json
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    Tokenizers,
    WordTokenizer,
)
from s2s.text.source_features import FEATURES_FOLDER, SEPARATOR, SourceFeatureTokenizer
from s2s.text.subword import MODEL_FILE, Subwords, SubwordTrainer
from s2s.text.tags import Tagged, read_tags
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
        content = {"format": FORMAT, "shared": self.is_shared}
        atomic_write(folder / PAIR_FILE, json.dumps(content) + "\n")


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read what `Tokenizer.save` wrote. Raises RunError if it is missing or damaged."""
    tags = read_tags(folder)
    return _load_untagged(folder) if tags is None else Tagged(_load_untagged(folder), tags)


def _load_untagged(folder: Path) -> Tokenizer:
    base = _load_one(folder)
    features = folder / FEATURES_FOLDER
    return SourceFeatureTokenizer(base, _load_one(features)) if features.exists() else base


def _load_one(folder: Path) -> Tokenizer:
    if (folder / MODEL_FILE).exists():
        return Subwords.load(folder)
    if (folder / VOCABULARY_FILE).exists():
        return load_vocabulary(folder)
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
    if content == {"format": FORMAT, "shared": False}:
        return TokenizerPair(load_tokenizer(folder / "source"), load_tokenizer(folder / "target"))
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
            return SourceFeatureTokenizer(base, tokenizer.features)
        case Subwords():
            return tokenizer.sampling(alpha, seed)
        case _:
            raise AssertionError("the recipe samples subwords only")


def train_tokenizers(
    recipe: Tokenizers,
    chunks: Iterable[tuple[Sequence[str], Sequence[str]]],
    seed: int,
    tags: Sequence[str] = (),
) -> TokenizerPair:
    """Train on chunks of (source lines, target lines), which are read once.

    The source's tokenizer gets the `tags`, which lines do not have. Raises DataError if a
    vocabulary does not fit the text.
    """
    source: TokenizerTrainer
    if isinstance(recipe, SeparateTokenizers):
        source, target = _trainer(recipe.source, seed), _trainer(recipe.target, seed)
        if recipe.source_features is not None:
            source = _SourceFeatureTrainer(source, _trainer(recipe.source_features, seed))
    else:
        source = target = _trainer(recipe, seed)
    for source_lines, target_lines in chunks:
        source.add(source_lines)
        target.add(target_lines)
    trained = Tagged(source.train(), tags) if tags else source.train()
    return TokenizerPair(trained, trained if target is source else target.train())


@dataclass(frozen=True)
class _SourceFeatureTrainer:
    """Trains on the text and the features of sources."""

    base: TokenizerTrainer
    features: TokenizerTrainer

    def add(self, lines: Sequence[str]) -> None:
        """Read more text."""
        split = [line.rpartition(SEPARATOR) for line in lines if SEPARATOR in line]
        self.base.add([line for line in lines if SEPARATOR not in line])
        self.base.add([source for source, _, _ in split])
        self.features.add([features for _, _, features in split])

    def train(self) -> Tokenizer:
        """Both tokenizers. Raises DataError if the text cannot fill a vocabulary."""
        return SourceFeatureTokenizer(self.base.train(), self.features.train())


def _trainer(recipe: SideTokenizer, seed: int) -> TokenizerTrainer:
    match recipe:
        case SubwordTokenizer():
            return SubwordTrainer(recipe, seed)
        case CharacterTokenizer():
            return CharacterTrainer(recipe)
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

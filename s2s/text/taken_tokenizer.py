"""Tokenizers that preparation takes over: from a trained run, or a file of sentencepiece.

Those of a run lie in the folder of the run that is prepared, copied by `s2s.run.origin`.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from s2s.errors import DataError
from s2s.recipe.tokenizer import FromRunTokenizer, SentencePieceTokenizer
from s2s.text.extension import extender
from s2s.text.sentencepiece_model import with_special_ids
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import MODEL_FILE, Subwords
from s2s.text.tags import TAGS_FILE, untagged
from s2s.text.tokenizer import Tokenizer, TokenizerTrainer
from s2s.text.vocabulary import VOCABULARY_FILE

ORIGIN_FOLDER = "origin"

FILES = (MODEL_FILE, VOCABULARY_FILE, TAGS_FILE, "tokenizers.json")
"""Names of the files of tokenizers."""

MOST_BYTES = 1 << 28
"""The most bytes of a file of sentencepiece."""


def taken_folder(run_folder: Path, place: str) -> Path:
    """The folder of the tokenizers that a place of the recipe takes from another run."""
    return run_folder / ORIGIN_FOLDER / place


def digest(folder: Path) -> dict[str, str]:
    """The hashes of the files of tokenizers; empty if there are none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name in FILES:
            name = path.relative_to(folder).as_posix()
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def text_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of the text alone, without tags and source features."""
    plain = untagged(tokenizer)
    return plain.base if isinstance(plain, SourceFeatureTokenizer) else plain


def open_sentencepiece(section: SentencePieceTokenizer, place: str) -> Subwords:
    """The tokenizer of a file of sentencepiece, with the special ids of s2s.

    Raises DataError for a file that cannot be read or is no model of subwords.
    """
    path = Path(section.model)
    name = f"{place}.model: {path}"
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error})") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{name}: expected {MOST_BYTES:,} bytes at most")
    model = with_special_ids(content, name)
    try:
        found = Subwords(model)
        found.surfaces()
    except (RuntimeError, ValueError, IndexError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: sentencepiece cannot load it ({reason})") from error
    return found


class Ready:
    """A tokenizer that needs no training, as a trainer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def add(self, lines: Sequence[str]) -> None:
        """The text has no effect."""

    def train(self) -> Tokenizer:
        """The tokenizer."""
        return self.tokenizer


def taken_trainer(tokenizer: Tokenizer, section: FromRunTokenizer) -> TokenizerTrainer:
    """The tokenizer of a run, extended by the text if the recipe wants it."""
    if not section.extend:
        return Ready(tokenizer)
    return extender(tokenizer, section.extend, section.extend_min_count)

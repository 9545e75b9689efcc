"""The lexicon of a run for vocabulary shortlists: `shortlist.safetensors` beside `data/`.

It consists of ids, so it records the tokenizer of these ids, and the data it was learned from.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.data.ibm_model1 import Lexicon
from s2s.data.preparation.fingerprints import FINGERPRINT_FILE, read_fingerprint
from s2s.errors import RunError, UsageError
from s2s.files import atomic_write, remove_abandoned
from s2s.run.directory import Run

NAME = "shortlist.safetensors"
FORMAT = "1"


def write_lexicon(run: Run, lexicon: Lexicon) -> Path:
    """Save a lexicon in its run; returns its path. Raises RunError if the disk refuses it."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {
        "by_frequency": lexicon.by_frequency_W,
        "tokens": lexicon.tokens_VM,
        "probs": lexicon.probs_VM,
    }
    about = {
        "format": FORMAT,
        "tokenizer": tokenizer_digest(run),
        "data": next(iter(read_fingerprint(run.data_folder)), ""),
    }
    path = run.folder / NAME
    remove_abandoned(run.folder)
    try:
        atomic_write(path, save(arrays, about))
    except OSError as error:
        raise RunError(f"{path}: cannot write there: {error.strerror}") from error
    return path


def read_lexicon(run: Run, source_vocabulary: int, target_vocabulary: int) -> Lexicon:
    """The lexicon of a run with vocabularies of these sizes.

    Raises UsageError if there is none, RunError for a damaged file or one of another tokenizer or
    other data than the run's. The data are not compared if the run no longer has them.
    """
    from safetensors import SafetensorError, safe_open

    path = run.folder / NAME
    again = f"'s2s shortlist --run {run.folder}' makes it again"
    if run.is_exported and not path.is_file():
        raise UsageError(f"{run.place}: exported without a shortlist; search with --shortlist 0")
    if not path.is_file():
        raise UsageError(
            f"{run.folder}: no shortlist here; 's2s shortlist --run {run.folder}' learns one"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            arrays = [file.get_tensor(name) for name in ("by_frequency", "tokens", "probs")]
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: not a shortlist of s2s, or damaged; {again}") from error
    if about.get("format") != FORMAT:
        found = about.get("format", "none")
        raise RunError(f"{path}: expected format {FORMAT}, found {found}; {again}")
    if about.get("tokenizer") != tokenizer_digest(run):
        raise RunError(f"{path}: learned with another tokenizer than this run has; {again}")
    data = read_fingerprint(run.data_folder)
    if data and about.get("data") not in data:
        raise RunError(f"{path}: learned from other data than this run has; {again}")
    lexicon = Lexicon(*arrays)
    if not _is_sound(lexicon, source_vocabulary, target_vocabulary):
        raise RunError(f"{path}: not a shortlist of s2s, or damaged; {again}")
    return lexicon


def _is_sound(lexicon: Lexicon, source_vocabulary: int, target_vocabulary: int) -> bool:
    """Whether all sizes are right, all ids exist and all weights are probabilities."""
    frequent, tokens, probs = lexicon.by_frequency_W, lexicon.tokens_VM, lexicon.probs_VM
    return (
        [a.dtype.name for a in (frequent, tokens, probs)] == ["int64", "int64", "float32"]
        and tokens.ndim == 2
        and tokens.shape == probs.shape
        and len(tokens) == source_vocabulary
        and np.array_equal(np.sort(frequent), np.arange(target_vocabulary))
        and bool(((tokens >= 0) & (tokens < target_vocabulary)).all())
        and bool(((probs >= 0.0) & (probs <= 1.0)).all())
    )


def tokenizer_digest(run: Run) -> str:
    """A hash of the tokenizers' files, which is the same for tokenizers trained again."""
    digest = hashlib.sha256()
    for path in sorted(run.tokenizer_folder.rglob("*")):
        if path.is_file() and path.name != FINGERPRINT_FILE:
            digest.update(path.relative_to(run.tokenizer_folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()

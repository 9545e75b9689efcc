"""Shortlists of a run: learned from its data or read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from s2s.data.ibm_model1 import ITERATIONS, by_frequency, lexicon, model_one, sampled
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import UsageError
from s2s.recipe.data import has_source_text
from s2s.recipe.label_rules import DECODERS
from s2s.recipe.model import HardAttention
from s2s.run.shortlist import read_lexicon, write_lexicon

if TYPE_CHECKING:
    from s2s.data.ibm_model1 import Lexicon
    from s2s.data.store import Corpus
    from s2s.run.directory import Run


class Learned(NamedTuple):
    """Facts about a shortlist."""

    path: Path
    pairs: int
    """Sentence pairs that it was learned from; 0 if it was read from a file."""
    all_pairs: int
    known: int
    """Source tokens with translations."""
    source_vocabulary: int
    """Source tokens in all."""


def learn_shortlist(run: Run, file: Path | None = None) -> Learned:
    """Learn lexical probabilities of a run's tokens from its training data, and save them there.

    From more pairs than fit in memory a sample is taken. With a `file` the probabilities are read
    from it. Raises RunError where the run has no data, DataError for a file that is not as
    expected.
    """
    if run.is_exported:
        raise UsageError(
            f"{run.place}: an exported model, to which no command writes; learn the shortlist in "
            "its run and export that"
        )
    if run.recipe.model.copy != "none":
        raise UsageError(
            f"{run.place}: a model that copies (model.copy) has no use for a shortlist"
        )
    if isinstance(run.recipe.model.attention, HardAttention):
        raise UsageError(
            f"{run.place}: a model of hard attention (model.attention) cannot use a shortlist"
        )
    if not has_source_text(run.recipe.data):
        raise UsageError(f"{run.place}: a shortlist is chosen by source tokens, and it has none")
    if run.recipe.task in DECODERS:
        raise UsageError(
            f"{run.place}: task '{run.recipe.task}' predicts labels, which are few; a shortlist is "
            "for translations"
        )
    from s2s.data.moses_lexicon import read_cells
    from s2s.text.tokenizer_pair import load_tokenizers

    tokenizers = load_tokenizers(run.tokenizer_folder)
    source, target = tokenizers.source.size, tokenizers.target.size
    corpus = open_corpus(run.folder, "train", tokenizers=tokenizers)
    if file is None:
        chosen = sampled(corpus, run.recipe.seed)
        cells, pairs = model_one(corpus, chosen, target, ITERATIONS), len(chosen)
    else:
        cells, pairs = read_cells(file, tokenizers), 0
    made = lexicon(cells, by_frequency(corpus, target), source)
    return Learned(write_lexicon(run, made), pairs, len(corpus), made.known, source)


def covered(run: Run, best: int, frequent: int) -> float | None:
    """Share of the tokens of validation references that shortlists of this size hold.

    None where the run has no validation data.
    """
    if not (run.data_folder / "validation.arrow").exists():
        return None
    from s2s.text.tokenizer_pair import load_tokenizers

    tokenizers = load_tokenizers(run.tokenizer_folder)
    found = read_lexicon(run, tokenizers.source.size, tokenizers.target.size)
    corpus = open_corpus(run.folder, "validation", tokenizers=tokenizers)
    return _coverage(corpus, found, best, frequent)


def _coverage(corpus: Corpus, found: Lexicon, best: int, frequent: int) -> float | None:
    import numpy as np
    import torch

    from s2s.search.bucketing import bucket
    from s2s.search.shortlist import Shortlist
    from s2s.special import EOS, PAD

    shortlist = Shortlist(found, best, frequent)
    hits = total = 0
    for pair in range(len(corpus)):
        ids = corpus.source_values[corpus.source_offsets[pair] : corpus.source_offsets[pair + 1]]
        first, last = corpus.target_offsets[pair : pair + 2]
        source = np.full((1, bucket(len(ids) + 1)), PAD, dtype=np.int64)
        source[0, : len(ids)] = ids
        source[0, len(ids)] = EOS
        tokens = shortlist.choose(torch.from_numpy(source))[0].numpy()
        hits += int(np.isin(corpus.target_values[first:last], tokens).sum())
        total += int(last - first)
    return hits / total if total else None

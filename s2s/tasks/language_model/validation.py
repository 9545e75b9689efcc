"""Validation of a language model: its loss and its perplexities."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from s2s.data.batches import num_target_tokens
from s2s.data.store import Corpus
from s2s.data.stream import StreamEpoch
from s2s.metrics.base import Additive, write_signature
from s2s.metrics.corpus import scores_of
from s2s.metrics.scores import Scores
from s2s.nn.model import Seq2Seq
from s2s.recipe.metrics import METRICS
from s2s.recipe.recipe import Recipe
from s2s.tasks.seq2seq.validation import validation_loss
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from s2s.training.objective import Validation
from s2s.version import __version__

WINDOW = 512
"""Tokens of a stream that are computed at a time."""


def validate(
    corpus: Corpus,
    tokenizers: TokenizerPair,
    recipe: Recipe,
    model: Seq2Seq,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Validation:
    """Loss and perplexity of `model`, which is in evaluation mode.

    Every sentence is by itself, or all are one stream where training had one.
    """
    if recipe.train.stream is None:
        nll = validation_loss(model, corpus, group)
    else:
        nll = stream_loss(model, corpus)
    return Validation(nll, perplexities(nll, corpus, tokenizers, recipe))


@torch.inference_mode()
def stream_loss(model: Seq2Seq, corpus: Corpus, window: int = WINDOW) -> float:
    """Negative log-likelihood per token of all sentences in one row, as one long pass."""
    device = model.output.bias.device
    epoch = StreamEpoch(corpus, 1, window)
    states, total = None, 0.0
    for batch in epoch.batches():
        readout_TBE, states = model.continued(batch.target_input.to(device), states)
        logits_NV = model.output(readout_TBE.flatten(0, 1)).float()
        targets_N = batch.target_output.flatten().to(device)
        total += float(nn.functional.cross_entropy(logits_NV, targets_N, reduction="sum"))
    return total / len(epoch.stream)


def perplexities(nll: float, corpus: Corpus, tokenizers: TokenizerPair, recipe: Recipe) -> Scores:
    """The scores that a recipe wants, from the loss per token of a corpus.

    `perplexity` is per token and `word_perplexity` per word, as white space separates them; ends of
    sentences count as tokens and as words.
    """
    tokens = num_target_tokens(corpus, np.arange(len(corpus)))
    units = {"perplexity": tokens, "word_perplexity": _count_words(corpus)}
    values = []
    for name in dict.fromkeys(recipe.metrics):
        statistics = Additive(np.array([[nll * tokens, units[name]]], dtype=np.float64), _exp)
        unit = "token" if name == "perplexity" else "word"
        details = [f"unit:{unit}", f"vocabulary:{tokenizers.target.size}", "eos:yes"]
        signature = write_signature("1", None, details, f"s2s-{__version__}")
        values += scores_of(METRICS[name].values, statistics, 1, (signature, None))
    return Scores(values=tuple(values))


def _count_words(corpus: Corpus) -> int:
    """Words of a corpus, ends of sentences included."""
    texts = corpus.target_texts
    assert texts is not None, "only train comes without texts"
    return sum(len(text.split()) + 1 for text in texts)


def _exp(row_K: NDArray[np.float64]) -> tuple[float, ...]:
    nll, units = row_K.tolist()
    mean = nll / max(units, 1.0)
    return (math.exp(mean) if mean < 700 else math.inf,)

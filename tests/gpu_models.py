"""What the stages of `tests/gpu_check.py` compute with: models of every wiring, random data."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from s2s.data.batches import batch_plan, collate
from s2s.data.store import Corpus
from s2s.nn.batch import Batch
from s2s.nn.device import Precision, choose_device
from s2s.nn.model import Seq2Seq
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Attention,
    BahdanauDecoder,
    Dropout,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    StackedDecoder,
)
from s2s.recipe.train import Train
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE
from s2s.training.update import Updater
from tests.gpu_check import Check

WIRINGS = ("luong", "stacked", "bahdanau", "fed")
NOTHING = Dropout(embedding=0.0, encoder=0.0, decoder=0.0, readout=0.0)


@dataclass(frozen=True)
class Sizes:
    """Of a model."""

    embeddings: int = 48
    encoder: int = 40
    decoder: int = 64
    vocabulary: int = 300
    layers: int = 1
    """Of the encoder."""


LARGE = Sizes(embeddings=512, encoder=512, decoder=1024, vocabulary=32_000, layers=2)


def device_of(check: Check) -> torch.device:
    """The stage's, set up as commands have it."""
    return choose_device(check.device)


def network(wiring: str, sizes: Sizes, dropout: Dropout = NOTHING) -> Seq2Seq:
    """With random weights, on the host and in training."""
    additive: Attention = AdditiveAttention(kind="additive")
    wirings: dict[str, tuple[AnyDecoder, Attention]] = {
        "luong": (LuongDecoder(kind="luong", width=sizes.decoder), _GENERAL),
        "stacked": (StackedDecoder(kind="stacked", width=sizes.decoder), _GENERAL),
        "bahdanau": (BahdanauDecoder(kind="bahdanau", width=sizes.decoder), additive),
        "fed": (LuongDecoder(kind="luong", width=sizes.decoder, input_feeding=True), _GENERAL),
    }
    decoder, attention = wirings[wiring]
    torch.manual_seed(3)
    recipe = Model(
        embeddings=sizes.embeddings,
        encoder=Encoder(width=sizes.encoder, layers=sizes.layers),
        decoder=decoder,
        attention=attention,
        dropout=dropout,
    )
    return Seq2Seq(recipe, sizes.vocabulary, sizes.vocabulary).train()


_GENERAL: Attention = GeneralAttention(kind="general")


def corpus_of(sizes: Sizes, pairs: int) -> Corpus:
    """Random pairs whose lengths are like those of sentences."""
    draw = np.random.default_rng(1)
    source = np.clip(draw.normal(26, 9, pairs), 3, 90).astype(np.int64)
    target = np.clip(source + draw.normal(0, 3, pairs), 3, 90).astype(np.int64)
    offsets = [np.concatenate([[0], np.cumsum(lengths)]) for lengths in (source, target)]
    values = [draw.integers(4, sizes.vocabulary, int(e[-1])).astype(np.int32) for e in offsets]
    return Corpus(values[0], offsets[0], values[1], offsets[1])


def batches_of(corpus: Corpus, tokens: int, count: int) -> list[Batch]:
    """The first batches of an epoch."""
    lengths = (corpus.source_lengths, corpus.target_lengths)
    plan = batch_plan(lengths, tokens, seed=1, epoch=0, multiple=TIME_MULTIPLE)
    return [collate(corpus, plan[i % len(plan)], TIME_MULTIPLE) for i in range(count)]


def trainer(
    model: Seq2Seq, device: torch.device, precision: Precision, recipe: Train | None = None
) -> Updater:
    """Trains a copy of the model on the device."""
    state = TrainingState(copy.deepcopy(model).to(device), recipe or Train(average=0.9))
    return Updater(state, Seq2SeqObjective(state.recipe), 1, precision, 10_000)


def sources_of(sizes: Sizes, count: int) -> list[list[int]]:
    """Random sentences of 5 to 40 tokens."""
    draw = np.random.default_rng(2)
    lengths = draw.integers(5, 40, count)
    return [draw.integers(4, sizes.vocabulary, length).tolist() for length in lengths]

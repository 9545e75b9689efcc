"""Validation: the loss under teacher forcing, and scores of what search really writes."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from s2s.data.batches import batch_plan, collate
from s2s.data.store import Corpus
from s2s.data.targets import TrainingTargets
from s2s.metrics import Request, Scores
from s2s.nn.model import Seq2Seq
from s2s.nn.packed import packed
from s2s.recipe import GreedySearch, Recipe
from s2s.recipe_metrics import LOWER_IS_BETTER
from s2s.text.copying import copying_of
from s2s.text.tokenizer import TokenizerPair
from s2s.train.update import batch_loss
from s2s.translate import LineTranslator
from s2s.translate_scores import score_run


@dataclass(frozen=True)
class Validation:
    """Figures of one validation."""

    nll: float
    """Negative log-likelihood per target token, in nats, end of sentence included."""
    scores: Scores
    """Of greedy search, as `s2s evaluate --search greedy` computes them."""

    @property
    def perplexity(self) -> float:
        """exp(nll), infinite where that overflows."""
        return math.exp(self.nll) if self.nll < 700 else math.inf

    def figure(self, name: str) -> float:
        """What `train.best` names, negated where lower is better."""
        value = self.nll if name == "loss" else self.scores.value(name)
        return -value if name in LOWER_IS_BETTER else value

    def as_json(self) -> dict[str, Any]:
        """For the log."""
        return {"nll": self.nll, "perplexity": self.perplexity, "scores": self.scores.as_json()}


@torch.inference_mode()
def validation_loss(model: Seq2Seq, corpus: Corpus, batch_tokens: int) -> float:
    """Negative log-likelihood per target token of a corpus, without label smoothing.

    Pairs and batches are always in the same order, so equal weights give equal figures.
    """
    plan = batch_plan((corpus.memory_lengths, corpus.target_lengths), batch_tokens, seed=0, epoch=0)
    total, tokens = [], 0
    for pairs in plan:
        batch = collate(corpus, pairs)
        total.append(batch_loss(model, batch, smoothing=0.0)[0].nll)
        tokens += int(batch.target_lengths.sum())
    return float(torch.stack(total).sum()) / tokens


def validate(
    model: Seq2Seq,
    corpus: Corpus,
    tokenizers: TokenizerPair,
    recipe: Recipe,
    trained: TrainingTargets,
) -> Validation:
    """Loss and scores of `model`, which is in evaluation mode.

    Search is greedy: several times faster than a beam, and checkpoints rank alike.
    """
    nll = validation_loss(model, corpus, recipe.train.batch_tokens)
    sources, references = corpus.source_texts, corpus.references
    assert sources is not None and references is not None, "only train comes without texts"
    limits = recipe.search
    settings = GreedySearch(kind="greedy", max_ratio=limits.max_ratio, max_offset=limits.max_offset)
    translator = LineTranslator(
        scorer=packed(model, settings.precision),
        source=tokenizers.source,
        target=tokenizers.target,
        search=settings,
        device=str(model.output.bias.device),
        longest=recipe.data.longest_source,
        truncate=recipe.data.truncate.source,
        copying=copying_of(recipe.model, tokenizers),
        features=corpus.features,
        report=lambda text: None,  # the same lines at every validation
    )
    scores = score_run(
        translator,
        (sources, translator(sources), references),
        Request(metrics=recipe.metrics, scoring=recipe.scoring),
        trained,
    )
    return Validation(nll, scores)

"""Validation: the loss under teacher forcing, and the scores of what search writes."""

from collections.abc import Sequence
from typing import TypeVar

import torch

from s2s.data.batches import batch_plan, collate, num_target_tokens
from s2s.data.store import Corpus
from s2s.data.training_targets import TrainingTargets
from s2s.inference.scoring import score_run
from s2s.inference.translator import LineTranslator
from s2s.metrics.corpus import Request
from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.tasks.seq2seq.loss import batch_loss
from s2s.text.extended_vocabulary import extended_vocabulary_of
from s2s.text.line_placeholders import line_placeholders
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from s2s.training.objective import Validation

T = TypeVar("T")


BATCH_TOKENS = 1024
"""Tokens of the batches of the loss: no more than those of the first batch that the batch-size
finder tries. A process has whole batches here, where in training it has a share of each."""


@torch.inference_mode()
def validation_loss(model: Seq2Seq, corpus: Corpus, group: ProcessGroup) -> float:
    """Negative log-likelihood per target token of a corpus, without label smoothing.

    Pairs and batches are always in the same order, so equal weights give equal losses, however
    many processes compute them.
    """
    plan = batch_plan((corpus.memory_lengths, corpus.target_lengths), BATCH_TOKENS, seed=0, epoch=0)
    own = [
        batch_loss(model, collate(corpus, plan[place]))[0].nll
        for place in range(group.rank, len(plan), group.size)
    ]
    found: list[float] = torch.stack(own).tolist() if own else []
    total = torch.tensor(in_turn(group.all_gather(found))).sum()
    return float(total) / num_target_tokens(corpus, plan.order)


def validate(  # noqa: PLR0917 (the first four are bound once, for all validations of a training)
    corpus: Corpus,
    tokenizers: TokenizerPair,
    recipe: Recipe,
    trained: TrainingTargets,
    model: Seq2Seq,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Validation:
    """Loss and scores of `model`, which is in evaluation mode.

    Search is greedy: several times faster than a beam, and checkpoints rank alike. The processes of
    a group share the lines; rank 0 scores them.
    """
    nll = validation_loss(model, corpus, group)
    sources, references = corpus.source_texts, corpus.references
    assert sources is not None and references is not None, "only train comes without texts"
    limits = recipe.search
    settings = GreedySearch(kind="greedy", max_ratio=limits.max_ratio, max_offset=limits.max_offset)
    translator = LineTranslator(
        scorer=inference_model(model, settings.precision),
        source=tokenizers.source,
        target=tokenizers.target,
        search=settings,
        device=str(model.output.bias.device),
        longest=recipe.data.longest_source,
        truncate=recipe.data.truncate.source,
        extended_vocabulary=extended_vocabulary_of(recipe.model, tokenizers),
        placeholders=line_placeholders(recipe.data.placeholders, tokenizers),
        features=corpus.features,
        report=lambda text: None,  # the same lines at every validation
    )
    outputs = in_turn(group.all_gather(translator(sources[group.rank :: group.size])))
    scores = None
    if group.rank == 0:
        request = Request(metrics=recipe.metrics, scoring=recipe.scoring)
        scores = score_run(translator, (sources, outputs, references), request, trained)
    scores = group.all_gather(scores)[0]
    assert scores is not None, "rank 0 has them"
    return Validation(nll, scores)


def in_turn(parts: Sequence[Sequence[T]]) -> list[T]:
    """The items that processes have shared, rank r taking every r-th, in their first order."""
    total = sum(map(len, parts))
    return [parts[place % len(parts)][place // len(parts)] for place in range(total)]

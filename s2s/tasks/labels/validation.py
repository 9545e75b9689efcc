"""Validation of models of labels: the loss, and the scores of the labels that they predict."""

import torch

from s2s.data.batches import batch_plan, collate
from s2s.data.store import Corpus
from s2s.data.training_targets import TrainingTargets
from s2s.inference.scoring import score_run
from s2s.inference.translator import LineTranslator
from s2s.metrics.corpus import Request
from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.tasks.labels.objective import label_loss
from s2s.tasks.seq2seq.validation import BATCH_TOKENS, in_turn
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from s2s.training.objective import Validation


@torch.inference_mode()
def validation_loss(model: Seq2Seq, corpus: Corpus, group: ProcessGroup) -> float:
    """Negative log-likelihood per label of a corpus, without label smoothing."""
    plan = batch_plan((corpus.memory_lengths, corpus.target_lengths), BATCH_TOKENS, seed=0, epoch=0)
    own = [
        label_loss(model, collate(corpus, plan[place]))[1]
        for place in range(group.rank, len(plan), group.size)
    ]
    found: list[float] = torch.stack(own).tolist() if own else []
    total = torch.tensor(in_turn(group.all_gather(found))).sum()
    return float(total) / max(1, int(corpus.target_lengths.sum()))


def validate(  # noqa: PLR0917 (the first four are bound once, for all validations of a training)
    corpus: Corpus,
    tokenizers: TokenizerPair,
    recipe: Recipe,
    trained: TrainingTargets,
    model: Seq2Seq,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Validation:
    """Loss and scores of `model`, which is in evaluation mode.

    Labels are predicted one by one, also with a CRF, whose beam is slower and ranks checkpoints
    alike. The processes of a group share the lines; rank 0 scores them.
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
        has_labels=True,
        report=lambda text: None,
    )
    outputs = in_turn(group.all_gather(translator(sources[group.rank :: group.size])))
    scores = None
    if group.rank == 0:
        request = Request(metrics=recipe.metrics, scoring=recipe.scoring)
        scores = score_run(translator, (sources, outputs, references), request, trained)
    scores = group.all_gather(scores)[0]
    assert scores is not None, "rank 0 has them"
    return Validation(nll, scores)

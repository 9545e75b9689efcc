"""Rules for recipes of labels: tasks `classify` and `tag`."""

from collections.abc import Iterator

from s2s.recipe.choices import TaskName
from s2s.recipe.data import Data, GeneratedData, corpora_of, image_features_of
from s2s.recipe.filters import Truncate
from s2s.recipe.metrics import MetricName
from s2s.recipe.model import LabelDecoder, Model
from s2s.recipe.search import Search
from s2s.recipe.tokenizer import (
    FromRunTokenizer,
    SeparateTokenizers,
    Tokenizers,
    WordTokenizer,
)
from s2s.recipe.train import Train

DECODERS = {"classify": "classifier", "tag": "tagger"}
"""The decoder of each task of labels."""

LABEL_METRICS: dict[str, tuple[MetricName, ...]] = {
    "classify": ("accuracy", "macro_f1"),
    "tag": ("token_accuracy", "span_f1", "accuracy"),
}
"""The metrics of each task of labels."""


def label_faults(task: TaskName, model: Model, metrics: tuple[MetricName, ...]) -> Iterator[str]:
    """Faults of a model and of metrics that do not fit the task, whichever it is."""
    wanted, found = DECODERS.get(task), model.decoder.kind
    if wanted is None:
        if isinstance(model.decoder, LabelDecoder):
            task_of = next(one for one, kind in DECODERS.items() if kind == found)
            yield f"model.decoder '{found}' predicts labels: it is for task '{task_of}'"
        if model.characters is not None:
            yield "model.characters is for tasks 'classify' and 'tag'"
        return
    if found != wanted:
        yield f"task '{task}' predicts labels: expected model.decoder '{wanted}', found '{found}'"
    if model.attention.kind != "none":
        yield (
            f"task '{task}' has no decoder that attends: expected model.attention 'none', found "
            f"'{model.attention.kind}'"
        )
    if model.tied == "all":
        yield f"model.tied 'all' ties words and labels, which task '{task}' has apart"
    for name in dict.fromkeys(metrics):
        if name not in LABEL_METRICS[task]:
            listed = ", ".join(f"'{one}'" for one in LABEL_METRICS[task])
            yield f"metrics: '{name}' does not compare labels; expected some of {listed}"


def labelled_data_faults(
    task: TaskName, data: Data, tokenizer: Tokenizers, search: Search
) -> Iterator[str]:
    """Faults of the data of a task of labels, and of how they are read and searched."""
    for part in corpora_of(data):
        if image_features_of(part):
            yield f"data.image_features has no effect in task '{task}'"
        if not isinstance(part, GeneratedData) and part.columns.source_features is not None:
            yield f"data.columns.source_features has no effect in task '{task}'"
        if task == "tag" and part.tag is not None:
            yield "data.tag adds a word to each source, which task 'tag' would label"
    if task == "tag" and data.truncate != Truncate():
        yield "data.truncate cuts words off, and task 'tag' labels each of them; remove it"
    yield from _tokenizer_faults(task, tokenizer)
    if search.shortlist:
        yield "search.shortlist is of tokens that translate others, not of labels"
    fixed = {"max_ratio": 1.0, "max_offset": 1, "min_ratio": 0.0, "min_offset": 0}
    for name, value in fixed.items():
        if getattr(search, name) != value:
            yield (
                f"search.{name} has no effect in task '{task}', whose outputs are as long as they "
                "must be; remove it"
            )


def _tokenizer_faults(task: TaskName, tokenizer: Tokenizers) -> Iterator[str]:
    """Faults of the tokenizers of words and labels."""
    if isinstance(tokenizer, FromRunTokenizer):
        return
    if not isinstance(tokenizer, SeparateTokenizers):
        yield (
            f"task '{task}' needs a tokenizer of its own for labels; leave out tokenizer.kind "
            "'separate' and its target, or give both sides"
        )
        return
    source, target = tokenizer.source, tokenizer.target
    if not isinstance(target, WordTokenizer | FromRunTokenizer):
        yield f"tokenizer.target: expected 'word', as a label is one token, found '{target.kind}'"
    if task == "tag" and not isinstance(source, WordTokenizer | FromRunTokenizer):
        yield (
            "tokenizer.source: expected 'word', as each word has a label, found "
            f"'{source.kind}'; model.characters reads what words are made of"
        )


def training_faults(task: TaskName, train: Train) -> Iterator[str]:
    """Faults of the training of labels."""
    for name in ("coverage_loss", "doubly_stochastic"):
        if getattr(train, name):
            yield f"train.{name} is of attention, which task '{task}' does not have"
    if train.scheduled_sampling is not None:
        yield f"train.scheduled_sampling has no effect in task '{task}': no label is read"
    if train.r_drop:
        yield f"train.r_drop has no effect in task '{task}'"


def character_faults(model: Model, tokenizer: Tokenizers) -> Iterator[str]:
    """Faults of characters that either the model or the tokenizer lacks."""
    if isinstance(tokenizer, FromRunTokenizer):
        return
    source = tokenizer.source if isinstance(tokenizer, SeparateTokenizers) else tokenizer
    is_spelled = isinstance(source, WordTokenizer) and source.characters
    if model.characters is not None and not (is_spelled or isinstance(source, FromRunTokenizer)):
        yield (
            f"model.characters needs the source tokenizer 'word', found '{source.kind}', whose "
            "tokens are not words"
        )
    if is_spelled and model.characters is None:
        yield "tokenizer: characters: true is for model.characters; add it, or remove this"

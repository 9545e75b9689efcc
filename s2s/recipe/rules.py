"""Rules for the sources of a recipe, which tie data, tokenizer, model and search together."""

from collections.abc import Iterator, Sequence

from s2s.recipe.choices import TaskName
from s2s.recipe.data import (
    AnyCorpus,
    Data,
    FilesData,
    FileSet,
    GeneratedData,
    SeveralData,
    corpora_of,
    has_source_text,
    image_features_of,
)
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.metrics import MetricName
from s2s.recipe.model import HardAttention, Model
from s2s.recipe.search import Search
from s2s.recipe.tokenizer import Tokenizers, sampling_alphas
from s2s.recipe.train import Train


def source_faults(data: Data, tokenizer: Tokenizers, model: Model, search: Search) -> Iterator[str]:
    """Faults of fields that need sources which the data lack; the most basic first."""
    for part in corpora_of(data):
        for name, files in _text_files(part):
            if files.table is None and files.source is None:
                yield f"data.{name}: expected 'source' and 'target' (parallel text), or 'table'"
        if not _features(part) and not _has_text(part):
            yield (
                "data.columns.source: null leaves no source; name its column, or "
                "data.image_features"
            )
    if isinstance(data, SeveralData):
        yield from _unlike(data)
    if not has_source_text(data):
        if model.pretrained is not None and model.pretrained.source is not None:
            yield (
                "model.pretrained.source has no effect without source text (data.columns.source: "
                "null)"
            )
        yield from _textless_faults(data, tokenizer, model, search)
    yield from _encoder_faults(model, len(image_features_of(data)), has_source_text(data))


LANGUAGE_MODEL_METRICS = ("perplexity", "word_perplexity")
"""Metrics of task `lm`, which has no outputs to compare with references."""


def task_faults(
    task: TaskName, model: Model, train: Train, metrics: Sequence[MetricName]
) -> Iterator[str]:
    """Faults of fields that do not fit the task."""
    is_plain = model.decoder.kind == "plain"
    if task != "lm":
        if train.stream is not None:
            yield "train.stream is for task 'lm', whose sentences follow one another"
        if is_plain:
            yield "model.decoder 'plain' reads no source: it is for task 'lm'"
        if "word_perplexity" in metrics:
            yield "metrics: 'word_perplexity' is for task 'lm'; others have 'perplexity'"
        return
    if not is_plain:
        kind = model.decoder.kind
        yield f"task 'lm' has no source: expected model.decoder 'plain', found '{kind}'"
    if model.attention.kind != "none":
        score = model.attention.kind
        yield f"task 'lm' has no source: expected model.attention 'none', found '{score}'"
    if model.tied == "all":
        yield "model.tied 'all' ties source embeddings, and task 'lm' has none; use 'output'"
    for name in dict.fromkeys(metrics):
        if name not in LANGUAGE_MODEL_METRICS:
            wanted = " or ".join(f"'{one}'" for one in LANGUAGE_MODEL_METRICS)
            yield f"metrics: '{name}' compares outputs, and task 'lm' has none; expected {wanted}"


def guided_alignment_faults(
    data: Data, tokenizer: Tokenizers, model: Model, train: Train
) -> Iterator[str]:
    """Faults of what `train.guided_alignment` needs or excludes."""
    guided = train.guided_alignment
    if guided is None:
        return
    if isinstance(model.attention, HardAttention):
        kind = model.attention.kind
        yield f"train.guided_alignment guides soft attention, found model.attention '{kind}'"
    elif model.attention.kind == "none":
        yield "train.guided_alignment needs a model with attention"
    if any(sampling_alphas(tokenizer)):
        yield (
            "train.guided_alignment links the tokens of one segmentation, and tokenizer.sampling "
            "draws others; remove one"
        )
    if not has_source_text(data):
        yield "train.guided_alignment links source tokens, and there are none"
    if guided.alignments is not None and image_features_of(data):
        yield (
            "train.guided_alignment.alignments has a line for each training pair, and pairs "
            "without data.image_features are dropped; give no alignments, which are learned then"
        )
    if guided.alignments is not None and any(
        getattr(part, "hold_out", None) is not None for part in corpora_of(data)
    ):
        yield (
            "train.guided_alignment.alignments has a line for each training pair, and "
            "data.hold_out takes some away; name the files of validation, or give no alignments, "
            "which are learned then"
        )
    is_distilled = train.distill is not None and train.distill.makes_pairs
    if guided.alignments is not None and (data.synthetic or is_distilled):
        made = "train.distill" if is_distilled else "data.synthetic"
        yield (
            "train.guided_alignment.alignments has a line for each training pair, and "
            f"{made} makes further ones; give no alignments, which are learned then"
        )


def hard_attention_faults(data: Data, model: Model, train: Train, search: Search) -> Iterator[str]:
    """Faults of what hard attention excludes in other sections."""
    if not isinstance(model.attention, HardAttention):
        return
    kind = f"model.attention '{model.attention.kind}'"
    for name in ("coverage_loss", "doubly_stochastic"):
        if getattr(train, name):
            yield f"train.{name} is of soft attention, not of {kind}; remove it"
    for name in ("r_drop", "scheduled_sampling"):
        if getattr(train, name):
            yield f"train.{name} is not for {kind}, whose loss sums over alignments; remove it"
    if train.distill is not None and train.distill.has_distributions:
        yield f"train.distill.level '{train.distill.level}' is not for {kind}; use 'sequence'"
    if search.shortlist:
        yield f"search.shortlist is for large vocabularies, and {kind} is for small ones; remove it"
    if model.attention.kind == "hard_monotonic" and image_features_of(data):
        yield f"{kind} needs source positions in order, and data.image_features has none"


def placeholder_faults(
    task: TaskName, data: Data, tokenizer: Tokenizers, train: Train, metrics: Sequence[MetricName]
) -> Iterator[str]:
    """Faults of fields that placeholders do not go with."""
    kinds = data.placeholders
    if not kinds:
        return
    if task not in ("translation", "captioning"):
        yield f"data.placeholders is for tasks with a source and an output, not '{task}'"
    elif not has_source_text(data):
        yield "data.placeholders has no effect without source text (data.columns.source: null)"
    if twice := next((one for one in kinds if kinds.count(one) > 1), None):
        yield f"data.placeholders: expected each once, found '{twice}' twice"
    if any(sampling_alphas(tokenizer)):
        yield (
            "data.placeholders: subword sampling would split them; leave out tokenizer.sampling or "
            "data.placeholders"
        )
    if train.metric_loss is not None:
        yield (
            "train.metric_loss compares outputs with references, and training has placeholders in "
            "place of texts (data.placeholders); leave one of the two out"
        )
    if "copied" in metrics:
        yield (
            "metrics: 'copied' compares outputs with training targets, whose numbers and addresses "
            "are not stored as text with data.placeholders; leave one of the two out"
        )


def text_faults(data: Data, tokenizer: Tokenizers, train: Train, search: Search) -> Iterator[str]:
    """Faults of the data of a language model, which is text alone."""
    for part in corpora_of(data):
        yield from _corpus_faults(part)
    if tokenizer.kind == "separate":
        yield (
            "tokenizer 'separate' has a source tokenizer, which has no effect in task 'lm'; give "
            "the target's alone"
        )
    for name in ("coverage_loss", "doubly_stochastic"):
        if getattr(train, name):
            yield f"train.{name} is of attention, which task 'lm' does not have"
    if train.stream is not None and train.scheduled_sampling is not None:
        yield "train.scheduled_sampling has no effect on a stream (train.stream)"
    if train.stream is not None and train.r_drop:
        yield "train.r_drop has no effect on a stream (train.stream)"
    if search.shortlist:
        yield "search.shortlist needs source tokens, and task 'lm' has none"


def _corpus_faults(part: AnyCorpus) -> Iterator[str]:
    """Faults of one corpus of a language model."""
    if _has_text(part):
        yield (
            "task 'lm' reads text alone: expected data.columns.source: null, and the text in "
            "data.columns.target"
        )
    if _features(part):
        yield "data.image_features has no effect in task 'lm'"
    if part.tag is not None:
        yield "data.tag has no effect in task 'lm'"
    for name, files in _text_files(part):
        if files.source is not None:
            yield f"data.{name}.source has no effect in task 'lm', which reads 'target' alone"


def _text_files(part: AnyCorpus) -> Iterator[tuple[str, FileSet]]:
    """The sets of files of a corpus, with the names of their splits."""
    if isinstance(part, FilesData):
        named = {"train": part.train, "validation": part.validation, "test": part.test}
        yield from ((name, files) for name, files in named.items() if files is not None)


def _features(part: AnyCorpus) -> tuple[ImageFeatureFile, ...]:
    return () if isinstance(part, GeneratedData) else part.image_features


def _has_text(part: AnyCorpus) -> bool:
    return isinstance(part, GeneratedData) or part.columns.source is not None


def _unlike(data: SeveralData) -> Iterator[str]:
    """Faults of corpora that one model cannot read in the same way."""
    first = data.corpora[0]
    files = [(one.path, one.ids) for one in _features(first)]
    for number, part in enumerate(data.corpora[1:], start=1):
        if [(one.path, one.ids) for one in _features(part)] != files:
            yield f"data.corpora[{number}].image_features: expected the files of corpora[0]"
        if _has_text(part) != _has_text(first):
            yield (
                f"data.corpora[{number}].columns.source: expected source text in all corpora, or "
                "in none"
            )


def _textless_faults(
    data: Data, tokenizer: Tokenizers, model: Model, search: Search
) -> Iterator[str]:
    """Faults of fields that need source text, for data without (`data.columns.source: null`)."""
    why = "without source text (data.columns.source: null)"
    if tokenizer.kind == "separate":
        yield (
            f"tokenizer 'separate' has a source tokenizer, which has no effect {why}; give the "
            "target's alone"
        )
    elif sampling_alphas(tokenizer)[0] and not sampling_alphas(tokenizer)[1]:
        yield f"tokenizer.sampling.sides 'source' has no effect {why}"
    if model.tied == "all":
        yield (f"model.tied 'all' ties source embeddings, and there are none {why}; use 'output'")
    if model.copy != "none":
        yield f"model.copy '{model.copy}' has no words to copy {why}"
    if data.truncate.source is not None:
        yield f"data.truncate.source has no effect {why}"
    if search.shortlist:
        yield f"search.shortlist needs source tokens, and there are none {why}"
    for part in corpora_of(data):
        if part.tag is not None:
            yield f"data.tag has no effect {why}"
        if not isinstance(part, GeneratedData) and part.columns.source_features is not None:
            yield f"data.columns.source_features has no effect {why}"


def _encoder_faults(model: Model, files: int, has_text: bool) -> Iterator[str]:
    count = len(model.image_features)
    if count and not files:
        yield "model.image_features has no effect: data.image_features names no files"
    elif count > 1 and count != files:
        yield (
            f"model.image_features: expected 1 or {files} sections, one for each of "
            "data.image_features, "
            f"found {count}"
        )
    width = model.state_width(has_text)
    for place in range(files):
        encoder = model.image_feature_encoder(place)
        if encoder.width not in (None, width):
            other = "a text's states" if has_text else "the first"
            yield (
                f"model.image_features: a width of {encoder.width} beside {other} of {width}; all "
                "that "
                "is attended to together is equally wide"
            )
        if encoder.layers and width % 2:
            yield (
                "model.image_features: both directions of an LSTM share an even width, found "
                f"{width}"
            )

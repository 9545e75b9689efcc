"""The model card: README.md of an exported model, with the metadata that the hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2s.pipeline.task_checks import use_of
from s2s.recipe.cells import AnyCell
from s2s.recipe.choices import TaskName
from s2s.recipe.data import AnyCorpus, DatasetData, GeneratedData, corpora_of, has_source_text
from s2s.recipe.metrics import METRICS, format_value
from s2s.recipe.model import LabelDecoder
from s2s.recipe.tokenizer import (
    FromRunTokenizer,
    SentencePieceTokenizer,
    SeparateTokenizers,
    SubwordTokenizer,
)

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.tokenizer import SideTokenizer
    from s2s.run.exported import ModelInfo

TASKS: dict[TaskName, str] = {
    "translation": "translation",
    "captioning": "image-to-text",
    "lm": "text-generation",
    "classify": "text-classification",
    "tag": "token-classification",
}
"""The hub's name of each task."""

NAMES_OF_METRICS = {"exact": "exact_match"}
"""The hub's name of values that it calls otherwise."""

LABELS = {value.name: value.label for entry in METRICS.values() for value in entry.values}


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """What a recipe does not say of a model."""

    license: str | None = None
    """Identifier of the licence, as on the hub."""
    languages: tuple[str, ...] = ()
    """Codes of languages."""
    repo: str | None = None
    """`owner/name` on the hub."""


def model_card(recipe: Recipe, info: ModelInfo, options: CardOptions) -> str:
    """The card in Markdown, with its metadata in front."""
    where = options.repo or f"{info.name}.s2s"
    blocks = [
        f"---\n{_metadata(recipe, info, options)}\n---\n",
        f"# {info.name}\n",
        f"A recurrent model ({TASKS[recipe.task].replace('-', ' ')}) of {info.parameters:,} "
        f"parameters, trained and exported by s2s {info.s2s}.\n",
        "## Use\n",
        f"A line of `input.txt` is {_line(recipe)}; a line of `output.txt` is its output:\n",
        f"    s2s {use_of(recipe.task)} --run {where} < input.txt > output.txt\n",
        *_precision(info),
        "## Model\n",
        _table(("part", "choice"), [*_architecture(recipe, info)]),
        "`recipe.yaml` has every choice, so that the model can be trained again on the same "
        "data.\n",
        "## Training data\n",
        *_data(recipe, info),
        "## Scores\n",
        *_scores(info),
        "## Licence\n",
        f"{options.license or 'Not stated: ask who published the model.'}\n",
    ]
    return "\n".join(blocks)


def _metadata(recipe: Recipe, info: ModelInfo, options: CardOptions) -> str:
    """The metadata in YAML, without its fence."""
    from huggingface_hub import EvalResult, ModelCardData

    hub = [p.dataset for p in corpora_of(recipe.data) if isinstance(p, DatasetData) and _on_hub(p)]
    corpus = corpora_of(recipe.data)[0]
    results = [
        EvalResult(
            task_type=TASKS[recipe.task],
            dataset_type=hub[0] if hub else corpus.kind,
            dataset_name=_corpus(corpus),
            dataset_split=row["split"],
            metric_type=NAMES_OF_METRICS.get(name, name),
            metric_name=f"{LABELS.get(name, name)}, {row['search']}",
            metric_value=round(score["value"], 2),
            metric_args={"signature": score["signature"]},
        )
        for row, name, score in _rows(info)
    ]
    data = ModelCardData(
        language=[*options.languages] or None,
        license=options.license,
        library_name="s2s",
        pipeline_tag=TASKS[recipe.task],
        tags=["s2s", "seq2seq", "lstm", "attention"],
        datasets=hub or None,
        metrics=sorted({one.metric_type for one in results}) or None,
        model_name=info.name,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _line(recipe: Recipe) -> str:
    """A line of input, in words."""
    features = "data.image_features in recipe.yaml; --features names your own file"
    if not has_source_text(recipe.data):
        return f"the id of an image ({features})"
    tokenizer = recipe.tokenizer
    text = "a source text"
    if isinstance(tokenizer, SeparateTokenizers) and tokenizer.source_features is not None:
        text += ", a tab, its source features"
    corpus = corpora_of(recipe.data)[0]
    if not isinstance(corpus, GeneratedData) and corpus.image_features:
        text += f", a tab, the id of an image ({features})"
    return text


def _precision(info: ModelInfo) -> Iterator[str]:
    if info.precision == "fp32":
        return
    yield (
        f"The matrices of search are stored in {info.precision}, all other weights in fp32, and "
        f"search uses {info.precision}: the output is that of the model in fp32 under "
        f"`--precision {info.precision}`, byte for byte"
        + (" on a CPU with VNNI, and other precisions" if info.precision == "int8" else "; others")
        + " round the stored weights. `s2s score` uses the rounded weights.\n"
    )


def _cell(cell: AnyCell) -> str:
    names = {"lstm": "LSTM", "gru": "GRU", "tanh": "tanh RNN", "relu": "ReLU RNN"}
    return names.get(cell.kind, cell.kind)


def _architecture(recipe: Recipe, info: ModelInfo) -> Iterator[tuple[str, str]]:
    model, decoder = recipe.model, recipe.model.decoder
    if has_source_text(recipe.data):
        cell = _cell(model.encoder.cell)
        kind = f"bidirectional {cell}" if model.encoder.bidirectional else cell
        yield "encoder", f"{kind}, {_layers(model.encoder.layers)} of {model.encoder.width}"
    if model.image_features:
        yield "image features", f"{len(model.image_features)} with an encoder each"
    if isinstance(decoder, LabelDecoder):
        yield "labels", f"`{decoder.kind}`"
    else:
        yield "attention", f"`{model.attention.kind}`"
        layers = f"{_layers(decoder.layers)} of {decoder.width}"
        yield "decoder", f"`{decoder.kind}`, {_cell(decoder.cell)}, {layers}"
    yield "embeddings", f"{model.embeddings}, tied: {model.tied}"
    if model.copy != "none":
        yield "copying", f"`{model.copy}`"
    yield "tokenizer", _tokenizer(recipe, info)
    yield "search", f"`{recipe.search.kind}`, precision {recipe.search.precision}"
    yield "checkpoint", f"{info.checkpoint}, seed {recipe.seed}"


def _layers(number: int) -> str:
    return f"{number} layer{'s' if number > 1 else ''}"


def _tokenizer(recipe: Recipe, info: ModelInfo) -> str:
    tokenizer = recipe.tokenizer
    sizes = [f" ({size:,})" for size in info.facts.vocabularies] or ["", ""]
    if isinstance(tokenizer, SeparateTokenizers):
        sides = (tokenizer.source, tokenizer.target)
        return " → ".join(f"{_side(s)}{n}" for s, n in zip(sides, sizes, strict=False))
    return f"{_side(tokenizer)}{sizes[0]}, shared"


def _side(side: SideTokenizer) -> str:
    if isinstance(side, FromRunTokenizer):
        return "taken over from another run"
    has_pieces = isinstance(side, SubwordTokenizer | SentencePieceTokenizer)
    return f"{side.kind} pieces" if has_pieces else f"{side.kind}s"


def _data(recipe: Recipe, info: ModelInfo) -> Iterator[str]:
    for corpus in corpora_of(recipe.data):
        yield f"- {_corpus(corpus)}"
    yield ""
    if info.facts.pairs:
        in_train = info.facts.in_train
        rows = [
            (split, f"{count:,}", f"{in_train.get(split, 0):,}" if split != "train" else "")
            for split, count in info.facts.pairs.items()
        ]
        yield _table(("split", "pairs", "also in train"), rows)


def _corpus(corpus: AnyCorpus) -> str:
    """Where the pairs of a corpus come from. Paths of the author's disk are not named here."""
    if isinstance(corpus, GeneratedData):
        return f"{corpus.corpus}, generated by s2s (seed {corpus.seed})"
    if not isinstance(corpus, DatasetData) or not _on_hub(corpus):
        return "files of the author"
    parts = [corpus.dataset, corpus.config, corpus.revision and f"revision {corpus.revision}"]
    return ", ".join(part for part in parts if part)


def _on_hub(corpus: DatasetData) -> bool:
    """Whether a data set is one of the hub rather than a folder."""
    return not corpus.dataset.startswith((".", "/", "~")) and corpus.dataset.count("/") == 1


def _scores(info: ModelInfo) -> Iterator[str]:
    rows = [
        (
            f"{LABELS.get(name, name)}",
            format_value(name, score["value"]),
            row["split"],
            row["search"],
            f"`{score['signature']}`",
        )
        for row, name, score in _rows(info)
    ]
    if not rows:
        yield "None were computed.\n"
        return
    yield _table(("metric", "value", "split", "search", "signature"), rows)


def _rows(info: ModelInfo) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Each score, with the result that it belongs to and its name."""
    for row in info.facts.scores:
        for name, score in row["scores"].items():
            yield row, name, score


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"

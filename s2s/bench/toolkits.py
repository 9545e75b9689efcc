"""A recipe in the options of another toolkit: the same architecture, or a refusal.

A recipe is refused where it asks for matrices or a loss that the toolkit does not have. What only
moves numbers is not: initial weights, the places of dropout, the learning rate's schedule.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from s2s.errors import RecipeError
from s2s.recipe.data import image_features_of
from s2s.recipe.model import AdditiveAttention, ConditionalDecoder, LuongDecoder, Model
from s2s.recipe.recipe import Recipe
from s2s.recipe.train import Train

ToolkitName = Literal["opennmt", "marian"]

TOOLKITS: tuple[ToolkitName, ...] = get_args(ToolkitName)


class Fault(NamedTuple):
    """A field of a recipe that a toolkit has no counterpart of."""

    key: str
    found: object
    expected: str


@dataclass(frozen=True, kw_only=True)
class Toolkit:
    """A toolkit that s2s can be compared with."""

    name: ToolkitName
    title: str
    """Its own name."""
    package: str
    """What pip installs."""
    options: Callable[[Recipe], list[str]]
    """Its options for a recipe without faults."""
    faults: Callable[[Recipe], Iterator[Fault]]
    """What it has no counterpart of, beside `_common_faults`."""
    most_threads: int | None
    """The most threads of an update; None for any number."""


def options_of(toolkit: Toolkit, recipe: Recipe) -> list[str]:
    """The toolkit's options for training the recipe's model.

    Raises RecipeError with a line for each field that it has no counterpart of.
    """
    faults = [*_common_faults(recipe), *toolkit.faults(recipe)]
    if faults:
        raise RecipeError(
            [
                f"--compare {toolkit.name}: {fault.key}: expected {fault.expected}, as "
                f"{toolkit.title} has it, found {fault.found}"
                for fault in faults
            ]
        )
    return toolkit.options(recipe)


def _common_faults(recipe: Recipe) -> Iterator[Fault]:
    """What neither toolkit has a counterpart of."""
    model = recipe.model
    if recipe.task != "translation":
        yield Fault("task", recipe.task, "translation")
        return
    if image_features_of(recipe.data):
        yield Fault("data.image_features", "files", "none")
    yield from _unlike(
        model, "model", copy="none", coverage=False, context_gate=False, characters=None
    )
    for part in ("encoder", "decoder"):
        section = getattr(model, part)
        place = f"model.{part}"
        if section.cell.kind != "lstm":
            yield Fault(f"{place}.cell.kind", section.cell.kind, "lstm")
        yield from _unlike(section, place, transitions=1, residual=False, layer_norm=False)
    if getattr(model.attention, "heads", 1) != 1:
        yield Fault("model.attention.heads", getattr(model.attention, "heads", 1), "1")
    yield from _unlike(model.dropout, "model.dropout", word=0.0, recurrent=0.0)
    yield from _train_faults(recipe.train)


def _train_faults(train: Train) -> Iterator[Fault]:
    if train.optimizer.kind != "adam":
        yield Fault("train.optimizer.kind", train.optimizer.kind, "adam")
    yield from _unlike(
        train,
        "train",
        accumulate=1,
        r_drop=0.0,
        scheduled_sampling=None,
        metric_loss=None,
        coverage_loss=0.0,
        doubly_stochastic=0.0,
        guided_alignment=None,
        distill=None,
        freeze=(),
    )


def _unlike(section: object, place: str, **expected: object) -> Iterator[Fault]:
    """The fields of a section that are not as expected."""
    for name, value in expected.items():
        found = getattr(section, name)
        if found != value:
            shown = "a section" if hasattr(found, "__dataclass_fields__") else _shown(found)
            yield Fault(f"{place}.{name}", shown, _shown(value))


def _shown(value: object) -> str:
    """A value as a recipe writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _dropout(model: Model) -> float:
    """The one rate of toolkits that have one: the highest of the recipe."""
    rates = model.dropout
    return max(rates.embedding, rates.encoder, rates.decoder, rates.readout)


def _opennmt_faults(recipe: Recipe) -> Iterator[Fault]:
    model = recipe.model
    if not isinstance(model.decoder, LuongDecoder):
        yield Fault("model.decoder.kind", model.decoder.kind, "luong")
    width = model.decoder.width
    kind = model.attention.kind
    if kind not in ("general", "dot", "additive"):
        yield Fault("model.attention.kind", kind, "general, dot or additive")
    if isinstance(model.attention, AdditiveAttention) and model.attention.width not in (
        None,
        width,
    ):
        yield Fault("model.attention.width", model.attention.width, f"model.decoder.width, {width}")
    if model.state_width(has_text=True) != width:
        directions = 2 if model.encoder.bidirectional else 1
        expected = f"model.decoder.width over {directions} directions, {width / directions:g}"
        yield Fault("model.encoder.width", model.encoder.width, expected)
    if model.embeddings != width:
        expected = f"model.decoder.width, {width}, which is its readout's"
        yield Fault("model.embeddings", model.embeddings, expected)
    if model.encoder.layers != model.decoder.layers:
        expected = f"model.decoder.layers, {model.decoder.layers}"
        yield Fault("model.encoder.layers", model.encoder.layers, expected)


def _opennmt_options(recipe: Recipe) -> list[str]:
    model, train = recipe.model, recipe.train
    decoder = model.decoder
    assert isinstance(decoder, LuongDecoder)
    attention = "mlp" if model.attention.kind == "additive" else model.attention.kind
    tied = {
        "none": [],
        "output": ["-share_decoder_embeddings"],
        "all": ["-share_vocab", "-share_embeddings", "-share_decoder_embeddings"],
    }
    return [
        *("-encoder_type", "brnn" if model.encoder.bidirectional else "rnn"),
        *("-decoder_type", "rnn", "-rnn_type", "LSTM"),
        *("-layers", str(decoder.layers)),
        *("-word_vec_size", str(model.embeddings), "-hidden_size", str(decoder.width)),
        *("-global_attention", attention, "-input_feed", str(int(decoder.input_feeding))),
        *tied[model.tied],
        *("-dropout", str(_dropout(model)), "-label_smoothing", str(train.label_smoothing)),
        *("-optim", "adam", "-learning_rate", str(train.optimizer.learning_rate)),
        *("-adam_beta1", str(train.optimizer.beta1), "-adam_beta2", str(train.optimizer.beta2)),
        *("-decay_method", "none", "-max_grad_norm", str(train.clip_norm or 0.0)),
        *("-normalization", "tokens", "-average_decay", str(_share_of_new(train))),
        *("-train_steps", "1000000000", "-valid_steps", "1000000000"),
        *("-report_every", "1000000000"),
    ]


def _share_of_new(train: Train) -> float:
    """The share of the new weights in the average, 0 for no average."""
    return round(1.0 - train.average, 12) if train.average else 0.0


def _marian_faults(recipe: Recipe) -> Iterator[Fault]:
    model = recipe.model
    if not isinstance(model.decoder, ConditionalDecoder):
        yield Fault("model.decoder.kind", model.decoder.kind, "conditional")
    width = model.decoder.width
    yield from _unlike(model.encoder, "model.encoder", layers=1, bidirectional=True)
    if model.encoder.width != width:
        expected = f"model.decoder.width, {width}"
        yield Fault("model.encoder.width", model.encoder.width, expected)
    if not isinstance(model.attention, AdditiveAttention):
        yield Fault("model.attention.kind", model.attention.kind, "additive")
    elif (model.attention.width or width) != 2 * model.encoder.width:
        expected = f"twice model.encoder.width, {2 * model.encoder.width}"
        yield Fault("model.attention.width", model.attention.width or width, expected)


def _marian_options(recipe: Recipe) -> list[str]:
    model, train = recipe.model, recipe.train
    optimizer = train.optimizer
    tied = {"none": [], "output": ["--tied-embeddings"], "all": ["--tied-embeddings-all"]}
    return [
        *("--type", "s2s", "--enc-type", "bidirectional"),
        *("--enc-cell", "lstm", "--dec-cell", "lstm"),
        *("--dec-depth", str(model.decoder.layers)),
        *("--dim-emb", str(model.embeddings), "--dim-rnn", str(model.decoder.width)),
        *tied[model.tied],
        *("--dropout-rnn", str(_dropout(model)), "--label-smoothing", str(train.label_smoothing)),
        *("--optimizer", "adam", "--learn-rate", str(optimizer.learning_rate)),
        "--optimizer-params",
        *map(str, (optimizer.beta1, optimizer.beta2, optimizer.epsilon)),
        *("--clip-norm", str(train.clip_norm or 0.0)),
        *("--exponential-smoothing", str(_share_of_new(train))),
    ]


OPENNMT = Toolkit(
    name="opennmt",
    title="OpenNMT-py",
    package="OpenNMT-py==3.5.1",
    options=_opennmt_options,
    faults=_opennmt_faults,
    most_threads=None,
)

MARIAN = Toolkit(
    name="marian",
    title="Marian",
    package="pymarian==1.12.42",
    options=_marian_options,
    faults=_marian_faults,
    most_threads=1,
)

BY_NAME: dict[ToolkitName, Toolkit] = {"opennmt": OPENNMT, "marian": MARIAN}

"""The parts of a model: which weights belong to which, and what a trained model has for them.

    source_embeddings   source_embedding.weight
    target_embeddings   target_embedding.weight
    output              output.weight, output.bias, the transitions of a CRF
    encoder             encoder.*, characters.*, features.*, marks, combination.*: what reads the
                        source
    attention           decoder.scores.*, decoder.coverage, decoder.context_gate.*
    decoder             decoder.* but for attention: layers, first state, readout, copying

A language model has of `decoder` its layers alone, so only these go into another model: the first
state and the readout depend on the source (Ramachandran et al. 2017).

Models with tied matrices have one weight for several of these names (`model.tied`); it stands under
the name of the target embeddings.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from s2s.errors import UsageError
from s2s.nn.model import Seq2Seq
from s2s.recipe.transfer import Part

SOURCE, TARGET, OUTPUT = "source_embedding.weight", "target_embedding.weight", "output.weight"
"""Names of the matrices with a row for every token of a vocabulary."""

BIAS = "output.bias"

LAYERS = "decoder.layers."
"""The beginning of the names of a decoder's recurrent layers."""

OF_ATTENTION = ("decoder.scores.", "decoder.coverage", "decoder.context_gate.")


@dataclass(frozen=True)
class Role:
    """A use of a weight: in a model with tied matrices a weight has several."""

    part: Part
    name: str
    """The weight's name in a model without tied matrices."""


def part_of(name: str) -> Part:
    """The part of a weight in a model without tied matrices."""
    match name:
        case "source_embedding.weight":
            return "source_embeddings"
        case "target_embedding.weight":
            return "target_embeddings"
        case "output.weight" | "output.bias" | "label_scores.transitions":
            return "output"
    if name.startswith(OF_ATTENTION):
        return "attention"
    return "decoder" if name.startswith("decoder.") else "encoder"


def roles(model: Seq2Seq) -> dict[str, tuple[Role, ...]]:
    """The uses of every parameter of a model, by its name."""
    found = {name: [Role(part_of(name), name)] for name, _ in model.named_parameters()}
    if OUTPUT not in found:
        found[TARGET].append(Role("output", OUTPUT))
    if model.encoder is not None and SOURCE not in found:
        found[TARGET].append(Role("source_embeddings", SOURCE))
    return {name: tuple(uses) for name, uses in found.items()}


def names_of(model: Seq2Seq, parts: Collection[Part]) -> list[str]:
    """The names of the parameters that belong to one of these parts, or to several."""
    return [name for name, uses in roles(model).items() if any(one.part in parts for one in uses)]


def is_language_model(weights: Iterable[str]) -> bool:
    """Whether weights of these names are those of a language model, which reads no source."""
    return not any(part_of(name) in ("encoder", "source_embeddings") for name in weights)


def stored_as(weights: Mapping[str, Tensor], name: str) -> str | None:
    """The name under which the weights of a trained model have a weight of this name, which may be
    tied there; None if they have none."""
    if name in weights:
        return name
    has_text = any(other.startswith("encoder.") for other in weights)
    if name == OUTPUT or (name == SOURCE and has_text):
        return TARGET if TARGET in weights else None
    return None


def stored_roles(weights: Mapping[str, Tensor]) -> Iterator[Role]:
    """The uses of all weights of a trained model."""
    for name in (*weights, *(name for name in (SOURCE, OUTPUT) if name not in weights)):
        if stored_as(weights, name) is not None:
            yield Role(part_of(name), name)


def freeze(model: Seq2Seq, parts: Collection[Part]) -> None:
    """Let training leave the parameters of these parts as they are.

    Raises UsageError for a part without parameters, and where nothing would be left to train.
    """
    frozen = set(names_of(model, parts))
    for part in parts:
        if not names_of(model, [part]):
            raise UsageError(f"train.freeze: the model has no weights in '{part}'; leave it out")
    if frozen.issuperset(name for name, _ in model.named_parameters()):
        raise UsageError(
            f"train.freeze: {', '.join(parts)} are all that the model has, so that nothing would "
            "be trained; leave one out"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)

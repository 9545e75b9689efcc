"""Which weights belong to which part of a model, and which parts can be frozen."""

from typing import Any

import pytest
import torch

from s2s.errors import UsageError
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.model import Seq2Seq
from s2s.nn.parts import freeze, names_of, roles, stored_as, stored_roles
from s2s.recipe.cells import ElementwiseCell, GRUCell, LSTMCell, SimpleCell
from s2s.recipe.model import (
    BahdanauDecoder,
    ConditionalDecoder,
    DotAttention,
    Encoder,
    LuongDecoder,
    StackedDecoder,
)
from s2s.recipe.transfer import PARTS, Part
from tests.training.toys import small_model

DECODERS = {
    "luong": LuongDecoder(kind="luong", width=14),
    "input feeding": LuongDecoder(kind="luong", width=14, input_feeding=True),
    "bahdanau": BahdanauDecoder(kind="bahdanau", width=14),
    "stacked": StackedDecoder(kind="stacked", width=14),
    "conditional": ConditionalDecoder(kind="conditional", width=14),
}


def model_of(*, features: bool = False, text: bool = True, **changes: Any) -> Seq2Seq:
    shapes = [FeatureShape(5, 0)] if features else []
    return Seq2Seq(small_model(**changes), 15 if text else None, 15, features=shapes)


@pytest.mark.parametrize("tied", ["none", "output", "all"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_weight_has_a_part(tied: str, decoder: str) -> None:
    changes = {"coverage": True, "context_gate": True}
    model = model_of(tied=tied, decoder=DECODERS[decoder], features=True, **changes)
    found = roles(model)
    assert found.keys() == dict(model.named_parameters()).keys()
    uses = [role for its in found.values() for role in its]
    assert {role.part for role in uses} == set(PARTS)
    # Tied or not, a model has the same uses.
    assert {role.name for role in uses} == {
        role.name
        for its in roles(
            model_of(tied="none", decoder=DECODERS[decoder], features=True, **changes)
        ).values()
        for role in its
    }


def test_parts_are_what_their_names_say() -> None:
    model = model_of(tied="none", coverage=True, context_gate=True)
    assert names_of(model, ["source_embeddings"]) == ["source_embedding.weight"]
    assert names_of(model, ["target_embeddings"]) == ["target_embedding.weight"]
    assert names_of(model, ["output"]) == ["output.weight", "output.bias"]
    assert all(name.startswith("encoder.") for name in names_of(model, ["encoder"]))
    assert {name.split(".")[1] for name in names_of(model, ["attention"])} == {
        "scores",
        "coverage",
        "context_gate",
    }
    assert {name.split(".")[1] for name in names_of(model, ["decoder"])} == {
        "layers",
        "bridge",
        "readout",
    }


@pytest.mark.parametrize("tied", ["none", "output", "all"])
def test_stored_weights_have_the_same_uses(tied: str) -> None:
    model = model_of(tied=tied)
    weights = dict(model.named_parameters())
    stored = {role.name: stored_as(weights, role.name) for role in stored_roles(weights)}
    expected = {role.name: name for name, its in roles(model).items() for role in its}
    assert stored == expected


def test_a_model_without_text_has_no_source_embeddings() -> None:
    model = model_of(features=True, text=False)
    weights = dict(model.named_parameters())
    assert stored_as(weights, "source_embedding.weight") is None
    assert names_of(model, ["source_embeddings"]) == []
    assert names_of(model, ["encoder"])


CELLS = {
    "lstm": LSTMCell(kind="lstm"),
    "gru": GRUCell(kind="gru"),
    "tanh": SimpleCell(kind="tanh"),
    "elementwise": ElementwiseCell(kind="sru"),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("part", ["encoder", "decoder", "attention", "target_embeddings"])
def test_frozen_parts_get_no_gradients_and_the_others_keep_theirs(
    cell: str, decoder: str, part: Part
) -> None:
    changes: dict[str, Any] = {
        "encoder": Encoder(width=9, cell=CELLS[cell]),
        "decoder": type(DECODERS[decoder])(**{**vars(DECODERS[decoder]), "cell": CELLS[cell]}),
    }
    gradients = []
    for parts in ((), (part,)):
        torch.manual_seed(1)
        model = model_of(**changes).eval()
        freeze(model, parts)
        source, target = torch.randint(4, 15, (3, 6)), torch.randint(4, 15, (3, 5))
        logits = model(source, torch.tensor([6, 4, 2]), target)
        logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    frozen = set(names_of(model, [part]))
    assert frozen
    for name, gradient in gradients[1].items():
        expected = gradients[0][name]
        if name in frozen:
            assert gradient is None
        else:
            assert gradient is not None
            torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_frozen() -> None:
    model = model_of(
        attention=DotAttention(kind="dot"), decoder=LuongDecoder(kind="luong", width=18)
    )
    with pytest.raises(UsageError, match="the model has no weights in 'attention'; leave it out"):
        freeze(model, ["attention"])
    parts: list[Part] = [part for part in PARTS if part != "attention"]
    with pytest.raises(UsageError, match="are all that the model has"):
        freeze(model, parts)
    freeze(model, ["encoder"])
    freeze(model, [])
    assert all(parameter.requires_grad for parameter in model.parameters())

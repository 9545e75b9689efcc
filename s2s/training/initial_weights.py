"""Initial weights from a trained model: all of them, or those of some parts (`train.init_from`).

Nothing is taken over unless everything that the recipe names fits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from s2s.errors import UsageError
from s2s.nn.model import Seq2Seq
from s2s.nn.parts import (
    BIAS,
    LAYERS,
    OUTPUT,
    SOURCE,
    TARGET,
    Role,
    is_language_model,
    part_of,
    roles,
    stored_as,
    stored_roles,
)
from s2s.recipe.transfer import PARTS, InitFrom, Part
from s2s.special import SPECIAL_PIECES
from s2s.text.growth import NEW, Growth, growth
from s2s.text.tokenizer_pair import TokenizerPair

SHOWN = 3
"""Weights of a part that a message names."""

OF_TOKENS = {SOURCE: "source", TARGET: "target", OUTPUT: "target", BIAS: "target"}
"""Weights with a row for every token, with the side of the tokens."""


@dataclass(frozen=True)
class Trained:
    """The trained model that weights come from."""

    place: str
    """The run and its checkpoint, as messages name them."""
    weights: Mapping[str, Tensor]
    tokenizers: TokenizerPair


@dataclass
class _Fit:
    """What fits of a part."""

    weights: list[Role] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def take_weights(
    model: Seq2Seq, tokenizers: TokenizerPair, trained: Trained, wanted: InitFrom
) -> list[str]:
    """Give a model the weights of a trained one, in the parts that the recipe names.

    Tokens that the trained model's vocabulary lacks begin at the mean of their former parts, or of
    all old tokens where no part was known (Gee et al. 2022, section 2; Hewitt 2021); their output
    bias stays at the logarithm of their frequency. Of the decoder of a language model another model
    takes the layers.

    Returns the names of the parameters that were set. Raises UsageError, with what can be taken
    over, unless all parts fit.
    """
    sides = {
        "source": growth(trained.tokenizers.source, tokenizers.source),
        "target": growth(trained.tokenizers.target, tokenizers.target),
    }
    uses = roles(model)
    parameters = dict(model.named_parameters())
    weights = trained.weights
    if is_language_model(weights) and not is_language_model(parameters):
        weights = {name: w for name, w in weights.items() if _is_common(Role(part_of(name), name))}
        uses = {name: tuple(filter(_is_common, its)) for name, its in uses.items()}
    fits = _fits(parameters, uses, weights, sides)
    if faulty := [part for part in wanted.named if fits[part].faults]:
        raise UsageError(_refusal(trained.place, fits, faulty))
    if wanted.parts != "all":
        _check_there(trained.place, fits, wanted.named)
    chosen: dict[str, Role] = {}
    for name, its in uses.items():
        named = [role for role in its if role.part in wanted.named]
        matrices = {stored_as(weights, role.name) for role in named}
        if len(matrices) > 1:
            several = " and ".join(f"'{role.part}'" for role in named)
            raise UsageError(
                f"train.init_from: {several} are one matrix here (model.tied), and "
                f"{len(matrices)} in {trained.place}; name one of them in parts"
            )
        if named:
            chosen[name] = named[0]
    with torch.no_grad():
        for name, role in chosen.items():
            _set(parameters[name], role.name, weights, sides)
    return list(chosen)


def _is_common(role: Role) -> bool:
    """Whether a language model and a model of a source both have a weight for a role."""
    return role.part != "decoder" or role.name.startswith(LAYERS)


def _fits(
    parameters: Mapping[str, Tensor],
    uses: Mapping[str, Sequence[Role]],
    weights: Mapping[str, Tensor],
    sides: Mapping[str, Growth | None],
) -> dict[Part, _Fit]:
    """What fits of every part, here and there."""
    found = {part: _Fit() for part in PARTS}
    here: set[str] = set()
    for name, its in uses.items():
        for role in its:
            here.add(role.name)
            fault = _fault(role.name, parameters[name], weights, sides)
            if fault is None:
                found[role.part].weights.append(role)
            else:
                found[role.part].faults.append(fault)
    for role in stored_roles(weights):
        if role.name not in here:
            shape = list(weights[stored_as(weights, role.name) or role.name].shape)
            found[role.part].faults.append(f"{role.name}: none here, {shape} there")
    return found


def _fault(
    name: str,
    here: Tensor,
    weights: Mapping[str, Tensor],
    sides: Mapping[str, Growth | None],
) -> str | None:
    """Why a weight of the trained model cannot be taken over; None if it can."""
    stored = stored_as(weights, name)
    if stored is None:
        return f"{name}: {list(here.shape)} here, none there"
    there = weights[stored]
    expected = list(here.shape)
    if name in OF_TOKENS:
        grown = sides[OF_TOKENS[name]]
        if list(there.shape[1:]) == expected[1:] and grown is None:
            return f"{name}: the {OF_TOKENS[name]} tokenizer is another one"
        if grown is not None:
            expected[0] = grown.old_size
    if list(there.shape) != expected:
        return f"{name}: {list(here.shape)} here, {list(there.shape)} there"
    return None if there.is_floating_point() else f"{name}: {there.dtype} there"


def _refusal(place: str, fits: Mapping[Part, _Fit], faulty: Sequence[Part]) -> str:
    """The line about parts that do not fit."""
    told = []
    for part in faulty:
        faults = fits[part].faults
        more = f"; {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        told.append(f"'{part}' ({'; '.join(faults[:SHOWN])}{more})")
    good = [part for part, fit in fits.items() if fit.weights and not fit.faults]
    remedy = f"parts: [{', '.join(good)}] fit" if good else "no part fits"
    if any("tokenizer is another" in fault for part in faulty for fault in fits[part].faults):
        remedy += "; tokenizer: {kind: from_run, run: ...} takes over the tokenizer too"
    return f"train.init_from: {place}: cannot take over {', '.join(told)}; {remedy}"


def _check_there(place: str, fits: Mapping[Part, _Fit], parts: Sequence[Part]) -> None:
    """Raise UsageError for a part that has no weights."""
    for part in parts:
        if not fits[part].weights:
            there = [other for other in PARTS if fits[other].weights]
            raise UsageError(
                f"train.init_from.parts: '{part}' has no weights, neither here nor in {place}; "
                f"these have some: {', '.join(there)}"
            )


def _set(
    parameter: Tensor,
    name: str,
    weights: Mapping[str, Tensor],
    sides: Mapping[str, Growth | None],
) -> None:
    """Copy one weight; those of tokens go to the new ids."""
    there = weights[stored_as(weights, name) or name].to(parameter)
    grown = sides[OF_TOKENS[name]] if name in OF_TOKENS else None
    if grown is None or grown.is_none:
        parameter.copy_(there)
        return
    old_ids = torch.from_numpy(grown.old_ids).to(parameter.device)
    kept = old_ids != NEW
    parameter[kept] = there[old_ids[kept]]
    if name == BIAS:
        return
    mean = there[len(SPECIAL_PIECES) :].mean(0)
    for token, parts in grown.parts.items():
        parameter[token] = there[parts].mean(0) if parts else mean

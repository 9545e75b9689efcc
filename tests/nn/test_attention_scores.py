"""Another score function in every decoder, and the bounds that score functions give."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.attention_scores import AttentionScore, ScoreMultiplications, build_scores
from s2s.nn.inference_model import QuantizedLinear, inference_model
from s2s.nn.loop_linear import LoopLinear
from s2s.nn.weighted_sum import weighted_sum
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import Model
from tests.nn import test_model as models
from tests.nn.test_model import ATTENTIONS, LENGTHS, RECIPES, build, heads_of, name, pairs

STATE_D, QUERY_H = torch.full((4,), 3.0), torch.full((5,), 2.0)


class CosineScores(AttentionScore):
    """score(h, s) = exp(b) cos(W h, s) (Graves et al. 2014, section 3.3.1, with a learned b)."""

    def __init__(self, source_width: int, query_width: int) -> None:
        super().__init__()
        self.source_width = source_width
        self.query = nn.Linear(query_width, source_width, bias=False)
        self.strength = nn.Parameter(torch.zeros(1))

    def keys(self, states_BSD: Tensor) -> Tensor:
        """s / |s| [B, D, S]."""
        return F.normalize(states_BSD, dim=-1).mT

    def forward(self, query_BQH: Tensor, keys: Tensor | LoopLinear) -> Tensor:
        query_BQD = self._scaled(query_BQH)
        return keys(query_BQD) if isinstance(keys, LoopLinear) else torch.bmm(query_BQD, keys)

    def rows(self, query_NH: Tensor, keys: Tensor) -> Tensor:
        return weighted_sum(self._scaled(query_NH), keys)

    def loop_keys(self, keys: Tensor) -> LoopLinear:
        return LoopLinear(keys.mT)

    def input_bounds(self, state_D: Tensor, query_H: Tensor) -> Mapping[str, Tensor]:
        return {"query": query_H}

    @property
    def multiplications(self) -> ScoreMultiplications:
        return ScoreMultiplications(0, self.query.weight.numel(), self.source_width)

    def _scaled(self, query: Tensor) -> Tensor:
        return F.normalize(self.query(query), dim=-1) * self.strength.exp()


WITH_GENERAL = [
    recipe for recipe in RECIPES if recipe.attention.kind == "general" and heads_of(recipe) == 1
]
with_cosine = pytest.mark.parametrize("recipe", WITH_GENERAL, ids=name)


@pytest.fixture
def cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models whose score function is the cosine, for every recipe."""
    monkeypatch.setattr(
        "s2s.nn.decoders.base.build_scores", lambda _, source, query: CosineScores(source, query)
    )


@with_cosine
@pytest.mark.usefixtures("cosine")
def test_step_by_step_is_teacher_forced_with_another_score(recipe: Model) -> None:
    assert isinstance(build(recipe).decoder.scores, CosineScores)
    models.test_step_by_step_is_teacher_forced(recipe)


@with_cosine
@pytest.mark.usefixtures("cosine")
def test_gradients_are_those_of_teacher_forcing_with_another_score(recipe: Model) -> None:
    models.test_gradients_step_by_step_are_those_of_teacher_forcing(recipe, gated=False)


@with_cosine
@pytest.mark.usefixtures("cosine")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_model_for_search_is_near_with_another_score(
    recipe: Model, precision: SearchPrecision
) -> None:
    model, (source, target) = build(recipe), pairs()
    tolerance = {"fp32": 1e-5, "bf16": 0.06, "int8": 0.06}[precision]
    scorer = inference_model(model, precision)
    assert scorer.quantized.decoder.scores is not None
    assert isinstance(scorer.quantized.decoder.scores.query, QuantizedLinear)
    with torch.inference_mode():
        found, expected = (
            one.step(memory, one.start(memory), target[:, 0]).logits
            for one in (scorer, model)
            for memory in [one.encode(source, LENGTHS)]
        )
    assert (found - expected).std() <= tolerance * expected.std()


@pytest.mark.parametrize("recipe", ATTENTIONS[:-1], ids=lambda recipe: recipe.kind)
def test_bounds_are_those_of_what_a_layer_reads(recipe) -> None:  # type: ignore[no-untyped-def]
    scores = build_scores(recipe, len(STATE_D), len(QUERY_H))
    assert scores is not None
    seen: dict[str, int] = {}
    for layer_name, layer in scores.named_children():
        layer.register_forward_pre_hook(
            lambda _, inputs, key=layer_name: seen.update({key: inputs[0].shape[-1]})
        )
    states_BSD, query_NH = torch.ones(2, 3, len(STATE_D)), torch.ones(4, len(QUERY_H))
    scores.rows(query_NH, scores.keys(states_BSD))
    expected = {key: {4: STATE_D, 5: QUERY_H}[width] for key, width in seen.items()}
    bounds = scores.input_bounds(STATE_D, QUERY_H)
    assert bounds.keys() == expected.keys()
    assert all(torch.equal(bound, expected[key]) for key, bound in bounds.items())

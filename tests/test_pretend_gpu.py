"""Training and search on another device than the host's: all their tensors are on it.

No GPU is needed: `tests.pretend_gpu` stands for one, and gives the results of the CPU.
"""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from s2s.data.ibm_model1 import Lexicon
from s2s.nn import inference_model as packed_module
from s2s.nn.batch import Batch, Regions
from s2s.nn.cells.cudnn_lstm import KERNELS
from s2s.nn.device import Precision
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.inference_model import inference_model
from s2s.nn.kernels import runs_bf16_lstm
from s2s.nn.model import Seq2Seq
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    Attention,
    BahdanauDecoder,
    Dropout,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.recipe.train import Train
from s2s.search.constraints.automaton import Spelling
from s2s.search.constraints.negative import NegativeConstraints
from s2s.search.constraints.positive import PositiveConstraints, Term
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.decoding_batch import Chosen, DecodingBatch
from s2s.search.exhaustive import Expander
from s2s.search.forced_decoding import forced
from s2s.search.loop import search
from s2s.search.shortlist import shortlisted
from s2s.special import BOS, EOS, PAD
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.state import TrainingState
from s2s.training.update import Updater
from tests.fake_cudnn import FAKE
from tests.pretend_gpu import DEVICE, TO_HOST, Elsewhere, elsewhere, move, waits
from tests.search.toys import spec_of

WORDS = 23
SHAPE = FeatureShape(7, 6)
LENGTHS: dict[str, Any] = {"max_ratio": 1.2, "max_offset": 3}
GENERAL, ADDITIVE = GeneralAttention(kind="general"), AdditiveAttention(kind="additive", width=8)
LUONG = LuongDecoder(kind="luong", width=14)
MODELS: dict[str, tuple[AnyDecoder, Attention, dict[str, Any]]] = {
    "luong": (LUONG, GENERAL, {}),
    "bottleneck": (replace(LUONG, layers=2), NoAttention(kind="none"), {}),
    "fed": (replace(LUONG, input_feeding=True), ADDITIVE, {"coverage": True}),
    "bahdanau": (BahdanauDecoder(kind="bahdanau", width=14), ADDITIVE, {}),
    "stacked": (StackedDecoder(kind="stacked", width=14), GENERAL, {}),
    "copying": (LUONG, GENERAL, {"copy": "pointer", "coverage": True}),
    "features": (LUONG, GENERAL, {"image_features": (ImageFeatureEncoder(width=10, layers=1),)}),
}
TRAININGS: dict[str, Train] = {
    "plain": Train(clip_norm=0.1, average=0.9),
    "r-drop": Train(r_drop=1.0),
    "coverage": Train(coverage_loss=1.0, doubly_stochastic=0.5, label_smoothing=0.0),
}
SEARCHES: dict[str, Search] = {
    "greedy": GreedySearch(kind="greedy", **LENGTHS),
    "beam": BeamSearch(kind="beam", width=3, **LENGTHS),
    "groups": BeamSearch(kind="beam", width=4, groups=2, diversity=0.5, **LENGTHS),
    "constrained": BeamSearch(
        kind="beam", width=3, no_repeat_ngram=2, repetition_penalty=1.3, min_ratio=0.5, **LENGTHS
    ),
    "coverage": BeamSearch(kind="beam", width=3, coverage_penalty=0.3, **LENGTHS),
    "sample": SampleSearch(kind="sample", samples=3, top_p=0.9, **LENGTHS),
    "exhaustive": ExhaustiveSearch(
        kind="exhaustive", max_ratio=0.3, max_offset=2, no_repeat_ngram=2
    ),
}


def network(name: str, seed: int = 5) -> Seq2Seq:
    torch.manual_seed(seed)
    decoder, attention, more = MODELS[name]
    recipe = Model(
        embeddings=9,
        encoder=Encoder(width=5),
        attention=attention,
        decoder=decoder,
        dropout=Dropout(word=0.1),
        **more,
    )
    table = None
    if recipe.copy == "pointer":
        table = torch.arange(WORDS)
        table[15:20] = -1
        table[[PAD, BOS, EOS]] = -1
    shapes = (SHAPE,) if recipe.image_features else ()
    model = Seq2Seq(recipe, WORDS, WORDS, None, table, features=shapes)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            parameter.mul_(6.0 if "embedding" in parameter_name else 2.0)
        model.output.bias[EOS] -= 2.0
    return model.eval()


def there(model: Seq2Seq) -> Seq2Seq:
    on_device = copy.deepcopy(model)
    move(on_device)
    return on_device


def batch(name: str) -> Batch:
    torch.manual_seed(4)
    source, target = torch.randint(4, WORDS, (5, 7)), torch.randint(4, WORDS, (5, 6))
    lengths, sizes = torch.tensor([7, 3, 5, 1, 6]), torch.tensor([6, 2, 5, 4, 3])
    source[torch.arange(7) >= lengths.unsqueeze(1)] = PAD
    target[torch.arange(6) >= sizes.unsqueeze(1)] = PAD
    regions = Regions(torch.randn(5, SHAPE.regions, SHAPE.width), torch.tensor([6, 1, 4, 2, 3]))
    features = (regions,) if name == "features" else ()
    before = torch.cat((torch.full((5, 1), BOS), target[:, :-1]), dim=1)
    return Batch(source, lengths, before, target, sizes, features)


class PlainAdam(torch.optim.Adam):
    """Of plain operations, as the fused one knows GPUs by their names; it is told what that is."""

    def __init__(self, parameters: Any, **settings: Any) -> None:
        super().__init__(parameters, **{**settings, "fused": False, "foreach": False})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        names = [name for name in ("grad_scale", "found_inf") if name in vars(self)]
        told = {name: vars(self).pop(name) for name in names}
        for parameter in self.param_groups[0]["params"]:
            if "grad_scale" in told and parameter.grad is not None:
                parameter.grad.div_(told["grad_scale"])
        before = {id(held): held.clone() for held in self._held()}
        super().step()
        if "found_inf" in told:
            for held in self._held():
                old = before.get(id(held), torch.zeros_like(held))
                held.copy_(torch.where(told["found_inf"] > 0, old, held))
        vars(self).update(told)

    def _held(self) -> list[torch.Tensor]:
        """Parameters and moments."""
        moments = [moments[key] for moments in self.state.values() for key in MOMENTS]
        return [*self.param_groups[0]["params"], *moments]


MOMENTS = ("exp_avg", "exp_avg_sq")


@pytest.fixture(autouse=True)
def on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU has, in plain operations: its optimizer, its library of recurrent layers, bf16."""
    has_bf16 = packed_module.has_fast_bf16
    monkeypatch.setattr(
        packed_module, "has_fast_bf16", lambda device: device == DEVICE or has_bf16(device)
    )
    monkeypatch.setattr(torch.optim, "AdamW", PlainAdam)
    monkeypatch.setitem(KERNELS, DEVICE.type, FAKE)


WAYS = [
    *((name, "plain") for name in MODELS),
    ("copying", "r-drop"),
    ("copying", "coverage"),
]
CLOSE: dict[Precision, dict[str, float]] = {
    "fp32": {},
    # Autocast of a CPU is another one, and its loss has a way of its own.
    "bf16": {"rtol": 0.03, "atol": 2e-5},
}


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize(("name", "how"), WAYS)
def test_training(name: str, how: str, precision: Precision) -> None:
    if precision == "bf16" and not runs_bf16_lstm():
        pytest.skip("the CPU to compare with has no LSTM in bf16")
    recipe = TRAININGS[how]

    def trained(model: Seq2Seq) -> tuple[TrainingState, list[torch.Tensor]]:
        state = TrainingState(model.train(), recipe)
        update = Updater(state, Seq2SeqObjective(state.recipe), 1, precision, 100)
        seen = [update([batch(name)] * 2, watch=True) for _ in range(2)]
        return state, [torch.stack((one.nll, one.gradient_norm)).cpu() for one in seen]

    model = network(name)
    with elsewhere():
        state, there_seen = trained(there(model))
        assert all(isinstance(p, Elsewhere) for p in state.parameters.values())
        saved = state.weights()
        again = TrainingState(there(model), recipe)
        again.restore(saved, state.training_tensors(), state.training_meta())
        moments = [again.moments(parameter) for parameter in again.parameters.values()]
        assert all(isinstance(t, Elsewhere) for held in moments for t in held.values())
    expected, seen = trained(model)
    torch.testing.assert_close(there_seen, seen, **CLOSE[precision])
    torch.testing.assert_close(saved, expected.weights(), **CLOSE[precision])


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize(("name", "how"), WAYS)
def test_an_update_waits_for_nothing(name: str, how: str, precision: Precision) -> None:
    with elsewhere():
        state = TrainingState(there(network(name)).train(), TRAININGS[how])
        update = Updater(state, Seq2SeqObjective(state.recipe), 1, precision, 100)
        update([batch(name)])  # the first one tries the layers in bf16
        with waits() as found:
            seen = update([batch(name)] * 2, watch=True)
            assert found == []
            float(seen.nll)
            assert found == ["_local_scalar_dense"]


def test_a_gradient_that_is_not_finite_is_not_stepped() -> None:
    with elsewhere():
        state = TrainingState(there(network("luong")).train(), Train(average=0.9))
        update = Updater(state, Seq2SeqObjective(state.recipe), 1, "fp32", 100)
        update([batch("luong")])
        before = [{**state.weights(), **state.training_tensors()}]
        hook = state.model.output.bias.register_hook(lambda gradient: gradient * torch.nan)
        with waits() as found:
            seen = update([batch("luong")])
            assert found == []
        hook.remove()
        after = {**state.weights(), **state.training_tensors()}
        assert seen.gradient_norm.cpu().isnan()
        torch.testing.assert_close([after], before, rtol=0, atol=0)
        update([batch("luong")])
        changed = {**state.weights(), **state.training_tensors()}
        assert all(not torch.equal(after[name], changed[name]) for name in after)


SOURCES = [[5, 9, 4], [7], [8, 8, 20, 15, 16, 6], [10, 22], [], [4, 5, 6, 7, 8, 9, 10]]
SURFACES = ["", "", "", "", *(f" {chr(ord('a') + place)}" for place in range(WORDS - 4))]
SPELLING = Spelling(list(SURFACES))
DEMANDS = {
    "prefix": [spec_of(prefix=(7, 9)), ConstraintSpec()],
    "avoid": [
        spec_of(avoid=NegativeConstraints(["a b", "c", "f"], SPELLING)),
        ConstraintSpec(),
    ],
    "must": [
        spec_of(must=PositiveConstraints([Term("b c", (5, 6))], SPELLING)),
        spec_of(must=PositiveConstraints([Term("d", (7,)), Term("e", (8,))], SPELLING)),
    ],
}
LEXICON = Lexicon(
    tokens_VM=(np.arange(4 * WORDS).reshape(WORDS, 4) * 7 % WORDS).astype(np.int64),
    probs_VM=np.tile(np.array([0.4, 0.3, 0.2, 0.1], dtype=np.float32), (WORDS, 1)),
    by_frequency_W=np.arange(WORDS, dtype=np.int64),
)


def check_search(here: Any, on_device: Any, settings: Search, **more: Any) -> None:
    """The same hypotheses on both sides. `on_device` makes the scorer of there."""

    def outcome(scorer: Any, device: str) -> list[list[tuple[Any, ...]]]:
        found = search(scorer, SOURCES, settings, device, **more)
        return [[(h.tokens, h.finished, h.proven) for h in one] for one in found]

    with elsewhere() as device:
        found = outcome(on_device(), device)
    expected = outcome(here, "cpu")
    assert found == expected
    assert len({one[0][0] for one in expected}) > 1


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "beam") for name in MODELS if name not in {"copying", "features"}),
        *(("copying", how) for how in SEARCHES),
    ],
)
def test_search(name: str, how: str) -> None:
    model = network(name)
    shows = how == "beam" and name != "bottleneck"
    check_search(model, lambda: there(model), SEARCHES[how], want_attention=shows)


def steps_of(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with every step of search."""
    steps: list[None] = []
    plain_step = DecodingBatch.step

    def step(block: DecodingBatch[Any, Any], want_attention: bool) -> Chosen:
        steps.append(None)
        return plain_step(block, want_attention)

    monkeypatch.setattr(DecodingBatch, "step", step)
    return steps


@pytest.mark.parametrize("how", [how for how in SEARCHES if how != "exhaustive"])
def test_a_step_of_search_waits_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what was chosen, with all that goes before: encoding, and sentences that enter.

    Attention, where it counts, is copied when there is nothing left to wait for.
    """
    steps = steps_of(monkeypatch)
    with elsewhere() as device:
        model = there(network("luong"))
        with waits() as found:
            search(model, SOURCES, SEARCHES[how], device)
    copies = 2 if how == "coverage" else 1
    assert found == [TO_HOST] * copies * len(steps)


DEMANDED = [
    ("prefix", "beam"),
    ("prefix", "sample"),
    ("avoid", "beam"),
    ("avoid", "sample"),
    ("must", "beam"),
]


@pytest.mark.parametrize(("what", "how"), DEMANDED)
def test_constraints_add_no_wait(what: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of(monkeypatch)
    with elsewhere() as device:
        model = there(network("luong"))
        with waits() as found:
            search(model, SOURCES, SEARCHES[how], device, constraints=DEMANDS[what] * 3)
    assert found == [TO_HOST] * len(steps)


def test_a_step_of_exhaustive_search_waits_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """For ends, for the number of prefixes that are left, and for these; sentences for nothing."""
    steps, expanded = steps_of(monkeypatch), []
    plain_expand = Expander.expand

    def expand(expander: Expander[Any, Any], *arguments: Any) -> Any:
        expanded.append(None)
        return plain_expand(expander, *arguments)

    monkeypatch.setattr(Expander, "expand", expand)
    demands = [
        spec_of(prefix=(7,)),
        spec_of(avoid=NegativeConstraints(["a b"], SPELLING)),
    ] * 3
    with elsewhere() as device:
        model = there(network("luong"))
        with waits() as found:
            search(model, SOURCES, SEARCHES["exhaustive"], device, constraints=demands)
    assert expanded and len(found) == len(steps) + 3 * len(expanded)
    assert set(found) == {TO_HOST, "nonzero_numpy"}


@pytest.mark.parametrize(("what", "how"), DEMANDED)
def test_constraints(what: str, how: str) -> None:
    model, demands = network("luong"), DEMANDS[what] * 3
    check_search(model, lambda: there(model), SEARCHES[how], constraints=demands)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_packed_models_with_shortlists(precision: SearchPrecision) -> None:
    models = [network("luong"), network("stacked", seed=6)]

    def scorer(members: list[Seq2Seq], device: str) -> Any:
        return shortlisted([inference_model(m, precision) for m in members], LEXICON, 2, 5, device)

    here = scorer(models, "cpu")
    check_search(here, lambda: scorer([there(m) for m in models], str(DEVICE)), SEARCHES["beam"])


def test_given_outputs_are_scored() -> None:
    model = network("copying")
    pairs = [(source, [5, 6, 7][: len(source)]) for source in SOURCES if source]
    expected = forced(model, pairs, "cpu")
    with elsewhere() as device:
        on_device = there(model)
        with waits() as waited:
            found = forced(on_device, pairs, device)
    assert found == pytest.approx(expected, rel=1e-5)
    assert set(waited) == {TO_HOST} and len(waited) < len(pairs), "once for a batch"


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_weights_that_are_used_are_gathered(decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN warns of a copy of a model, and of an average of weights, that was not."""
    gathered: list[torch.Tensor] = []

    def flatten(layer: torch.nn.LSTM) -> None:
        gathered.extend(layer.parameters())

    monkeypatch.setattr(torch.nn.LSTM, "flatten_parameters", flatten)
    state = TrainingState(network("luong"), Train(average=decay))
    gathered.clear()
    with state.averaged() as model:
        assert {id(p) for p in model.encoder.parameters()} <= {id(p) for p in gathered}
        ready = inference_model(model, "fp32").quantized
    assert {id(p) for p in ready.encoder.parameters()} <= {id(p) for p in gathered}

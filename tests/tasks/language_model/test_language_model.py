"""Language models: windows of a stream with carried state are one long pass."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from s2s.data.batches import batch_plan, collate
from s2s.data.store import Corpus
from s2s.data.stream import Stream, StreamEpoch
from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq, no_memory
from s2s.recipe.cells import AnyCell, ElementwiseCell, GRUCell, LSTMCell, SimpleCell
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import Dropout, Model, NoAttention, PlainDecoder
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch
from s2s.recipe.train import Optimizer, Train
from s2s.recipe.train import Stream as StreamSection
from s2s.search.loop import search
from s2s.special import BOS, EOS
from s2s.tasks.language_model.objective import StreamObjective
from s2s.tasks.language_model.validation import stream_loss
from s2s.tasks.seq2seq.validation import validation_loss
from s2s.training.distributed.process_group import SINGLE_PROCESS
from s2s.training.state import TrainingState
from s2s.training.update import Updater

CELLS: list[AnyCell] = [
    LSTMCell(kind="lstm"),
    GRUCell(kind="gru"),
    SimpleCell(kind="tanh"),
    ElementwiseCell(kind="mingru"),
]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.kind)
VOCABULARY = 12
NO_DROPOUT = Dropout(embedding=0.0, encoder=0.0, decoder=0.0, readout=0.0)


def build(cell: AnyCell = CELLS[0], width: int = 6) -> Seq2Seq:
    torch.manual_seed(3)
    recipe = Model(
        embeddings=6,
        attention=NoAttention(kind="none", context="start"),
        decoder=PlainDecoder(kind="plain", layers=2, width=width, cell=cell),
        dropout=NO_DROPOUT,
    )
    model = Seq2Seq(recipe, None, VOCABULARY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def corpus(sentences: int = 9) -> Corpus:
    draw = np.random.default_rng(1)
    lengths = draw.integers(0, 7, sentences)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = draw.integers(4, VOCABULARY, int(offsets[-1])).astype(np.uint16)
    nothing = np.zeros(sentences + 1, dtype=np.int64)
    return Corpus(np.zeros(0, dtype=np.uint16), nothing, values, offsets)


def long_pass(model: Seq2Seq, data: Corpus) -> Tensor:
    """The loss summed over a stream, step by step through the search's interface."""
    stream = Stream(data)
    tokens = stream.tokens(np.arange(len(stream))).tolist()
    memory = no_memory(torch.zeros(1, 0))
    state, read, losses = model.start(memory), BOS, []
    for token in tokens:
        decoded, state = model.step_readout(memory, state, torch.tensor([read]))
        logits = model.output(decoded.readout)
        losses.append(-torch.log_softmax(logits, -1)[0, token])
        read = BOS if token == EOS else token
    return torch.stack(losses).sum()


@every_cell
@pytest.mark.parametrize("width", [6, 5], ids=["", "projected"])
def test_a_stream_in_windows_is_one_long_pass(cell: AnyCell, width: int) -> None:
    model, data = build(cell, width), corpus()
    with torch.no_grad():
        expected = float(long_pass(model, data)) / len(Stream(data))
    for window in (1, 4, 1000):
        assert stream_loss(model, data, window) == pytest.approx(expected, abs=1e-5)


@every_cell
def test_a_window_as_long_as_the_stream_has_the_gradients_of_the_whole_pass(cell: AnyCell) -> None:
    model, data = build(cell), corpus()
    (batch,) = StreamEpoch(data, 1, 1000).batches()
    found = StreamObjective(Train(label_smoothing=0.0), VOCABULARY).loss(model, batch, 1)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.loss, parameters),
        torch.autograd.grad(long_pass(model, data), parameters),
        atol=1e-4,
        rtol=1e-4,
    )


def test_gradients_end_where_a_window_begins() -> None:
    model, data = build(), corpus()
    first, second = list(StreamEpoch(data, 1, len(Stream(data)) // 2).batches())[:2]
    objective = StreamObjective(Train(label_smoothing=0.0), VOCABULARY)
    carried = objective.loss(model, first, 1).carried
    assert all(not one.requires_grad for state in carried for one in state)
    found = objective.loss(model, second, 2, carried)
    copies = tuple(tuple(one.clone() for one in state) for state in carried)
    expected = objective.loss(model, second, 2, copies)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found.loss, parameters), torch.autograd.grad(expected.loss, parameters)
    )
    other = objective.loss(model, second, 2)  # from zeros
    assert not torch.allclose(other.nll, found.nll)


def updater(model: Seq2Seq, pass_tokens: int | None = None) -> Updater:
    recipe = Train(
        stream=StreamSection(rows=4, window=5),
        label_smoothing=0.0,
        optimizer=Optimizer(learning_rate=0.05),
    )
    state = TrainingState(model.train(), recipe)
    objective = StreamObjective(recipe, VOCABULARY)
    return Updater(state, objective, 1, "fp32", 100, group=SINGLE_PROCESS, pass_tokens=pass_tokens)


def states_of(one: Updater) -> list[Tensor]:
    assert one.state.carried is not None
    return [part for state in one.state.carried for part in state]


def test_a_batch_in_parts_carries_each_rows_own_state() -> None:
    data = corpus(40)
    batches = list(StreamEpoch(data, 4, 5).batches())[:4]
    whole, parts = updater(build()), updater(build(), pass_tokens=10)
    for batch in batches:
        assert whole([batch]).parts == 1
        assert parts([batch]).parts == 2
        torch.testing.assert_close(states_of(parts), states_of(whole), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        list(parts.state.parameters.values()),
        list(whole.state.parameters.values()),
        atol=1e-4,
        rtol=1e-3,
    )


def test_accumulated_windows_follow_one_another() -> None:
    batches = list(StreamEpoch(corpus(40), 4, 5).batches())[:2]
    one = updater(build())
    one(batches)
    model = build()
    objective = StreamObjective(Train(label_smoothing=0.0), VOCABULARY)
    carried: Any = None
    for batch in batches:
        carried = objective.loss(model, batch, 1, carried).carried
    expected = [part for state in carried for part in state]
    torch.testing.assert_close(states_of(one), expected)


def test_a_checkpoint_has_the_carried_states() -> None:
    batch = next(StreamEpoch(corpus(40), 4, 5).batches())
    one, other = updater(build()), updater(build())
    one([batch])
    state = one.state
    other.state.restore(state.weights(), state.training_tensors(), state.training_meta())
    assert all(map(torch.equal, states_of(other), states_of(one)))


@every_cell
def test_sentences_by_themselves_are_steps(cell: AnyCell) -> None:
    """Masks keep padding out, so that a batch is its sentences one by one."""
    model, data = build(cell), corpus()
    memory, total, count = no_memory(torch.zeros(1, 0)), 0.0, 0
    with torch.inference_mode():
        for pair in range(len(data)):
            begin, end = data.target_offsets[pair : pair + 2]
            targets = [*data.target_values[begin:end].tolist(), EOS]
            state, read = model.start(memory), BOS
            for token in targets:
                step = model.step(memory, state, torch.tensor([read]))
                total -= float(torch.log_softmax(step.logits, -1)[0, token])
                state, read, count = step.state, token, count + 1
    found = validation_loss(model, data, SINGLE_PROCESS)
    assert found == pytest.approx(total / count, abs=1e-5)


@every_cell
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("width", [6, 5], ids=["", "projected"])
def test_the_model_for_search_is_near(
    cell: AnyCell, precision: SearchPrecision, width: int
) -> None:
    model = build(cell, width)
    quantized = inference_model(model, precision)
    tokens = torch.tensor([BOS, 5, 7])
    with torch.inference_mode():
        memory = model.encode(torch.zeros(3, 0), torch.zeros(3))
        expected = model.step(memory, model.start(memory), tokens).logits
        found = quantized.step(memory, quantized.start(memory), tokens).logits
    tolerance = {"fp32": 1e-5, "bf16": 0.1, "int8": 0.1}[precision]
    assert (found - expected).std() <= tolerance * expected.std()


def test_beam_1_is_greedy_and_a_wide_beam_is_exhaustive() -> None:
    model = inference_model(build(), "fp32")
    prompts = [[EOS], [EOS, EOS]]
    limits: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 2}
    greedy = GreedySearch(kind="greedy", **limits)
    one = BeamSearch(kind="beam", width=1, **limits)
    wide = BeamSearch(kind="beam", width=500, length_penalty=0.0, **limits)
    exact = ExhaustiveSearch(kind="exhaustive", **limits)

    def best(settings: Any) -> list[tuple[int, ...]]:
        found = search(model, prompts, replace(settings, precision="fp32"), "cpu")
        return [tuple(hypotheses[0].tokens) for hypotheses in found]

    assert best(one) == best(greedy)
    assert best(wide) == best(exact)


def test_a_batch_of_prompts_is_each_by_itself() -> None:
    model = inference_model(build(), "fp32")
    prompts = [[EOS] * length for length in (1, 4, 2, 1)]
    settings = GreedySearch(kind="greedy", max_ratio=1.0, max_offset=6, precision="fp32")
    whole = search(model, prompts, settings, "cpu")
    alone = [search(model, [one], settings, "cpu")[0] for one in prompts]
    assert [h[0].tokens for h in whole] == [h[0].tokens for h in alone]


def test_perplexity_is_finite_for_any_loss() -> None:
    from s2s.tasks.language_model.validation import _exp

    assert _exp(np.array([0.0, 1.0])) == (1.0,)
    assert _exp(np.array([1e6, 1.0])) == (math.inf,)


def test_plans_of_sentences_read_no_source() -> None:
    data = corpus()
    plan = batch_plan((data.memory_lengths, data.target_lengths), 64, seed=1, epoch=0)
    batch = collate(data, plan[0])
    model = build()
    memory = model.encode(batch.source, batch.source_lengths)
    assert memory.states_BSD.shape[1:] == (0, 0)

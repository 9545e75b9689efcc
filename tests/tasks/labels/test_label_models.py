"""Models of labels: every text by itself, no padding, and a CRF that is its definition."""

import itertools
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from s2s.nn.inference_model import inference_model
from s2s.nn.label_scores import FIRST_LABEL, LabelScores
from s2s.nn.model import Seq2Seq
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.model import (
    Characters,
    Classifier,
    Dropout,
    Encoder,
    Model,
    NoAttention,
    Tagger,
)
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch
from s2s.search.forced_decoding import forced
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD

LABELS = FIRST_LABEL + 3
WORDS, ALL = 9, 16
"""Source ids: words, then characters."""

NO_DROPOUT = Dropout(embedding=0.0, encoder=0.0, decoder=0.0, readout=0.0)
POOLINGS: list[Literal["final", "max", "mean", "attention"]] = ["final", "max", "mean", "attention"]
DECODERS: dict[str, Classifier | Tagger] = {
    **{name: Classifier(kind="classifier", pooling=name) for name in POOLINGS},
    "tagger": Tagger(kind="tagger"),
    "crf": Tagger(kind="tagger", crf=True),
}
every_decoder = pytest.mark.parametrize("name", DECODERS)
with_characters = pytest.mark.parametrize("spelled", [False, True], ids=["words", "characters"])

pytestmark = pytest.mark.usefixtures("one_thread")


def build(name: str, *, spelled: bool = False, spread: float = 0.5) -> Seq2Seq:
    torch.manual_seed(3)
    recipe = Model(
        embeddings=6,
        encoder=Encoder(width=5),
        attention=NoAttention(kind="none", context="start"),
        decoder=DECODERS[name],
        characters=Characters(width=4) if spelled else None,
        dropout=NO_DROPOUT,
    )
    model = Seq2Seq(recipe, ALL, LABELS, num_source_words=WORDS if spelled else None)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return model.eval()


def sentence(draw: torch.Generator, words: int, *, spelled: bool) -> list[int]:
    """Ids of words from 4 on, with one to three characters after each if they are spelled."""

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=draw))

    found = []
    for _ in range(words):
        found.append(number(4, WORDS))
        if spelled:
            found += [number(WORDS, ALL) for _ in range(number(1, 4))]
    return found


def sentences(count: int, *, spelled: bool) -> list[list[int]]:
    draw = torch.Generator().manual_seed(5)
    lengths = torch.randint(1, 8, (count,), generator=draw).tolist()
    return [sentence(draw, length, spelled=spelled) for length in lengths]


def num_words(ids: list[int]) -> int:
    return sum(token < WORDS for token in ids)


def padded(rows: list[list[int]], time: int | None = None) -> tuple[Tensor, Tensor]:
    longest = time or max(map(len, rows)) + 1
    ids = torch.full((len(rows), longest), PAD)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens) + 1] = torch.tensor([*tokens, EOS])
    return ids, torch.tensor([len(row) + 1 for row in rows])


def logits(
    model: Seq2Seq, rows: list[list[int]], target: Tensor, time: int | None = None
) -> Tensor:
    found: Tensor = model(*padded(rows, time), target)
    return found


@every_decoder
@with_characters
def test_padding_reaches_no_label(name: str, spelled: bool) -> None:
    model = build(name, spelled=spelled)
    rows = sentences(6, spelled=spelled)
    target = torch.full((1, 9), FIRST_LABEL)
    for row in rows:
        alone = logits(model, [row], target)
        wide = logits(model, [row], target, time=40)
        beside = logits(model, [row, *rows], target.expand(7, -1))[:1]
        for other in (wide, beside):
            torch.testing.assert_close(other, alone, atol=1e-5, rtol=1e-5)


@every_decoder
def test_steps_are_the_whole_at_once(name: str) -> None:
    model = build(name)
    rows = sentences(5, spelled=False)
    source, lengths = padded(rows)
    target = torch.randint(FIRST_LABEL, LABELS, (5, 9))
    target[:, 0] = BOS
    whole = model(source, lengths, target)
    memory = model.encode(source, lengths)
    state = model.start(memory)
    for place in range(9):
        step = model.step(memory, state, target[:, place])
        torch.testing.assert_close(step.logits, whole[:, place])
        state = step.state


@pytest.mark.kernels
@every_decoder
@with_characters
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_one_by_one_is_batched_and_aligned(
    name: str, spelled: bool, precision: SearchPrecision
) -> None:
    model = inference_model(build(name, spelled=spelled), precision)
    rows = sentences(40, spelled=spelled)
    settings = BeamSearch(kind="beam", width=3, max_ratio=1.0, max_offset=1)
    together = search(model, rows, settings, "cpu", keep=2)
    for row, found in zip(rows, together, strict=True):
        (alone,) = search(model, [row], settings, "cpu", keep=2)
        assert [h.tokens for h in alone] == [h.tokens for h in found]
        assert [h.log_prob for h in alone] == [h.log_prob for h in found]
        wanted = num_words(row) if name in ("tagger", "crf") else 1
        for hypothesis in found:
            assert hypothesis.finished
            assert len(hypothesis.tokens) == wanted
            assert min(hypothesis.tokens) >= FIRST_LABEL


@every_decoder
def test_forced_labels_have_the_probability_of_search(name: str) -> None:
    model = build(name)
    rows = sentences(8, spelled=False)
    settings = BeamSearch(kind="beam", width=3, max_ratio=1.0, max_offset=1)
    found = [one[0] for one in search(model, rows, settings, "cpu")]
    pairs = [(row, one.tokens) for row, one in zip(rows, found, strict=True)]
    for given, one in zip(forced(model, pairs, "cpu"), found, strict=True):
        assert given == pytest.approx(one.log_prob, abs=1e-5)


def test_an_unlikely_count_of_labels_is_impossible() -> None:
    model = build("tagger")
    short, right = forced(model, [([5, 6], (4,)), ([5, 6], (4, 5))], "cpu")
    assert short == float("-inf")
    assert right > float("-inf")


def brute_force(
    scores: LabelScores, emissions_TV: Tensor, count: int
) -> dict[tuple[int, ...], float]:
    """log P of every sequence of labels, by the definition of a CRF in float64."""
    assert scores.transitions is not None
    between = scores.transitions.detach().double()
    logits_TV = emissions_TV.double()
    found = {}
    for labels in itertools.product(range(FIRST_LABEL, LABELS), repeat=count):
        chain = (BOS, *labels, EOS)
        total = sum(between[one, two] for one, two in itertools.pairwise(chain))
        found[labels] = total + sum(logits_TV[place, label] for place, label in enumerate(labels))
    normalizer = torch.stack([torch.as_tensor(one) for one in found.values()]).logsumexp(0)
    return {labels: float(total - normalizer) for labels, total in found.items()}


def test_a_crf_is_its_definition() -> None:
    torch.manual_seed(2)
    scores = LabelScores(LABELS, crf=True)
    assert scores.transitions is not None
    torch.nn.init.normal_(scores.transitions)
    emissions = torch.randn(3, 4, LABELS)
    counts = torch.tensor([4, 1, 3])
    found_BTV = scores(emissions, counts)
    for row, count in enumerate(counts.tolist()):
        for labels, wanted in brute_force(scores, emissions[row], count).items():
            chain = (BOS, *labels, EOS)
            total = 0.0
            for place, (before, label) in enumerate(itertools.pairwise(chain)):
                step_V = scores.after(found_BTV[row, place : place + 1], torch.tensor([before]))
                total += float(torch.log_softmax(step_V, -1)[0, label].detach())
            assert total == pytest.approx(wanted, abs=1e-4)


def test_the_gradient_of_a_crf_is_that_of_its_definition() -> None:
    torch.manual_seed(4)
    scores = LabelScores(LABELS, crf=True)
    assert scores.transitions is not None
    torch.nn.init.normal_(scores.transitions)
    emissions = torch.randn(1, 3, LABELS, requires_grad=True)
    labels = (5, 4, 6)
    chain = (BOS, *labels, EOS)
    found = scores(emissions, torch.tensor([3]))
    before = torch.tensor([chain[:-1]])
    log_probs = torch.log_softmax(scores.after(found, before), -1)
    loss = -sum(log_probs[0, place, label] for place, label in enumerate(labels))
    ours = torch.autograd.grad(loss, [emissions, scores.transitions])

    def whole() -> Tensor:
        assert scores.transitions is not None
        totals = []
        for one in itertools.product(range(FIRST_LABEL, LABELS), repeat=3):
            pairs = itertools.pairwise((BOS, *one, EOS))
            total = sum(scores.transitions[a, b] for a, b in pairs)
            totals.append(total + sum(emissions[0, i, label] for i, label in enumerate(one)))
        gold = sum(scores.transitions[a, b] for a, b in itertools.pairwise(chain))
        gold = gold + sum(emissions[0, i, label] for i, label in enumerate(labels))
        return torch.stack(totals).logsumexp(0) - gold

    theirs = torch.autograd.grad(whole(), [emissions, scores.transitions])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_beam_and_exhaustive_search_find_the_best_sequence_of_a_crf() -> None:
    model = build("crf", spread=0.8)
    assert model.label_scores is not None
    rows = [row for row in sentences(20, spelled=False) if len(row) <= 4]
    limits: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 1}
    wide = search(model, rows, BeamSearch(kind="beam", width=27, **limits), "cpu")
    proven = search(model, rows, ExhaustiveSearch(kind="exhaustive", **limits), "cpu")
    for row, beam, exact in zip(rows, wide, proven, strict=True):
        memory = model.encode(*padded([row]))
        # The logits without what follows: the definition adds it itself.
        assert isinstance(model.decoder, torch.nn.Module)
        emissions = model.output(model.decoder.readouts(memory))[0].detach()  # type: ignore[operator]
        wanted = brute_force(model.label_scores, emissions, len(row))
        best = max(wanted, key=lambda labels: wanted[labels])
        assert tuple(beam[0].tokens) == tuple(exact[0].tokens) == best
        assert beam[0].log_prob == pytest.approx(wanted[best], abs=1e-4)


def test_a_beam_of_one_is_greedy() -> None:
    model = build("crf")
    rows = sentences(12, spelled=False)
    limits: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 1}
    one = search(model, rows, BeamSearch(kind="beam", width=1, **limits), "cpu")
    other = search(model, rows, GreedySearch(kind="greedy", **limits), "cpu")
    assert [h[0].tokens for h in one] == [h[0].tokens for h in other]


def test_a_word_is_read_with_its_own_characters() -> None:
    model = build("tagger", spelled=True)
    target = torch.tensor([[BOS, 4, 4]])
    first = logits(model, [[4, 10, 11, 5, 12]], target)
    for changed in ([4, 10, 13, 5, 12], [4, 10, 11, 5, 14]):
        other = logits(model, [changed], target)
        assert not torch.allclose(first[0, 0, 4:], other[0, 0, 4:])
        assert not torch.allclose(first[0, 1, 4:], other[0, 1, 4:])


def test_poolings_are_their_definitions() -> None:
    for name in POOLINGS:
        model = build(name)
        memory = model.encode(*padded(sentences(4, spelled=False)))
        vectors = model.decoder.vectors(memory)[:, 0]  # type: ignore[operator]
        for row in range(4):
            inside = memory.states_BSD[row, memory.mask_BS[row]]
            match name:
                case "final":
                    wanted = torch.cat((inside[-1, :5], inside[0, 5:]))
                case "max":
                    wanted = inside.max(0).values
                case "mean":
                    wanted = inside.mean(0)
                case _:
                    pool = model.decoder.pool
                    keys = torch.tanh(pool(inside))  # type: ignore[operator]
                    weights = torch.softmax(keys @ model.decoder.pool_query, 0)  # type: ignore[operator]
                    wanted = weights @ inside
            torch.testing.assert_close(vectors[row], wanted, atol=1e-6, rtol=1e-5)

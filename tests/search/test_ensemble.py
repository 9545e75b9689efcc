"""Ensembles: what they predict by hand, what one or two equal models give, which runs may meet.

Dimension letters: N rows, V vocabulary.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s import pipeline
from s2s.errors import UsageError
from s2s.inference.load import load_ensemble
from s2s.nn.inference_model import InferenceModel, inference_model
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe.model import Encoder, GeneralAttention, LuongDecoder, Model, StackedDecoder
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.run.directory import Run
from s2s.search.ensemble import Ensemble, ensemble, mean_of_probabilities
from s2s.search.loop import search
from s2s.special import BOS, EOS, PAD
from s2s_cli.main import run as command_line
from tests.search.toys import (
    AnyScorer,
    Numbers,
    RecurrentToy,
    TiedToy,
    brute_force,
    log_probs,
    rescored,
)

VOCABULARY = 83
LIMIT: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 4}
SEARCHES: list[Search] = [
    GreedySearch(kind="greedy", **LIMIT),
    BeamSearch(kind="beam", width=5, **LIMIT),
    SampleSearch(kind="sample", samples=2, **LIMIT),
]
every_search = pytest.mark.parametrize("settings", SEARCHES, ids=lambda s: s.kind)


def network(seed: int, stacked: bool = False) -> Seq2Seq:
    """A random network, sharp enough for outputs to differ; two kinds of different widths."""
    torch.manual_seed(seed)
    decoder = (
        StackedDecoder(kind="stacked", width=23)
        if stacked
        else LuongDecoder(kind="luong", width=37)
    )
    recipe = Model(
        embeddings=13 if stacked else 29,
        encoder=Encoder(width=11 if stacked else 21),
        attention=GeneralAttention(kind="general"),
        decoder=decoder,
    )
    model = Seq2Seq(recipe, VOCABULARY, VOCABULARY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(6.0 if "embedding" in name else 2.0)
    return model


def sentences(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 14, (count,), generator=generator).tolist()
    return [torch.randint(4, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


# ------------------------------------------------------------------------------ what is predicted


@pytest.mark.parametrize("count", [2, 3, 5])
def test_predictions_are_the_mean_of_the_members_probabilities(count: int) -> None:
    members = [RecurrentToy(7, seed) for seed in range(count)]
    for prefix in [(), (4,), (5, 4, 6), (6, 6, 6, 6)]:
        found = log_probs(Ensemble(members), [4, 5, 6], prefix)
        by_hand = [log_probs(member, [4, 5, 6], prefix) for member in members]
        for token, log_prob in enumerate(found):
            if token not in (PAD, BOS):
                mean = sum(math.exp(one[token]) for one in by_hand) / count
                assert log_prob == pytest.approx(math.log(mean), abs=1e-5)


def test_extreme_logits_lose_no_probability() -> None:
    far = torch.tensor([[0.0, -1000.0, -torch.inf, -300.0]])
    near = torch.tensor([[0.0, -200.0, -torch.inf, -1000.0]])
    found = mean_of_probabilities([far, near])
    expected = torch.tensor([[0.0, -200.0, -torch.inf, -300.0]]) - math.log(2)
    expected[0, 0] = 0.0
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("vocabulary", [83, 127])
def test_a_row_is_computed_alike_wherever_it_lies(count: int, vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randn(1, vocabulary, generator=generator) * 5 for _ in range(count)]
    found_NV = mean_of_probabilities([row.repeat(60, 1) for row in rows])
    assert torch.equal(found_NV, found_NV[:1].expand_as(found_NV))


class Longer(RecurrentToy):
    """Attends to one more position."""

    def step(self, memory: Numbers, state: Numbers, tokens: torch.Tensor) -> Step[Numbers]:
        found = super().step(memory, state, tokens)
        assert found.attention is not None
        return found._replace(attention=torch.nn.functional.pad(found.attention, (0, 1)))


def test_attention_is_the_mean_where_all_attend_to_the_same_positions() -> None:
    one, other = RecurrentToy(7, 1), RecurrentToy(7, 2)
    source, lengths = torch.tensor([[4, 5, EOS], [6, EOS, PAD]]), torch.tensor([3, 2])

    def attention(scorer: AnyScorer) -> torch.Tensor | None:
        memory = scorer.encode(source, lengths)
        return scorer.step(memory, scorer.start(memory), torch.tensor([BOS, BOS])).attention

    a, b, both = attention(one), attention(other), attention(Ensemble([one, other]))
    assert a is not None and b is not None and both is not None
    assert torch.allclose(both, (a + b) / 2)
    assert attention(Ensemble([one, TiedToy(7)])) is None
    assert attention(Ensemble([one, Longer(7, 2)])) is None


# ------------------------------------------------------------------------------ what is found


@every_search
def test_an_ensemble_of_one_is_the_model(settings: Search) -> None:
    model, sources = network(5), sentences(20)
    assert ensemble([model]) is model
    assert search(ensemble([model]), sources, settings, "cpu") == search(
        model, sources, settings, "cpu"
    )


@pytest.mark.kernels
@every_search
def test_a_model_with_itself_is_the_model_to_rounding(settings: Search) -> None:
    model, sources = network(5), sentences(20)
    alone = search(model, sources, settings, "cpu")
    twice = search(Ensemble([model, model]), sources, settings, "cpu")
    for expected, found in zip(alone, twice, strict=True):
        assert [h.tokens for h in found] == [h.tokens for h in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.log_prob == pytest.approx(other.log_prob, rel=1e-5, abs=1e-5)


@pytest.mark.kernels
@every_search
def test_batched_is_one_by_one(settings: Search) -> None:
    models = [network(5), network(6, stacked=True), network(7)]
    members, sources = Ensemble([inference_model(model, "fp32") for model in models]), sentences(80)
    together = search(members, sources, settings, "cpu", want_attention=True)
    expected = [[(h.tokens, h.log_prob, h.score) for h in one] for one in together]
    for i in range(0, len(sources), 9):
        (alone,) = search(members, [sources[i]], settings, "cpu", places=[i])
        assert [(h.tokens, h.log_prob, h.score) for h in alone] == expected[i]
    assert len({h.tokens for one in together for h in one}) > 40


def test_scores_are_the_ensembles_own_and_differ_from_the_members() -> None:
    members = [network(5), network(6, stacked=True)]
    both = Ensemble(members)
    for source, (found,) in zip(
        sentences(6), search(both, sentences(6), SEARCHES[1], "cpu"), strict=True
    ):
        expected = rescored(both, source, found.tokens, found.finished)
        assert found.log_prob == pytest.approx(expected, abs=1e-4)
        assert abs(rescored(members[0], source, found.tokens, found.finished) - expected) > 1e-2


def test_exhaustive_search_finds_the_ensembles_most_probable_output() -> None:
    both = Ensemble([RecurrentToy(6, 1), RecurrentToy(6, 2, width=5)])
    limits: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 3}
    ((found,),) = search(
        both, [[4, 5]], ExhaustiveSearch(kind="exhaustive", nodes=10_000, **limits), "cpu"
    )
    settings = BeamSearch(kind="beam", length_penalty=0.0, **limits)
    best = next(other for other in brute_force(both, [4, 5], settings) if other[3])
    assert found.proven
    assert (found.tokens, found.log_prob) == (best[1], pytest.approx(best[2], abs=1e-5))


# ------------------------------------------------------------------------------ runs

RECIPE = """\
task: translation
data: {kind: generated, corpus: dates, pairs: 300, held_out: 10, filters: {max_dropped: 1.0}}
tokenizer: {kind: separate, source: {kind: character}, target: {kind: character}}
model: {embeddings: 13, encoder: {width: 11}, decoder: {kind: luong, width: 17}}
search: {kind: beam, width: 3, max_ratio: 0.5, max_offset: 9}
"""
TEXT = "1999-12-31\n\nthe first of May\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("in").write_text(TEXT)
    return tmp_path


def rows(*options: str) -> list[list[str]]:
    names = ("--input", "in", "--output", "out", "--scores", "--device", "cpu")
    assert command_line(["translate", *names, *options]) == 0
    return [row.split("\t") for row in Path("out").read_text().splitlines()]


def test_runs_are_averaged_on_the_command_line(
    random_run: Callable[..., Run], folder: Path
) -> None:
    one, two = random_run("one"), random_run("two", "seed=2", "data.filters.max_length=90")
    both = load_ensemble([one, two], device="cpu")
    assert isinstance(both.scorer, Ensemble)
    assert (both.search, both.longest) == (one.recipe.search, 90)
    found = rows("--run", "one", "--run", "two")
    outputs = both.outputs(TEXT.splitlines())
    assert [(row[2], row[-1]) for row in found] == [
        (f"{output.log_prob:.6f}", output.text) for (output,) in outputs
    ]
    assert found not in (rows("--run", "one"), rows("--run", "two"))


def test_one_run_is_that_run_and_twice_the_same_is_it_to_rounding(
    random_run: Callable[..., Run], folder: Path
) -> None:
    one = random_run("one")
    loaded, plain = load_ensemble([one], device="cpu"), pipeline.load_translator(one, device="cpu")
    assert isinstance(loaded.scorer, InferenceModel)
    assert loaded.outputs(TEXT.splitlines()) == plain.outputs(TEXT.splitlines())
    alone, twice = rows("--run", "one"), rows("--run", "one", "--run", "one")
    assert [row[4:] for row in twice] == [row[4:] for row in alone]
    for expected, found in zip(alone, twice, strict=True):
        assert float(found[2]) == pytest.approx(float(expected[2]), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("change", ["kind=word", "min_count=500"])
def test_runs_of_different_tokenizers_are_refused(
    random_run: Callable[..., Run],
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    side: str,
    change: str,
) -> None:
    random_run("one")
    random_run("two", f"tokenizer.{side}.{change}")
    capfd.readouterr()
    assert command_line(["translate", "--run", "one", "--run", "two", "--input", "in"]) == 2
    assert capfd.readouterr() == (
        "",
        f"s2s: error: runs/one and runs/two: expected one {side} tokenizer, found two that differ; "
        "the recipes of an ensemble need the same data and tokenizer, and for subwords of more "
        "than max_sentences lines the same seed\n",
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [("unigram", "data.seed=2"), ("bpe", "data.seed=2"), ("bpe", "data.pairs=100")],
)
def test_subwords_are_the_same_for_any_seed_and_differ_for_other_data(
    random_run: Callable[..., Run], folder: Path, kind: str, change: str
) -> None:
    same = (f"tokenizer={{kind: {kind}, vocabulary: 150}}",)
    one, two = random_run("one", *same), random_run("two", "seed=2", *same)
    assert isinstance(load_ensemble([one, two], device="cpu").scorer, Ensemble)
    other = random_run("other", change, *same)
    with pytest.raises(UsageError, match="runs/one and runs/other: expected one source tokenizer"):
        load_ensemble([one, two, other], device="cpu")

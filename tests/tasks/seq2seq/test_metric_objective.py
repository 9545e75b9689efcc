"""Training on a metric, from data to weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from s2s import pipeline
from s2s.data.batches import collate
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.store import Corpus
from s2s.metrics.corpus import score
from s2s.nn.batch import Batch
from s2s.nn.model import Seq2Seq
from s2s.recipe.metric_loss import MetricLoss, MinimumRisk, SelfCritical
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import BeamSearch, GreedySearch, SampleSearch
from s2s.run.directory import Run
from s2s.special import EOS
from s2s.tasks.build import build_task
from s2s.tasks.seq2seq.metric_objective import MetricObjective
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers
from s2s.training.objective import REHEARSAL
from s2s.training.state import TrainingState
from s2s.training.update import Updater
from tests.training.toys import Listener, differing, small_recipe, weights, with_train, write_task

RISK = MinimumRisk(
    kind="minimum_risk", metric="cer", candidates=SampleSearch(kind="sample", samples=3)
)
CRITICAL = SelfCritical(kind="self_critical", metric="chrf", samples=2)
OTHERS = replace(CRITICAL, baseline="samples", metric="exact")
BEAM = replace(RISK, candidates=BeamSearch(kind="beam", width=3), alpha=0.5, cross_entropy=0.1)
KINDS: dict[str, MetricLoss] = {
    "minimum risk": RISK,
    "beam": BEAM,
    "self-critical": CRITICAL,
    "other samples": OTHERS,
}


class Toy:
    """The toy task, prepared with texts, and a model of random weights."""

    def __init__(self, folder: Path) -> None:
        self.recipe = with_train(small_recipe(write_task(folder)), metric_loss=RISK)
        prepare(self.recipe, folder / "run")
        self.corpus: Corpus = open_corpus(folder / "run", "train")
        self.tokenizers: TokenizerPair = load_tokenizers(folder / "run" / "tokenizer")

    def objective(self, settings: MetricLoss) -> MetricObjective:
        recipe = with_train(self.recipe, metric_loss=settings)
        found = build_task(recipe, self.tokenizers).objective(self.corpus)
        assert isinstance(found, MetricObjective)
        return found

    def model(self) -> Seq2Seq:
        return build_task(self.recipe, self.tokenizers).initial_model(self.corpus)

    def batch(self, *pairs: int) -> Batch:
        return collate(self.corpus, torch.tensor(pairs).numpy())


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


def gradient(toy: Toy, objective: MetricObjective, *batches: Batch, update: int = 1) -> Tensor:
    """Of the batches together, without dropout."""
    model = toy.model().eval()
    loss = sum(objective.loss(model, batch, update).loss for batch in batches)
    return torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_a_pair_has_the_same_candidates_in_any_batch(toy: Toy, settings: MetricLoss) -> None:
    objective = toy.objective(settings)
    whole = gradient(toy, objective, toy.batch(0, 7, 23, 4))
    parts = gradient(toy, objective, toy.batch(23), toy.batch(4, 0), toy.batch(7))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-6)


def test_every_update_has_samples_of_its_own(toy: Toy) -> None:
    draw, model = toy.objective(RISK).draw, toy.model()
    search, batch = RISK.candidates, toy.batch(3, 5)
    first = draw(model, batch, search, 1)
    assert draw(model, batch, search, 1) == first
    assert draw(model, batch, search, 2) != first
    assert draw(model, batch, SampleSearch(kind="sample", samples=3, seed=2), 1) != first


@pytest.mark.parametrize(
    ("search", "count"),
    [
        (GreedySearch(kind="greedy"), 1),
        (BeamSearch(kind="beam", width=4), 4),
        (BeamSearch(kind="beam", width=4, groups=2), 4),
        (SampleSearch(kind="sample", samples=5, top_k=6), 5),
    ],
    ids=["greedy", "beam", "diverse beam", "sample"],
)
def test_every_search_finds_candidates(toy: Toy, search: Any, count: int) -> None:
    found = toy.objective(RISK).draw(toy.model(), toy.batch(2, 11, 5), search, 1)
    is_diverse = isinstance(search, BeamSearch) and search.groups > 1  # groups may agree
    assert all(len(one) == count or (is_diverse and 0 < len(one) < count) for one in found)
    longest = [2 * int(toy.corpus.source_lengths[pair]) + 20 for pair in (2, 11, 5)]
    for outputs, most in zip(found, longest, strict=True):
        assert all(len(output) <= most and EOS not in output[:-1] for output in outputs)


def test_rewards_are_scores_of_lines(toy: Toy) -> None:
    for name, metric, sign in (("chrf", "chrf", 1.0), ("cer", "cer", -1.0), ("bleu", "bleu", 1.0)):
        objective = toy.objective(replace(RISK, metric=name))
        texts, references = ["abc d", "ab"], [("abd d", "abc e"), ("ab",)]
        found = objective.rewards(texts, references).tolist()
        assert found[1] == (0.0 if name == "cer" else pytest.approx(1.0))
        if name != "bleu":  # of a line, BLEU has effective order
            one = score((metric,), texts[:1], [[text] for text in references[0]])
            assert found[0] == pytest.approx(sign * one.value(name) / 100)


def test_references_are_the_targets_of_all_pairs_with_the_same_source(tmp_path: Path) -> None:
    data = write_task(tmp_path / "task")
    (tmp_path / "task/train.source").write_text("ab\ncd\nab\nab\n" * 30)
    (tmp_path / "task/train.target").write_text("ba\ndc\nbA\nba\n" * 30)
    recipe = with_train(small_recipe(data), metric_loss=RISK)
    prepare(recipe, tmp_path / "run")
    corpus = open_corpus(tmp_path / "run", "train")
    pair = load_tokenizers(tmp_path / "run" / "tokenizer")
    found = MetricObjective(recipe, pair, corpus).texts
    sources, _ = corpus.texts(torch.arange(len(corpus)).numpy())
    expected = {"ab": ("ba", "bA"), "cd": ("dc",)}
    assert list(found.references) == [expected[source] for source in sources]
    assert sorted(found.references_of_sources) == sorted(expected.values())


def trained(recipe: Recipe, root: Path) -> tuple[Run, Listener]:
    listener = Listener()
    pipeline.train(recipe, runs=root, device="cpu", reporter=listener)
    return Run.open(root / "toy"), listener


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("files")
    yield write_task(folder, train=60, held_out=10)


def test_with_weight_0_it_is_cross_entropy_bit_for_bit(files: Any, tmp_path: Path) -> None:
    recipe = small_recipe(files, max_updates=6)
    plain, _ = trained(recipe, tmp_path / "plain")
    none = replace(RISK, weight=0.0, cross_entropy=1.0)
    found, listener = trained(with_train(recipe, metric_loss=none), tmp_path / "none")
    assert differing(weights(plain), weights(found)) == []
    assert listener.windows[-1][1].measures == {}
    later = replace(RISK, start=5)
    found, listener = trained(with_train(recipe, metric_loss=later), tmp_path / "later")
    assert differing(weights(plain), weights(found)) != []
    assert listener.windows[-1][1].measures["candidates"] <= 4.0


@pytest.mark.parametrize("settings", [RISK, CRITICAL], ids=["minimum risk", "self-critical"])
def test_what_is_measured_is_logged(files: Any, tmp_path: Path, settings: MetricLoss) -> None:
    recipe = small_recipe(files, max_updates=3, metric_loss=settings)
    run, listener = trained(recipe, tmp_path)
    window = listener.windows[-1][1]
    logged = [event for event in run.read_events() if event["event"] == "update"][-1]["measures"]
    assert logged == window.measures
    assert logged.keys() > {"reward", "entropy", "candidates", "length"}
    assert window.loss == f"{window.nll:.3f}  reward {window.measures['reward']:.3f}"
    assert json.loads(json.dumps(logged)) == logged


def test_the_rehearsal_counts_candidates_and_searches_nothing(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MetricObjective, "_greedy", lambda *_: pytest.fail("searched"))
    batch = toy.batch(*range(8))
    for settings, count in ((RISK, 4), (OTHERS, 2)):
        objective = toy.objective(replace(settings, start=1000))
        found = objective.loss(toy.model(), batch, REHEARSAL)
        assert found.measures is not None
        assert float(found.measures[0]) == 8
        assert float(found.measures[4]) == 8 * count
        assert objective.loss(toy.model(), batch, 1000).measures is None


def test_a_batch_in_parts_measures_the_same_pairs(toy: Toy) -> None:
    found = []
    for most in (None, 40):
        state = TrainingState(toy.model().train(), toy.recipe.train)
        update = Updater(state, toy.objective(RISK), 1, "fp32", 9, pass_tokens=most)(
            [toy.batch(*range(16))]
        )
        assert update.measures is not None
        found.append(update.measures)
    assert found[0][0] == found[1][0] == 16
    assert found[0][4] == found[1][4]  # the number of different candidates


def test_training_on_a_metric_raises_it(toy: Toy) -> None:
    """Mean rewards of samples, of the first and the last updates on the same pairs."""
    settings = replace(OTHERS, samples=8, metric="cer")
    recipe = replace(
        toy.recipe.train, optimizer=replace(toy.recipe.train.optimizer, learning_rate=0.02)
    )
    state = TrainingState(toy.model().train(), recipe)
    update = Updater(state, toy.objective(settings), 1, "fp32", 1000)
    batch, rewards = toy.batch(*range(12)), []
    for _ in range(40):
        measures = update([batch]).measures
        assert measures is not None
        rewards.append(float(measures[1] / measures[0]))
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15

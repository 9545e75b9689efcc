"""Recipes that train on a metric, and the faults of those that cannot."""

from pathlib import Path

import pytest

from s2s.errors import RecipeError
from s2s.metrics.base import Metric
from s2s.metrics.build import build
from s2s.recipe.choices import TaskName
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.recipe.metric_loss import REWARDS, WITHOUT_REWARD, MinimumRisk, SelfCritical
from s2s.recipe.metric_loss_rules import metric_loss_faults
from s2s.recipe.metrics import METRICS, VALUES
from s2s.recipe.model import HardAttention, LuongDecoder, Model, NoAttention
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import BeamSearch
from s2s.recipe.train import Train

BASE = """task: {task}
data: {{kind: generated, corpus: dates}}
train:
  {train}
  metric_loss: {{{loss}}}
"""

RISK = "kind: minimum_risk, metric: bleu"
CRITICAL = "kind: self_critical, metric: cider"


def faults(loss: str, train: str = "epochs: 2", task: str = "translation") -> str:
    Path("recipe.yaml").write_text(BASE.format(task=task, train=train, loss=loss))
    with pytest.raises(RecipeError) as caught:
        load_recipe()
    return str(caught.value)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("loss", "kind"), [(RISK, MinimumRisk), (CRITICAL, SelfCritical)])
def test_a_recipe_says_kind_and_metric_alone(loss: str, kind: type) -> None:
    Path("recipe.yaml").write_text(BASE.format(task="translation", train="epochs: 2", loss=loss))
    recipe = load_recipe()
    assert isinstance(recipe.train.metric_loss, kind)
    Path("whole.yaml").write_text(dump_recipe(recipe))
    assert load_recipe("whole.yaml").train == recipe.train


@pytest.mark.parametrize(
    ("loss", "train", "expected"),
    [
        ("kind: minimum_risk, metric: perplexity", "epochs: 2", "only a model has one"),
        ("kind: minimum_risk, metric: copied", "epochs: 2", "only a run knows its training data"),
        ("kind: self_critical, metric: distinct1", "epochs: 2", "has no references"),
        ("kind: self_critical, metric: accuracy", "epochs: 2", "'accuracy' compares labels"),
        (
            f"{RISK}, reference: false, candidates: {{kind: beam, width: 1}}",
            "epochs: 2",
            "expected 2 or more, as one has no probability to lose, found 1",
        ),
        (
            f"{RISK}, reference: false, candidates: {{kind: sample, samples: 9, temperature: 0.0}}",
            "epochs: 2",
            "expected 2 or more, as one has no probability to lose, found 1",
        ),
        (f"{CRITICAL}, baseline: samples", "epochs: 2", "samples: expected 2 or more"),
        (f"{RISK}, weight: 0.0", "epochs: 2", "weight and cross_entropy are both 0"),
        (
            f"{RISK}, candidates: {{kind: beam, max_offset: 50}}",
            "epochs: 2",
            "train.metric_loss.candidates.max_offset has no effect: search.max_offset limits",
        ),
        (
            f"{RISK}, candidates: {{kind: beam, shortlist: 50}}",
            "epochs: 2",
            "train.metric_loss.candidates.shortlist has no effect",
        ),
        (RISK, "r_drop: 1.0", "train.r_drop adds to cross-entropy, whose weight is 0"),
        (RISK, "coverage_loss: 1.0", "train.coverage_loss adds to cross-entropy"),
        (
            RISK,
            "distill: {teacher: a, level: word}",
            "train.distill.level 'word' adds to cross-entropy, whose weight is 0",
        ),
        (
            f"{RISK}, start: 90",
            "max_updates: 90",
            "train.metric_loss.start: expected less than train.max_updates (90), found 90",
        ),
    ],
)
def test_faults_name_the_key(loss: str, train: str, expected: str) -> None:
    found = faults(loss, train)
    assert expected in found
    assert "metric_loss" in found
    assert found.startswith("recipe.yaml:")


def test_a_coverage_penalty_needs_attention() -> None:
    candidates = BeamSearch(kind="beam", coverage_penalty=0.1)
    train = Train(
        metric_loss=MinimumRisk(kind="minimum_risk", metric="bleu", candidates=candidates)
    )
    model = Model(attention=NoAttention(kind="none"), decoder=LuongDecoder(kind="luong"))
    assert list(metric_loss_faults("translation", Model(), train)) == []
    (fault,) = metric_loss_faults("translation", model, train)
    assert fault == "train.metric_loss.candidates.coverage_penalty needs a model with attention"


def test_hard_attention_has_no_loss_of_whole_outputs() -> None:
    train = Train(metric_loss=SelfCritical(kind="self_critical", metric="cider"))
    decoder = LuongDecoder(kind="luong", input_feeding=False)
    model = Model(attention=HardAttention(kind="hard"), decoder=decoder)
    (fault,) = metric_loss_faults("translation", model, train)
    assert fault.startswith("train.metric_loss is not for model.attention 'hard'")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("lm", "train.metric_loss compares outputs with references, and task 'lm' has none"),
        ("classify", "train.metric_loss is of texts, and task 'classify' predicts labels"),
        ("tag", "train.metric_loss is of texts, and task 'tag' predicts labels"),
    ],
)
def test_other_tasks_have_no_outputs_to_reward(task: TaskName, expected: str) -> None:
    train = Train(metric_loss=SelfCritical(kind="self_critical", metric="cider"))
    assert list(metric_loss_faults(task, Model(), train)) == [expected]


def test_exhaustive_search_is_no_source_of_candidates() -> None:
    found = faults(f"{RISK}, candidates: {{kind: exhaustive}}")
    assert "train.metric_loss.candidates" in found
    assert "exhaustive" in found


def test_every_metric_of_texts_is_a_reward_or_says_why_not() -> None:
    """And each of them has values of single lines, in the place that the table says."""
    for name, entry in METRICS.items():
        if entry.builder is None:
            continue
        is_reward = all(value in REWARDS for value in VALUES[name])
        assert is_reward != (name in WITHOUT_REWARD)
        if not is_reward or name == "meteor":  # which needs WordNet or a package's data
            continue
        metric: Metric = build(name, Scoring())
        values = metric.measure([["a b c d", "x"]], [("a b c d",), ("y z",)]).line_values()
        assert values is not None
        assert values.shape == (2, len(VALUES[name]))
        for value in VALUES[name]:
            reward = REWARDS[value]
            right, wrong = reward.sign * values[:, reward.column]
            assert right > wrong

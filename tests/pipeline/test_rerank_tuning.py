"""`s2s tune-rerank`, and the search that uses what it finds."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2s import pipeline
from s2s.errors import RunError
from s2s.inference.load import load_ensemble, load_translator
from s2s.inference.pair_scores import score_lines
from s2s.metrics.corpus import Request
from s2s.recipe.load import load_recipe
from s2s.recipe.search import RerankSearch
from s2s.recipe.search_overrides import override
from s2s.run.directory import Run
from s2s.run.rerank_weights import NAME, read_rerank_weights

RECIPE = """\
task: translation
name: {name}
data:
  kind: files
  train: {{source: train.{source}, target: train.{target}}}
  validation: {{source: validation.{source}, target: validation.{target}}}
  filters: {{max_dropped: 1.0}}
tokenizer: {{kind: separate, source: {{kind: character}}, target: {{kind: character}}}}
model: {{embeddings: 13, encoder: {{width: 11}}, decoder: {{kind: luong, width: 17}}}}
train: {{max_updates: 60, batch_tokens: 300, precision: fp32, best: loss,
  optimizer: {{learning_rate: 1e-2}}}}
search: {{kind: beam, width: 3, max_ratio: 1.0, max_offset: 4}}
"""
LM = """\
task: lm
name: lm
data: {kind: files, train: {target: train.b}}
tokenizer: {kind: character}
model: {embeddings: 13, decoder: {kind: plain, width: 17, layers: 1}}
train: {max_updates: 20, batch_tokens: 300, optimizer: {learning_rate: 1e-2}, precision: fp32}
"""
SEARCH = RerankSearch(kind="rerank", candidates=4, max_ratio=1.0, max_offset=4)

pytestmark = pytest.mark.usefixtures("one_thread")

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Runs `there`, `back` and `lm`: letters, and capitals in the other order."""
    made = tmp_path_factory.mktemp("rerank")
    draw = random.Random(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        for split, count in (("train", 200), ("validation", 24)):
            lines = ["".join(draw.choices("abcde", k=draw.randint(2, 6))) for _ in range(count)]
            Path(f"{split}.a").write_text("".join(f"{line}\n" for line in lines))
            Path(f"{split}.b").write_text("".join(f"{line[::-1].upper()}\n" for line in lines))
        Path("lm.yaml").write_text(LM)
        for name, source, target in (("there", "a", "b"), ("back", "b", "a")):
            text = RECIPE.format(name=name, source=source, target=target)
            Path(f"{name}.yaml").write_text(text)
        for name in ("there", "back", "lm"):
            pipeline.train(load_recipe(Path(f"{name}.yaml")), device="cpu")
    return made


@pytest.fixture
def runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    (folder / "runs/there" / NAME).unlink(missing_ok=True)
    return folder / "runs"


def tune(call: Call, *options: str) -> tuple[int, str, str]:
    given = ("tune-rerank", "there", "--candidates", "4", "--metric", "chrf", "--device", "cpu")
    found: tuple[int, str, str] = call(*given, *options)
    return found


def test_the_tuned_weights_give_the_validation_score_that_was_reported(
    runs: Path, call: Call
) -> None:
    status, out, err = tune(call, "--reverse", "back", "--lm", "lm", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert list(found["weights"]) == ["log_prob", "length", "reverse", "lm"]
    assert found["after"] >= found["before"]
    run = Run.open(runs / "there")
    request = Request(metrics=("chrf",), scoring=run.recipe.scoring)
    for value, search in (
        ("after", SEARCH),
        ("before", override(run.recipe.search, {"kind": "beam", "width": 4})),
    ):
        scores = pipeline.evaluate(
            run=run, split="validation", search=search, device="cpu", request=request
        ).scores
        assert scores.value("chrf") == pytest.approx(found[value])


def test_listed_scores_are_the_weighted_features(runs: Path, call: Call) -> None:
    assert tune(call, "--reverse", "back", "--lm", "lm")[0] == 0
    run = Run.open(runs / "there")
    weights = read_rerank_weights(run).weights
    translator = load_ensemble([run], search=SEARCH, device="cpu")
    back, lm = (load_translator(Run.open(runs / name), device="cpu") for name in ("back", "lm"))
    lines = ["abcd", "", "ee", "dcbae"]
    listed = translator.outputs(lines, 0, 4)
    for line, outputs in zip(lines, listed, strict=True):
        if not line:
            assert [one.text for one in outputs] == [""]
            continue
        features = np.array(
            [
                [one.log_prob for one in outputs],
                [one.length for one in outputs],
                [score_lines(back, [(o.text, line)], ("", 0))[0].log_prob for o in outputs],
                [score_lines(lm, [("", o.text)], ("", 0))[0].log_prob for o in outputs],
            ]
        )
        expected = np.array([weights[name] for name in weights]) @ features
        np.testing.assert_allclose([one.score for one in outputs], expected, atol=1e-4)
        assert [one.score for one in outputs] == sorted((o.score for o in outputs), reverse=True)
    assert [translator.outputs([line], n, 4) for n, line in enumerate(lines)] == [
        [one] for one in listed
    ]


def test_without_other_runs_only_length_is_weighed(runs: Path, call: Call) -> None:
    status, out, err = tune(call)
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["log_prob", "length", "chrf"]
    assert err.splitlines()[-1].endswith("written; --search rerank --candidates 4 uses it")
    Path("in").write_text("abc\n\n")
    status, out, err = call("translate", "there", "--input", "in", "--search", "rerank")
    assert (status, out.count("\n")) == (0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--reverse", "there"), "expected a run that translates from target to source"),
        (("--reverse", "lm"), "--reverse: "),
        (("--lm", "back"), "expected a run of task 'lm', found one of task 'translation'"),
        (("--metric", "nonsense"), "--metric: expected one of"),
        (("--metric", "accuracy"), "--metric: expected one of"),
        (("--reverse", "nowhere"), "--reverse: "),
    ],
)
def test_what_does_not_suit_is_one_line(
    runs: Path, call: Call, options: tuple[str, ...], message: str
) -> None:
    status, out, err = tune(call, *options)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not (runs / "there" / NAME).exists()


def test_a_run_without_weights_or_with_damaged_ones_is_one_line(runs: Path, call: Call) -> None:
    Path("in").write_text("abc\n")
    given = ("translate", "there", "--input", "in", "--search", "rerank")
    status, _, err = call(*given)
    assert (status, err.count("\n")) == (2, 1)
    assert "no weights to rerank by (rerank.json); 's2s tune-rerank" in err
    (runs / "there" / NAME).write_text("{}")
    status, _, err = call(*given)
    assert (status, err.count("\n")) != (0, 0)
    assert "not weights of s2s, or damaged" in err


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {}},
        {"weights": []},
        {"weights": {"log_prob": True}},
        {"weights": {"log_prob": 1e308, "length": 1e308}},
        {"weights": {"log_prob": 1.0, "lm": 1.0}},
        {"reverse": "../back"},
    ],
)
def test_weights_that_cannot_rank_are_damaged(runs: Path, change: dict[str, Any]) -> None:
    run = Run.open(runs / "there")
    sound = {"weights": {"log_prob": 1.0}, "reverse": None, "lm": None, "candidates": 2}
    sound |= {"checkpoint": "1", "metric": "chrf", "lines": 1, "before": 0.0, "after": 0.0}
    (run.folder / NAME).write_text(json.dumps({"format": 1, **sound}))
    read_rerank_weights(run)
    (run.folder / NAME).write_text(json.dumps({"format": 1, **sound, **change}))
    with pytest.raises(RunError, match=r"rerank\.json: not weights of s2s, or damaged"):
        read_rerank_weights(run)


@pytest.fixture
def copied(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runs, which a test may change."""
    shutil.copytree(runs.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy" / "runs"


def test_a_run_of_another_task_in_the_place_of_a_tuned_one_is_refused(
    copied: Path, call: Call
) -> None:
    assert tune(call, "--lm", "lm")[0] == 0
    shutil.rmtree(copied / "lm")
    shutil.copytree(copied / "back", copied / "lm")
    Path("in").write_text("abc\n")
    status, out, err = call("translate", "there", "--input", "in", "--search", "rerank")
    assert (status, out) == (1, "")
    assert "expected a run of task 'lm' at" in err and "found one of task 'translation'" in err


def test_candidates_are_tuned_as_reranking_finds_them(copied: Path, call: Call) -> None:
    """A recipe's own beam may have groups or penalties, which search `rerank` does not have."""
    recipe = copied / "there" / "recipe.yaml"
    own = "search: {kind: beam, width: 2, groups: 2, coverage_penalty: 5.0"
    changed = re.sub(r"(?ms)^search:.*?(?=^\S|\Z)", own + "}\n", recipe.read_text())
    plain = tune(call)[1]
    recipe.write_text(changed)
    assert tune(call, "--candidates", "3")[0] == 0
    assert tune(call)[1] == plain

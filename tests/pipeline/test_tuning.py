"""`s2s tune-search`: the table is what `s2s bleu` would print, the winner is in the recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2s import pipeline
from s2s.pipeline import tuning
from s2s.pipeline.tuning import Grid
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch, SampleSearch
from s2s.run.directory import Run

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 300, held_out: 12, filters: {max_dropped: 1.0}}
tokenizer: {kind: character}
model: {embeddings: 13, encoder: {width: 11}, decoder: {kind: luong, width: 17}}
train:
  max_updates: 100
  epochs: 10
  batch_tokens: 300
  precision: fp32
  optimizer: {learning_rate: 1e-2}
search: {kind: greedy, max_ratio: 0.5, max_offset: 9, no_repeat_ngram: 3}
"""


pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_table_is_what_each_search_scores_and_the_winner_is_used(
    run: Run, call: Callable[..., Any]
) -> None:
    (run.data_folder / "test.arrow").unlink()  # it must not be touched
    options = ("--beams", "4,1", "--length-penalties", "1.5,0,0.5", "--metric", "chrf")
    status, out, err = call("tune-search", "toy", *options, "--device", "cpu")
    assert status == 0, err
    heading, *rows = out.splitlines()
    assert heading.split() == ["beam", "length", "penalty", "chrf"]
    assert [row.split()[:2] for row in rows] == [
        ["1", "any"],
        ["4", "0"],
        ["4", "0.5"],
        ["4", "1.5"],
    ]
    values = []
    for row in rows:
        width, penalty, value, *_ = row.split()
        settings = BeamSearch(
            kind="beam",
            width=int(width),
            length_penalty=0.0 if penalty == "any" else float(penalty),
            max_ratio=0.5,
            max_offset=9,
            no_repeat_ngram=3,
        )
        found = pipeline.evaluate(run=run, split="validation", search=settings, device="cpu")
        assert f"{found.scores.value('chrf'):.2f}" == value
        values.append((found.scores.value("chrf"), settings))
    assert len({value for value, _ in values}) > 1, "nothing to choose between"
    best = max(values, key=lambda pair: pair[0])
    assert [row.endswith("*") for row in rows] == [one is best for one in values]
    assert run.recipe.search == best[1]
    assert err.splitlines()[-1].startswith("s2s: runs/toy/recipe.yaml: search is now {kind: beam,")
    Path("in").write_text("en: May 3, 1999\n")
    by_recipe = call("translate", "--run", "toy", "--input", "in", "--scores")[1]
    width, penalty = str(best[1].width), str(best[1].length_penalty)
    assert by_recipe == call(
        "translate", "--run", "toy", "--input", "in", "--scores", "--beam", width,
        "--length-penalty", penalty,
    )[1]  # fmt: skip


def test_training_resumes_after_tuning(run: Run, call: Callable[..., Any]) -> None:
    short = ("--beams", "2", "--length-penalties", "0.5")
    assert call("tune-search", "toy", *short)[0] == 0
    assert run.recipe.search == BeamSearch(
        kind="beam", width=2, length_penalty=0.5, max_ratio=0.5, max_offset=9, no_repeat_ngram=3
    )
    kept = load_recipe(run.recipe_path)
    run.check_same(kept)
    assert run.recipe == kept
    assert call("tune-search", "toy", *short)[2].endswith(
        "runs/toy/recipe.yaml: its search is the best already\n"
    )
    status, _, err = call("train", "recipe.yaml", "--device", "cpu")
    assert (status, err.count("training ended")) == (0, 1)
    assert run.recipe.search.kind == "greedy", "the user's own recipe file has the last word"


def test_an_error_rate_chooses_the_lowest(run: Run, call: Callable[..., Any]) -> None:
    options = ("--beams", "1,6", "--length-penalties", "0,0.5,3", "--metric", "cer")
    assert call("tune-search", "toy", *options)[0] == 0
    *_, event = run.read_events()
    rates = [row["cer"] for row in event["searches"]]
    assert len(set(rates)) > 1
    winner = event["searches"][rates.index(min(rates))]
    search = run.recipe.search
    assert isinstance(search, BeamSearch)
    assert (search.width, search.length_penalty) == (winner["width"], winner["length_penalty"])


def test_where_the_metric_is_flat_another_decides(run: Run, call: Callable[..., Any]) -> None:
    options = ("--beams", "1,6", "--length-penalties", "0,0.5,3")
    status, out, err = call("tune-search", "toy", *options, "--metric", "exact")
    assert status == 0 and out.splitlines()[0].split()[-1] == "chrf"
    assert "exact is the same for every search, though outputs differ: chrf decides" in err
    *_, event = run.read_events()
    values = [row["chrf"] for row in event["searches"]]
    assert event["metric"] == "chrf" and len(set(values)) > 1
    winner = event["searches"][values.index(max(values))]
    search = run.recipe.search
    assert isinstance(search, BeamSearch)
    assert (search.width, search.length_penalty) == (winner["width"], winner["length_penalty"])
    chosen = run.recipe.search
    assert call("tune-search", "toy", *options, "--metric", "chrf")[0] == 0
    assert run.recipe.search == chosen


def test_where_no_metric_tells_outputs_apart_the_search_stays(
    run: Run, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ("--beams", "2", "--length-penalties", "0.5")
    assert call("tune-search", "toy", *short)[0] == 0
    before = run.recipe.search
    monkeypatch.setattr(tuning, "OTHERS", ())
    options = ("--beams", "1,6", "--length-penalties", "0,0.5,3", "--metric", "exact")
    status, _, err = call("tune-search", "toy", *options)
    assert status == 0 and "exact is the same for every search" in err
    assert "no other metric differs either" in err
    assert run.recipe.search == before


def test_among_equal_outputs_the_cheapest_search_wins(run: Run, call: Callable[..., Any]) -> None:
    options = ("--beams", "1", "--length-penalties", "1,0.5", "--metric", "exact")
    status, _, err = call("tune-search", "toy", *options)
    assert status == 0 and "is the same" not in err
    search = run.recipe.search
    assert isinstance(search, BeamSearch)
    assert (search.width, search.length_penalty) == (1, 0.5)


def test_a_grid_is_every_width_with_every_penalty() -> None:
    sample = SampleSearch(kind="sample", max_offset=7, temperature=0.5)
    found = Grid(widths=(3, 1, 3), penalties=(1.0, 0.5)).searches(sample)
    assert [(s.width, s.length_penalty, s.max_offset) for s in found] == [
        (1, 0.5, 7),
        (3, 0.5, 7),
        (3, 1.0, 7),
    ]
    # Ranked by attention besides, each is searched for by itself.
    coverage = BeamSearch(kind="beam", coverage_penalty=0.2)
    assert all(one.coverage_penalty == 0.2 for one in Grid().searches(coverage))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beams", "0"], "--beam: expected at least 1, found 0"),
        (["--beams", "1,b"], "--beams: expected whole numbers separated by commas, found 1,b"),
        (["--length-penalties", "-1"], "--length-penalty: expected at least 0, found -1.0"),
        (["--length-penalties", "nan"], "--length-penalties: expected numbers separated by commas"),
        (["--length-penalties", ""], "--length-penalties: expected numbers separated by commas"),
        (["--metric", "bleurt"], "--metric: expected one of bleu, bleu1, "),
        (["--metric", "perplexity"], "--metric: expected one of bleu, bleu1, "),
        (["--metric", "accuracy"], "--metric: expected one of bleu, bleu1, "),
        (["--checkpoint", "average"], "no checkpoint average; there: "),
    ],
)
def test_what_cannot_be_tried_is_one_line(
    run: Run, call: Callable[..., Any], options: list[str], message: str
) -> None:
    before = run.recipe_path.read_bytes()
    status, out, err = call("tune-search", "toy", *options)
    assert status in (1, 2) and out == ""
    (line,) = err.splitlines()
    assert line.startswith("s2s: error: ") and message in line
    assert run.recipe_path.read_bytes() == before


def test_test_data_take_no_place_of_validation(run: Run, call: Callable[..., Any]) -> None:
    (run.data_folder / "validation.arrow").unlink()
    status, out, err = call("tune-search", "toy")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "has no validation split, or data/ was deleted; a search is not tuned on test" in err


def test_a_run_that_cannot_be_written_to_is_tuned(run: Run, call: Callable[..., Any]) -> None:
    """A folder in place of the lock refuses root too."""
    options = ("--beams", "1,3", "--length-penalties", "1", "--device", "cpu")
    before = run.recipe_path.read_bytes()
    expected = call("tune-search", "toy", *options)[1]
    run.recipe_path.write_bytes(before)
    (run.folder / ".lock").unlink()
    (run.folder / ".lock").mkdir()
    events = len(list(run.read_events()))
    status, out, err = call("tune-search", "toy", *options)
    assert (status, out) == (0, expected), err
    assert "s2s: warning: the best search is not written into the run's recipe: runs/toy: " in err
    assert run.recipe_path.read_bytes() == before
    assert len(list(run.read_events())) == events

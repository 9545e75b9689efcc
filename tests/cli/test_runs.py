"""`s2s runs` and `s2s report` as a user calls them."""

import json
from pathlib import Path

import pytest

from s2s.run.directory import Run
from tests.commands import Call, call, write_example

__all__ = ["call"]

QUICK = ("--set", "train.epochs=1")


@pytest.fixture(scope="module")
def trained_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trained runs and one that is prepared."""
    from s2s import pipeline
    from s2s.recipe.load import load_recipe
    from tests.training.toys import Listener

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_example()
        for name, epochs in (("short", 1), ("long", 2)):
            recipe = load_recipe(overrides=[f"name={name}", f"train.epochs={epochs}"])
            pipeline.train(recipe, device="cpu", reporter=Listener())
        pipeline.prepare(load_recipe(overrides=["name=ready"]))
    return folder


@pytest.fixture
def here(trained_example: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained_example)
    return trained_example


def test_the_list(here: Path, call: Call) -> None:
    head, *lines = call.output("runs").decode().splitlines()
    assert head.split() == [
        "run",
        "task",
        "best",
        "validation",
        "minutes",
        "parameters",
        "MB",
        "when",
        "state",
    ]
    rows = {line.split()[0]: line for line in lines}
    assert rows.keys() == {"short", "long", "ready"}
    assert rows["ready"].endswith("prepared")
    score = abs(Run(Path("runs/long")).checkpoints().best_score or 0)
    assert f"bleu {score:.2f}" in rows["long"]
    assert rows["long"].endswith("finished: all epochs are done")
    assert len({line.index("translation") for line in lines}) == 1


def test_the_list_in_json(here: Path, call: Call) -> None:
    found = {run["name"]: run for run in json.loads(call.output("runs", "--json"))}
    log = list(Run(Path("runs/short")).read_events())
    assert found["short"]["parameters"] == log[0]["parameters"]
    assert found["short"]["seconds"] == log[-1]["seconds"]
    assert found["short"]["updates"] == log[-1]["update"]
    assert found["ready"]["state"] == "prepared"
    assert found["ready"]["score"] is None


def test_a_damaged_run_is_a_line(here: Path, call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad\x1b[31m" / "data").mkdir(parents=True)
    (tmp_path / "bad\x1b[31m" / "recipe.yaml").write_bytes(b"\xff")
    _, line = call.output("runs", "--runs", str(tmp_path)).decode().splitlines()
    assert "damaged: " in line and "\x1b" not in line
    (one,) = json.loads(call.output("runs", "--runs", str(tmp_path), "--json"))
    assert one["state"] == "damaged"


def test_no_runs(call: Call, tmp_path: Path) -> None:
    status, out, err = call("runs", "--runs", str(tmp_path))
    assert (status, out) == (0, b"")
    assert err == f"s2s: {tmp_path}: no run here yet; s2s train makes one\n"
    assert call.output("runs", "--runs", str(tmp_path), "--json") == b"[]\n"
    status, fault = call.fault("runs", "--runs", "nowhere")
    assert (status, fault) == (
        2,
        "nowhere: no such folder; 's2s train' makes runs, --runs names another folder",
    )


def test_two_runs_side_by_side(here: Path, call: Call) -> None:
    call.output("bleu", "--run", "short", "--search", "greedy")
    call.output("bleu", "--run", "long", "--search", "greedy")
    lines = call.output("runs", "short", "long").decode().splitlines()
    assert lines[:3] == [
        "recipes of short -> long: 1 difference",
        "  train.epochs: 1 -> 2",
        "",
    ]
    found = json.loads(call.output("runs", "short", "long", "--json"))
    scores = {(one["of"], one["name"]): one for one in found["scores"]}
    one, other = scores["test, greedy", "bleu"]["values"]
    (row,) = (line for line in lines if line.startswith("test, greedy") and " bleu " in line)
    assert row.split()[-3:] == [f"{one:.2f}", f"{other:.2f}", f"{other - one:+.2f}"]
    best = [Run(Path("runs") / name).checkpoints().best_score for name in ("short", "long")]
    assert scores["validation, in training", "bleu"]["values"] == best


def test_scores_that_may_not_be_compared(here: Path, call: Call) -> None:
    call.output("bleu", "--run", "short", "--beam", "2", "--lowercase")
    call.output("bleu", "--run", "long", "--beam", "2")
    text = call.output("runs", "short", "long").decode()
    (row,) = (
        line for line in text.splitlines() if line.startswith("test, beam2") and " bleu " in line
    )
    assert row.endswith("(*)")
    assert "(*) not comparable: other texts, another metric or, for a loss, tokens" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["short"], "runs: expected two runs to compare, found 1; s2s report describes one"),
        (["a", "b", "c"], "runs: expected two runs to compare, found 3"),
    ],
)
def test_two_runs_or_none(here: Path, call: Call, arguments: list[str], message: str) -> None:
    assert call.fault("runs", *arguments) == (2, message)


def test_a_name_that_is_not_there(here: Path, call: Call) -> None:
    status, fault = call.fault("runs", "short", "lomg")
    assert status == 2
    assert "did you mean 'long'?" in fault


def test_a_report(here: Path, call: Call) -> None:
    status, out, err = call("report", "short")
    assert (status, out) == (0, b"")
    (line,) = err.splitlines()[-1:]
    assert line.startswith("s2s: short.html written, 0.")
    page = Path("short.html").read_bytes()
    assert page.startswith(b"<!DOCTYPE html>") and page.endswith(b"</html>")


def test_a_report_replaces_a_file_or_goes_to_stdout(here: Path, call: Call, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("before")
    call.output("report", "long", "-o", str(target), "--samples", "2")
    out = call.output("report", "long", "-o", "-", "--samples", "2")
    assert out.count(b"<article") == 6
    assert abs(len(out) - target.stat().st_size) < 50  # the time, the size of the run
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_faults_of_a_report(here: Path, call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "page.html"
    status, fault = call.fault("report", "long", "-o", str(place), "--limit", "0")
    assert status == 2 and fault.startswith(f"{place}: cannot write it: ")
    status, fault = call.fault("report", "long", "-o", str(tmp_path), "--limit", "0")
    assert status == 2 and fault.startswith(f"{tmp_path}: cannot write it: ")
    status, fault = call.fault("report", "long", "--checkpoint", "77")
    assert status == 1 and "no checkpoint 77; there: " in fault


def test_a_report_of_a_run_that_is_only_prepared(here: Path, call: Call) -> None:
    out = call.output("report", "ready", "-o", "-")
    assert b"No checkpoint yet" in out


def test_scores_of_other_texts_and_losses_of_other_tokens(here: Path, call: Call) -> None:
    """The log has equal signatures, but the recipes say that the numbers mean something else."""
    text = Path("runs/long/recipe.yaml").read_text()
    for name, old, new, comparable in (
        ("tokens", "min_count: 1\n", "min_count: 2\n", {"bleu": True, "loss": False}),
        ("texts", "source: test.x", "source: other.x", {"bleu": False, "loss": False}),
        ("train", "source: train.x", "source: other.x", {"bleu": True, "loss": True}),
    ):
        assert old in text
        folder = Path("runs") / name
        folder.mkdir()
        (folder / "recipe.yaml").write_text(text.replace(old, new, 1))
        (folder / "metrics.jsonl").write_bytes(Path("runs/long/metrics.jsonl").read_bytes())
        found = json.loads(call.output("runs", "long", name, "--json"))
        of_validation = {
            one["name"]: one["is_comparable"]
            for one in found["scores"]
            if one["of"] == "validation, in training"
        }
        assert {key: of_validation[key] for key in comparable} == comparable

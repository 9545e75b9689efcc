"""`--json`: one document on stdout, and the figures of the text."""

import json
from pathlib import Path
from typing import Any

import pytest

from s2s.run.directory import Run
from tests.cli.test_commands import example, folder
from tests.commands import Call, call

__all__ = ["call", "example", "folder"]

pytestmark = pytest.mark.usefixtures("one_thread")


def document(call: Call, *arguments: str) -> dict[str, Any]:
    """The document, which is all that is on stdout."""
    out = call.output(*arguments, "--json").decode()
    assert out.endswith("}\n") and out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


def test_prep(folder: Path, call: Call) -> None:
    found = document(call, "prep")
    report = json.loads((folder / "runs/spell/data/report.json").read_text())
    assert {name: found[name] for name in report} == report
    assert (found["run"], found["redone"]) == ("runs/spell", [])
    assert set(found["splits"]) == {"train", "validation", "test"}
    assert call("prep", "--json", "-q")[2] == ""
    assert call("prep")[1] == b""


def test_average(folder: Path, call: Call) -> None:
    names = ("--set", "name=kept", "--set", "train.keep=3")
    assert call("train", *names)[0] == 0
    run = Run.open(Path("runs/kept"))
    found = document(call, "average", "kept")
    steps = run.checkpoint_steps()
    assert [member["update"] for member in found["members"]] == steps and len(steps) > 1
    *_, event = (one for one in run.read_events() if one["event"] == "average")
    assert found["validation"] == {"nll": event["nll"], "scores": event["scores"]}
    assert (found["name"], found["run"]) == ("average", "runs/kept")
    logged = {e["update"]: e for e in run.read_events() if e["event"] == "validation"}
    for member in (*found["members"], found["best_single"]):
        scores = {name: one["value"] for name, one in logged[member["update"]]["scores"].items()}
        assert member["validation"]["scores"] == scores
    text = call.output("average", "kept").decode()
    assert f"validation loss {found['validation']['nll']:.3f}" in text.splitlines()[-1]


def test_tune_search(folder: Path, call: Call) -> None:
    grid = ("--beams", "1,3", "--length-penalties", "0,1", "--metric", "chrf")
    found = document(call, "tune-search", *grid)
    *_, event = (e for e in Run.open(Path("runs/spell")).read_events() if e["event"] == "tuning")
    assert [one["value"] for one in found["searches"]] == [s["chrf"] for s in event["searches"]]
    assert [(one["width"], one["length_penalty"]) for one in found["searches"]] == [
        (1, None),
        (3, 0.0),
        (3, 1.0),
    ]
    best = max(found["searches"], key=lambda one: one["value"])
    assert {name: best[name] for name in ("width", "length_penalty")} == found["best"]
    assert (found["metric"], found["run"]) == ("chrf", "runs/spell")

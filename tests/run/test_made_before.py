"""Runs and recipes of an earlier version: they load, translate to the same bytes and resume.

`made_before/` was written by version 0.1.0 before source features and image features had keys of
their own: two recipes, their data, the runs trained with them, and for each run an input with the
output, its candidates and its scores in fp32 on a CPU.
"""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s2s.recipe import renamed
from s2s_cli.main import run as command_line

MADE_BEFORE = Path(__file__).parent / "made_before"
WRITTEN = 1_700_000_000
"""Time of modification of the data files, which fingerprints contain."""

OLD_KEYS = {
    "translation": [
        "data.columns.features -> data.columns.source_features",
        "tokenizer.features -> tokenizer.source_features",
    ],
    "captioning": [
        "data.features -> data.image_features",
        "model.features -> model.image_features",
    ],
}
"""The old keys of each recipe that choose something."""

Call = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture(autouse=True)
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the folder, in a process that has reported no old key."""
    folder = tmp_path / "made_before"
    shutil.copytree(MADE_BEFORE, folder)
    for path in (folder / "data").iterdir():
        os.utime(path, (WRITTEN, WRITTEN))
    monkeypatch.chdir(folder)
    renamed.report_once.cache_clear()


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    def called(*arguments: str, stdin: bytes = b"") -> tuple[int, str, list[str]]:
        """Exit status, stdout, lines of stderr."""
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        status = command_line(list(arguments))
        out, err = capfd.readouterr()
        return status, out, err.splitlines()

    return called


def renamings(err: list[str], place: str) -> list[str]:
    """The old keys that were reported for a file, without the numbers of their lines."""
    own = [line for line in err if line.startswith(f"s2s: {place}:") and " -> " in line]
    return [line.split(": ", 2)[2].removesuffix("; the old key is still read") for line in own]


@pytest.mark.parametrize("name", OLD_KEYS)
def test_an_old_recipe_is_accepted_with_a_line_for_each_old_key(name: str, call: Call) -> None:
    status, out, err = call("check", f"{name}.yaml")
    assert (status, out.split(" (")[0]) == (0, f"{name}.yaml: ok")
    assert renamings(err, f"{name}.yaml") == OLD_KEYS[name]
    assert len(err) == len(OLD_KEYS[name])


@pytest.mark.parametrize("name", OLD_KEYS)
def test_an_old_run_translates_to_the_same_bytes(name: str, call: Call) -> None:
    options = ("--run", f"made/{name}", "--device", "cpu")
    lines = Path(f"{name}.in").read_bytes()
    status, out, err = call("translate", *options, stdin=lines)
    assert (status, out.encode()) == (0, Path(f"{name}.out").read_bytes())
    assert renamings(err, f"made/{name}/recipe.yaml") == OLD_KEYS[name]
    listing = ("--nbest", "2") if name == "translation" else ("--scores",)
    out = call("translate", *options, "--format", "jsonl", *listing, stdin=lines)[1]
    found = [json.loads(line) for line in out.splitlines()]
    expected = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
    assert [one["text"] for one in found] == [one["text"] for one in expected]
    for score in ("log_prob", "score"):
        assert [one[score] for one in found] == pytest.approx(
            [one[score] for one in expected], rel=1e-5
        )


@pytest.mark.parametrize("name", OLD_KEYS)
def test_an_old_run_has_the_same_scores(name: str, call: Call) -> None:
    metrics = ("--metric", "perplexity", "--metric", "cer")
    status, out, _ = call(
        "evaluate", "--run", f"made/{name}", "--device", "cpu", *metrics, "--json"
    )
    found = json.loads(out)["scores"]
    expected = json.loads(Path(f"{name}.scores.json").read_text())["scores"]
    assert (status, list(found)) == (0, list(expected))
    for metric, score in expected.items():
        assert found[metric]["value"] == pytest.approx(score["value"], rel=1e-5)
        signatures = [one["signature"].split("|version:")[0] for one in (found[metric], score)]
        assert signatures[0] == signatures[1]


@pytest.mark.parametrize("name", OLD_KEYS)
def test_the_training_of_an_old_run_resumes(name: str, call: Call) -> None:
    options = ("--runs", "made", "--device", "cpu", "--set", "train.max_updates=4")
    prepared = {path: path.read_bytes() for path in Path("made", name).glob("*/fingerprint")}
    assert len(prepared) == 2
    status, _, err = call("train", f"{name}.yaml", *options)
    assert status == 0, err
    assert any("training is over after 4 updates" in line for line in err)
    assert json.loads(Path("made", name, "checkpoints.json").read_text())["last"] == 4
    events = [
        json.loads(line) for line in Path("made", name, "metrics.jsonl").read_text().splitlines()
    ]
    assert [one["is_resumed"] for one in events if one["event"] == "start"] == [False, True]
    assert {path: path.read_bytes() for path in prepared} == prepared
    # Nothing was prepared again: the corpus is the one that was there.
    before = (MADE_BEFORE / "made" / name / "data" / "train.arrow").read_bytes()
    assert Path("made", name, "data", "train.arrow").read_bytes() == before
    # The run's recipe now has the new keys.
    assert renamings(call("check", f"made/{name}/recipe.yaml")[2], f"made/{name}/recipe.yaml") == []


def test_data_prepared_before_stay_valid_under_the_new_keys(call: Call) -> None:
    """`s2s prep` of the recipe with new keys finds everything up to date."""
    for name in OLD_KEYS:
        recipe = Path(f"{name}.yaml")
        text = recipe.read_text().replace("features: tags", "source_features: tags")
        text = text.replace("\n  features: {kind", "\n  source_features: {kind")
        recipe.write_text(text.replace("\n  features:", "\n  image_features:"))
        status, _, err = call("prep", f"{name}.yaml", "--runs", "made")
        assert (status, err[-1]) == (0, "s2s: everything was up to date")
        assert renamings(err, f"{name}.yaml") == []

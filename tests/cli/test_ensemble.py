"""Ensembles on the command line: what translate, bleu, score and attention make of two runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2s.inference.load import load_ensemble
from s2s.pipeline.output_names import ModelName as EvaluatedModel
from s2s.pipeline.output_names import describe
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.run.directory import Run
from s2s.search.ensemble import ForcedEnsemble, forcible
from s2s.search.forced_decoding import forced
from s2s_cli.main import run as command_line

RECIPE = """\
task: translation
data: {kind: generated, corpus: dates, pairs: 300, held_out: 10, filters: {max_dropped: 1.0}}
tokenizer: {kind: separate, source: {kind: character}, target: {kind: character}}
model: {embeddings: 13, encoder: {width: 11}, decoder: {kind: luong, width: 17}}
search: {kind: beam, width: 3, max_ratio: 0.5, max_offset: 9}
"""
TEXT = "1999-12-31\nthe first of May\n7:30\n"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(
    random_run: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Path:
    made = tmp_path_factory.mktemp("ensemble")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        Path("recipe.yaml").write_text(RECIPE)
        Path("in").write_text(TEXT)
        random_run("one")
        random_run("two", "seed=2", "model.decoder={kind: stacked, width: 19}")
    return made


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


BOTH = ("--run", "one", "--run", "two", "--device", "cpu")


def output(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = command_line(arguments)
    found = capfd.readouterr()
    assert status == 0, found.err
    return found.out


# ------------------------------------------------------------------------------------------ score


def test_forced_and_stepwise_ensembles_agree() -> None:
    """Teacher forcing averages the members' probabilities at every step, by hand."""
    runs = [Run(Path("runs") / name) for name in ("one", "two")]
    members = [forcible(load_ensemble([run], device="cpu").scorer) for run in runs]
    source, lengths = torch.tensor([[5, 7, 9, 3], [6, 3, 0, 0]]), torch.tensor([4, 2])
    target = torch.tensor([[2, 8, 9], [2, 4, 0]])
    with torch.inference_mode():
        found_BTV = ForcedEnsemble(members)(source, lengths, target)
        mean_BTV = sum(m(source, lengths, target).double().softmax(-1) for m in members) / 2
    assert torch.allclose(found_BTV.double(), mean_BTV.log(), atol=1e-5)
    pairs = [([5, 7, 9], [8, 9]), ([6], [4])]
    alone = [forced(member, pairs, "cpu") for member in members]
    both = forced(ForcedEnsemble(members), pairs, "cpu")
    assert forced(ForcedEnsemble([members[0]] * 2), pairs, "cpu") == pytest.approx(alone[0])
    # The mean of probabilities per step is no mean of the outputs' log-probabilities.
    assert all(abs(b - (x + y) / 2) > 1e-3 for b, x, y in zip(both, *alone, strict=True))


@pytest.mark.parametrize("search", ["greedy", "beam", "sample"])
def test_score_is_the_ensembles_own(capfd: pytest.CaptureFixture[str], search: str) -> None:
    """What search gives to its output is what scoring that output gives; a member differs."""
    listed = output(capfd, "translate", *BOTH, "--input", "in", "--search", search, "--scores")
    rows = [row.split("\t") for row in listed.splitlines()]
    assert all(row[5] == "finished" for row in rows) or search != "beam"
    Path("out").write_text("".join(f"{row[6]}\n" for row in rows))
    together = output(capfd, "score", "in", "out", *BOTH).splitlines()
    alone = output(capfd, "score", "in", "out", "--run", "two", "--device", "cpu").splitlines()
    compared = 0
    for row, score, other in zip(rows, together, alone, strict=True):
        _, log_prob, length = score.split("\t")
        assert abs(float(other.split("\t")[1]) - float(log_prob)) > 1e-2
        if row[5] == "finished" and row[4] == length:  # the same tokens
            assert float(log_prob) == pytest.approx(float(row[2]), abs=1e-4)
            compared += 1
    assert compared or search != "beam"


# ------------------------------------------------------------------------------------------- bleu


def test_bleu_translates_with_the_mean_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(output(capfd, "bleu", *BOTH, "--json"))
    saved = Path(found["hypotheses"])
    assert saved == Path("runs/one/outputs") / (
        "test.ensemble2-update1+two@2.beam3-penalty1-max-ratio0.5-max-offset9.txt"
    )
    both = load_ensemble([Run(Path("runs/one")), Run(Path("runs/two"))], device="cpu")
    from s2s.data.preparation.prepare import open_corpus

    sources = open_corpus(Path("runs/one"), "test").source_texts
    assert sources is not None
    assert saved.read_text().splitlines() == both(list(sources))
    assert found["what"].startswith("runs/one: test, 10 lines, update 1 + two 2, beam3")
    *_, event = Run(Path("runs/one")).read_events()
    assert (event["update"], event["ensemble"]) == (1, [["two", 2]])
    alone = json.loads(output(capfd, "bleu", "--run", "one", "--device", "cpu", "--json"))
    assert Path(alone["hypotheses"]).read_text() != saved.read_text()
    assert Path(alone["hypotheses"]).name.startswith("test.update1.beam3")


def test_names_of_files_have_room_for_any_ensemble() -> None:
    many = EvaluatedModel(members=tuple((f"run-{i}", i) for i in range(40)))
    other = EvaluatedModel(members=tuple((f"run-{i}", i + (i == 39)) for i in range(40)))
    assert len(many.in_file_name) < 60 and many.in_file_name.startswith("ensemble40-")
    assert many.in_file_name != other.in_file_name
    assert str(EvaluatedModel(members=(("a", "average"),))) == "checkpoint average"


# ---------------------------------------------------------------------------------------- compare


def test_an_ensemble_is_compared_with_its_members(capfd: pytest.CaptureFixture[str]) -> None:
    saved = json.loads(output(capfd, "bleu", *BOTH, "--json"))["hypotheses"]
    options = ("--metric", "cer", "--samples", "9", "--device", "cpu", "--json")
    found = json.loads(output(capfd, "compare", "runs/one", "one+runs/two", saved, *options))
    together, file = found["others"]
    assert (together["name"], file["name"]) == ("runs/one+runs/two", saved)
    assert together["unequal_lines"] == file["unequal_lines"] > 0
    assert together["scores"] == file["scores"]


def test_a_plus_in_a_name_is_no_ensemble(capfd: pytest.CaptureFixture[str]) -> None:
    if not Path("a+b").exists():
        Path("a+b").symlink_to("runs/one")
    options = ("--metric", "cer", "--samples", "9", "--device", "cpu", "--json")
    (same,) = json.loads(output(capfd, "compare", "one", "a+b", *options))["others"]
    assert (same["name"], same["unequal_lines"]) == ("a+b", 0)
    for wrong, message in {
        "one+": "one+: expected names of runs on both sides of +",
        "one+nope": "nope: no such run",
    }.items():
        assert command_line(["compare", "one", wrong, *options]) == 2
        assert capfd.readouterr().err.startswith(f"s2s: error: {message}")


# -------------------------------------------------------------------------------------- attention


def test_attention_is_the_mean_of_the_members(capfd: pytest.CaptureFixture[str]) -> None:
    output(capfd, "attention", *BOTH, "--input", "in", "--npz", "a.npz", "--html", "a.html")
    both = load_ensemble([Run(Path("runs/one")), Run(Path("runs/two"))], device="cpu")
    from s2s.inference.attention.maps import attention_maps

    with np.load("a.npz") as file:
        stored = [file[name] for name in file.files if "weights" in name]
    expected = attention_maps(both, TEXT.splitlines())
    assert stored and all(
        np.array_equal(one, other.weights) for one, other in zip(stored, expected, strict=True)
    )
    assert "Attention of one + two" in Path("a.html").read_text()


@pytest.mark.parametrize("command", ["bleu", "score", "attention"])
def test_runs_that_do_not_fit_are_one_line(
    random_run: Callable[..., Run], capfd: pytest.CaptureFixture[str], command: str
) -> None:
    if not Path("runs/other").exists():
        random_run("other", "tokenizer.target.kind=word")
    capfd.readouterr()
    more = {"bleu": [], "score": ["in", "in"], "attention": ["--input", "in"]}[command]
    assert command_line([command, *BOTH, "--run", "other", *more]) == 2
    found = capfd.readouterr()
    assert found.out == "" and found.err.count("\n") == 1
    assert "runs/one and runs/other: expected one target tokenizer, found two" in found.err


# ---------------------------------------------------------------------------- the names of searches

SEARCHES: list[tuple[Search, str]] = [
    (GreedySearch(kind="greedy"), "greedy"),
    (GreedySearch(kind="greedy", max_ratio=1.5), "greedy-max-ratio1.5"),
    (BeamSearch(kind="beam"), "beam5-penalty1"),
    (
        BeamSearch(
            kind="beam", length_penalty=0.6, length_normalization="gnmt", coverage_penalty=0.2
        ),
        "beam5-penalty0.6-gnmt-coverage0.2",
    ),
    (BeamSearch(kind="beam", length_penalty=0.12345678), "beam5-penalty0.12345678"),
    (BeamSearch(kind="beam", no_repeat_ngram=3), "beam5-penalty1-no-repeat-ngram3"),
    (SampleSearch(kind="sample"), "sample-temperature1-seed1"),
    (SampleSearch(kind="sample", top_p=0.9), "sample-temperature1-seed1-top-p0.9"),
    (
        SampleSearch(kind="sample", top_k=50, min_p=0.05),
        "sample-temperature1-seed1-top-k50-min-p0.05",
    ),
    (ExhaustiveSearch(kind="exhaustive", width=8), "exhaustive-nodes10000-width8"),
]


@pytest.mark.parametrize(("search", "name"), SEARCHES, ids=lambda x: x if type(x) is str else "")
def test_every_setting_that_is_not_the_default_is_in_the_name(search: Search, name: str) -> None:
    assert describe(search) == name


def test_every_field_of_every_search_is_in_the_name() -> None:
    """Whatever setting is changed, the name changes: no output is written over another's."""
    import dataclasses

    other: dict[str, Any] = {
        "length_normalization": "gnmt", "repetition_penalty": 1.25, "top_p": 0.875, "min_p": 0.125,
        "precision": "int8", "width": 10, "groups": 5,
    }  # fmt: skip
    for kind in (GreedySearch, BeamSearch, SampleSearch, ExhaustiveSearch):
        plain: Search = kind(kind=kind.__name__.removesuffix("Search").lower())
        names = {describe(plain)}
        changed = [f for f in dataclasses.fields(plain) if f.name != "kind"]
        if kind is ExhaustiveSearch:
            changed = [f for f in changed if f.name != "repetition_penalty"]
        for item in changed:
            value = other[item.name] if item.name in other else (item.default or 0) + 3
            names.add(describe(dataclasses.replace(plain, **{item.name: value})))
        assert len(names) == len(changed) + 1

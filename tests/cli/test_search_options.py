"""How `s2s translate` and `s2s score` hand on what was asked, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest

import s2s_cli.score
from s2s.inference.nbest import NbestOptions
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, MbrSearch, SampleSearch, Search
from s2s.run.directory import Run
from s2s_cli.main import run as command_line
from tests.cli.test_main import BASE, Recorder, pipeline

__all__ = ["pipeline"]


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a run and an input."""
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(BASE)
    Run.create(load_recipe(overrides=["name=toy"]))
    Path("in").write_text("a\n")


def translate(*options: str) -> int:
    return command_line(["translate", "--run", "toy", "--input", "in", "--output", "out", *options])


@pytest.mark.parametrize(
    ("options", "search", "listing"),
    [
        ("--beam 4", BeamSearch(kind="beam", width=4), None),
        ("--scores", BeamSearch(kind="beam"), NbestOptions()),
        ("--nbest 3", BeamSearch(kind="beam"), NbestOptions(3)),
        ("--format jsonl", BeamSearch(kind="beam"), NbestOptions(1, "jsonl")),
        ("--temperature 0.5", SampleSearch(kind="sample", temperature=0.5), None),
        (
            "--samples 2 --top-k 3 --top-p 0.5 --min-p 0.1 --seed 9 --format tsv",
            SampleSearch(kind="sample", samples=2, top_k=3, top_p=0.5, min_p=0.1, seed=9),
            NbestOptions(),
        ),
        (
            "--search exhaustive --nodes 7 --max-ratio 1 --max-offset 2",
            ExhaustiveSearch(kind="exhaustive", nodes=7, max_ratio=1.0, max_offset=2),
            None,
        ),
        (
            "--length-normalization gnmt --coverage-penalty 0.2 --min-ratio 0.5 --min-offset 1",
            BeamSearch(
                kind="beam",
                length_normalization="gnmt",
                coverage_penalty=0.2,
                min_ratio=0.5,
                min_offset=1,
            ),
            None,
        ),
        ("--suppress-unknown", BeamSearch(kind="beam", suppress_unknown=True), None),
        ("--candidates 8", MbrSearch(kind="mbr", candidates=8), None),
        (
            "--search mbr --candidates-from both --utility bleu --utility chrf --top-p 0.9 "
            "--weighting probability --length-penalty 0.5",
            MbrSearch(
                kind="mbr",
                candidates_from="both",
                utility=("bleu", "chrf"),
                weighting="probability",
                top_p=0.9,
                length_penalty=0.5,
            ),
            None,
        ),
        (
            "--no-repeat-ngram 3 --repetition-penalty 1.5",
            BeamSearch(kind="beam", no_repeat_ngram=3, repetition_penalty=1.5),
            None,
        ),
    ],
)
def test_options_replace_what_the_recipe_says(
    pipeline: Recorder, options: str, search: Search, listing: NbestOptions | None
) -> None:
    assert translate(*options.split()) == 0
    _, (name, _, passed) = pipeline.calls
    assert (name, passed["search"], passed["listing"]) == ("translate_files", search, listing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--search greedy --beam 3", "greedy search does not use --beam"),
        ("--search sample --length-penalty 1", "sample search does not use --length-penalty"),
        ("--temperature 1 --beam 2", "no search has all of --beam, --temperature"),
        ("--utility chrf --utility chrf", "utility: expected every metric once, found ['chrf', "),
        ("--candidates 0", "--candidates: expected at least 1, found 0"),
        ("--search mbr --nodes 3", "mbr search does not use --nodes"),
        ("--top-p 2", "--top-p: expected at most 1, found 2.0"),
        ("--no-repeat-ngram 0", "--no-repeat-ngram: expected at least 1, found 0"),
        ("--format xml", "Invalid value for '--format'"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    capfd: Any, pipeline: Recorder, options: str, message: str
) -> None:
    assert translate(*options.split()) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"s2s: error: {message}")
    assert pipeline.calls == []


def test_score_hands_on_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("s2s.pipeline.scoring.score_pairs", lambda **passed: calls.append(passed))
    assert command_line(["score", "a", "b", "--run", "toy", "--checkpoint", "last"]) == 0
    assert [calls[0][name] for name in ("source", "target", "checkpoint", "batch_size")] == [
        Path("a"),
        Path("b"),
        "last",
        s2s_cli.score.score.__kwdefaults__["batch_size"],
    ]
    assert command_line(["score", "a"]) == 2

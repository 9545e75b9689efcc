"""`s2s evaluate` and `s2s rouge`, on a run whose recipe names every metric, and on files."""

import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch

from s2s import pipeline
from s2s.recipe.choices import RougeTokens, Tokenization
from s2s.recipe.load import load_recipe
from s2s.recipe.metrics import METRICS, VALUES
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s_cli.main import run as command_line
from s2s_cli.options.scoring import MetricChoice
from tests.metrics.test_task_metrics import OF_LABELS

NAMES = [name for name in METRICS if name not in ("word_perplexity", *OF_LABELS)]
"""Metrics of translation."""

RECIPE = f"""\
task: translation
name: spell
data:
  kind: files
  train: {{source: train.x, target: train.y}}
  validation: {{source: validation.x, target: validation.y}}
  test: {{source: test.x, target: test.y}}
tokenizer: {{kind: word}}
model:
  embeddings: 20
  encoder: {{width: 12}}
  decoder: {{kind: luong, width: 28}}
train:
  epochs: 3
  batch_tokens: 120
  optimizer: {{learning_rate: 1e-2}}
  precision: fp32
  best: per
search: {{kind: beam, width: 3}}
metrics: [{", ".join(NAMES)}]
scoring: {{lowercase: true, stem: true}}
"""
WORDS = ("null", "eins", "zwei", "drei", "Vier", "fünf", "sechs", "sieben")


def write_split(name: str, numbers: list[int]) -> None:
    """Digits of a number, and their names backwards; a blank pair and a blank source."""
    pairs = [(" ".join(f"{n:o}"), " ".join(WORDS[int(d)] for d in f"{n:o}"[::-1])) for n in numbers]
    if name != "train":
        pairs += [("", ""), (" ", "null")]
    for side, suffix in enumerate("xy"):
        Path(f"{name}.{suffix}").write_text("".join(f"{pair[side]}\n" for pair in pairs))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a trained run."""
    folder = tmp_path_factory.mktemp("example")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("recipe.yaml").write_text(RECIPE)
        numbers = [(n * 7919) % 4093 for n in range(1, 330)]
        write_split("train", numbers[:270])
        write_split("validation", numbers[270:295])
        write_split("test", numbers[295:])
        pipeline.train(load_recipe())
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def folder(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current one."""
    there = tmp_path / "here"
    shutil.copytree(example, there)
    monkeypatch.chdir(there)
    return there


class Call:
    """Runs commands in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.captured = capfd
        self.patch = patch

    def __call__(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        self.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = command_line(arguments)
        found = self.captured.readouterr()
        return status, found.out, found.err

    def output(self, *arguments: str, stdin: str = "") -> str:
        status, out, err = self(*arguments, stdin=stdin)
        assert status == 0, err
        return out


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(capfd, monkeypatch)


def test_validation_and_test_print_the_same_numbers(folder: Path, call: Call) -> None:
    run = Run.open(Path("runs/spell"))
    logged = {e["update"]: e for e in run.read_events() if e["event"] == "validation"}
    for step, event in logged.items():
        if step not in (run.checkpoints().best, run.checkpoints().last):
            continue
        options = ("--split", "validation", "--search", "greedy", "--checkpoint", str(step))
        found = json.loads(call.output("evaluate", *options, "--json"))
        assert found["scores"] == event["scores"]
        assert list(found["scores"]) == [f for name in NAMES for f in VALUES[name]]
        assert (found["blank_references"], found["blank_hypotheses"] >= 2) == (1, True)
        # Validation's own loss is computed in other batches, where a blank pair counts its end.
        assert math.log(found["scores"]["perplexity"]["value"]) == pytest.approx(
            event["nll"], rel=0.1
        )


def test_a_glossary_changes_outputs_and_their_file(folder: Path, call: Call) -> None:
    Path("terms.tsv").write_text("1\tsieben\n")
    options = ("evaluate", "--metric", "per", "--glossary", "terms.tsv", "--json")
    status, out, err = call(*options)
    assert (status, "glossary: the outputs have" in err) == (0, True)
    saved = Path(json.loads(out)["hypotheses"])
    assert "-glossary-" in saved.name
    sources = Path("test.x").read_text().splitlines()
    outputs = saved.read_text().splitlines()
    assert all("sieben" in y.split() for x, y in zip(sources, outputs, strict=True) if "1" in x)
    status, _, err = call(*options, "--search", "greedy")
    assert (status, "terms that must appear need beam search" in err) == (2, True)
    status, _, err = call("evaluate", "--metric", "bleu", "test.y", "--glossary", "terms.tsv")
    assert (status, "--glossary: with reference files" in err) == (2, True)


def test_the_lowest_error_rate_is_the_best(folder: Path) -> None:
    run = Run.open(Path("runs/spell"))
    logged = [e for e in run.read_events() if e["event"] == "validation"]
    rates = {e["update"]: e["scores"]["per"]["value"] for e in logged}
    assert len(set(rates.values())) > 1
    assert rates[run.checkpoints().best] == min(rates.values())
    best_so_far = [e["is_best"] for e in logged]
    # Of equal rates, the lower loss is better.
    values = [(e["scores"]["per"]["value"], e["nll"]) for e in logged]
    assert best_so_far == [
        value < min(values[:i], default=(math.inf, math.inf)) for i, value in enumerate(values)
    ]


def test_the_recipes_metrics_or_those_named(folder: Path, call: Call) -> None:
    lines = call.output("evaluate", "--confidence").splitlines()
    labels = [line.split(" = ")[0] for line in lines]
    assert labels == [value.label for name in NAMES for value in METRICS[name].values]
    assert all(" ± " in line and "|bs:1000|seed:12345|" in line for line in lines)
    assert all("|case:lc|" in line for line in lines[:-1])
    assert lines[6].count("|stem:porter|") == 1
    tokens = "nrefs:1|bs:1000|seed:12345|unit:token|vocabulary:"
    assert lines[-1].split("  ")[1].startswith(tokens)

    status, out, err = call("evaluate", "--metric", "rouge", "--metric", "exact", "--no-stem")
    assert status == 0
    assert [line.split(" = ")[0] for line in out.splitlines()] == [*labels[6:9], "exact"]
    assert "|stem:no|" in out
    assert call.output("rouge", "--no-stem").splitlines() == out.splitlines()[:3]
    assert "s2s: 2 outputs and the references of 1 lines are blank; docs/metrics.md says" in err


def test_files_are_scored_alike(folder: Path, call: Call) -> None:
    found = json.loads(call.output("evaluate", "--json"))
    said = Path(found["hypotheses"]).read_text()
    status, out, err = call("evaluate", "test.y", "--json", stdin=said)
    assert (status, "s2s: perplexity left out: only a model has one\n" in err) == (0, True)
    assert "s2s: copied left out: only a run knows its training data\n" in err
    del found["scores"]["perplexity"], found["scores"]["copied"]
    assert json.loads(out)["scores"] == found["scores"]
    options = ("--stem", "--lowercase")
    assert call.output("rouge", "test.y", *options, stdin=said) == call.output("rouge")
    assert call.output("evaluate", "test.y", "--metric", "rouge", *options, stdin=said) == (
        call.output("rouge")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metric", "perplexity"), "perplexity: expected a run; only a model has one"),
        (("--metric", "copied"), "copied: expected a run; only a run knows its training data"),
        (("--metric", "meteor", "--synonyms"), "synonyms: expected WordNet among nltk's"),
        (("--metric", "cer", "--run", "spell"), "--run: with reference files the translations are"),
        (("--beam", "3"), "--beam: with reference files the translations are read from stdin"),
        (
            ("--metric", "cer", "--stem", "--rouge-tokens", "space"),
            "stem needs rouge_tokens 'rouge'",
        ),
    ],
)
def test_mistakes(
    folder: Path,
    call: Call,
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nltk.data.path", [])
    status, out, err = call("evaluate", "test.y", *arguments, stdin=Path("test.y").read_text())
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"s2s: error: {message}")


def test_perplexity_by_hand(folder: Path, call: Call) -> None:
    """exp of minus the mean of what `s2s score` gives to the references."""
    found = json.loads(call.output("evaluate", "--metric", "perplexity", "--json"))
    rows = [row.split("\t") for row in call.output("score", "test.x", "test.y").splitlines()]
    nll = -sum(float(row[1]) for row in rows) / sum(int(row[2]) for row in rows)
    assert found["scores"]["perplexity"]["value"] == pytest.approx(math.exp(nll), rel=1e-6)


def test_copied_by_hand(folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs that are lines of the training targets, case aside as the recipe has it."""
    monkeypatch.setattr("s2s.data.training_targets.CHUNK_PAIRS", 37)
    found = json.loads(call.output("evaluate", "--metric", "copied", "--json"))
    said = Path(found["hypotheses"]).read_text().splitlines()
    targets = {line.lower() for line in Path("train.y").read_text().splitlines()}
    expected = [line.lower() in targets for line in said]
    assert 0 < sum(expected) < len(said)
    assert found["scores"]["copied"]["value"] == pytest.approx(100 * sum(expected) / len(said))
    Path("runs/spell/data/train.arrow").unlink()
    status, _, err = call("evaluate", "--metric", "copied")
    assert (status, "train.arrow: no such file; 's2s prep' makes it" in err) == (1, True)


def test_the_choices_are_the_recipes() -> None:
    scoring = load_schema()["Scoring"]["properties"]
    assert [choice.value for choice in MetricChoice] == list(METRICS)
    assert list(get_args(Tokenization)) == scoring["tokenize"]["enum"]
    assert list(get_args(RougeTokens)) == scoring["rouge_tokens"]["enum"]


def load_schema() -> dict[str, dict[str, dict[str, dict[str, list[str]]]]]:
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe).json_schema()["$defs"]


def test_runs_are_compared_on_their_test_set(folder: Path, call: Call) -> None:
    found = json.loads(call.output("evaluate", "--search", "greedy", "--json"))
    greedy = found["hypotheses"]
    options = ("--samples", "40", "--search", "greedy", "--json")
    same = json.loads(call.output("compare", "runs/spell", greedy, *options))
    (other,) = same["others"]
    assert (other["unequal_lines"], other["lines"]) == (0, [])
    assert {"perplexity", "copied"}.isdisjoint(same["baseline"]["scores"])
    for name, score in same["baseline"]["scores"].items():
        assert score["value"] == found["scores"][name]["value"]
        assert other["scores"][name]["p"] == 1.0
    shutil.copytree("runs/spell", "runs/again")
    text = call.output(
        "compare", "runs/spell", "again", "test.y", "--metric", "per", "--samples", "9"
    )
    assert "runs/spell and runs/again: the same text in every line" in text
    assert "  test.y        0.00  p = " in text
    assert "\n  source      " in text


@pytest.mark.parametrize("place", ["outputs", "metrics.jsonl"])
@pytest.mark.parametrize("command", ["bleu", "rouge", "evaluate"])
def test_a_run_that_cannot_be_written_to_is_scored(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    place: str,
    command: str,
) -> None:
    """A file in place of a folder, and a folder in place of a file, refuse root too."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(example / "runs" / "spell", "spell")
    assert command_line([command, "--run", "spell"]) == 0
    whole = capfd.readouterr()
    assert "warning" not in whole.err and list(Path("spell/outputs").iterdir())
    shutil.rmtree("spell/outputs")
    if place == "outputs":
        Path("spell/outputs").touch()
    else:
        Path("spell/metrics.jsonl").unlink(missing_ok=True)
        Path("spell/metrics.jsonl").mkdir()
    assert command_line([command, "--run", "spell"]) == 0
    out, err = capfd.readouterr()
    assert out == whole.out
    (warning,) = (line for line in err.splitlines() if line.startswith("s2s: warning: "))
    assert "cannot be kept" in warning and "spell" in warning

"""The command line around the pipeline: recipes, errors and exit statuses."""

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import s2s
from s2s.errors import DataError, Interrupted, RecipeError, TrainingError
from s2s.metrics.corpus import Request
from s2s.recipe.load import load_recipe, shipped_recipes
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import BeamSearch, GreedySearch
from s2s.run.directory import Run
from s2s_cli.main import run

BASE = """task: translation
data: {kind: generated, corpus: dates}
tokenizer: {kind: unigram}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command."""
    status = run(arguments)
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def test_version_and_bare_command(capfd) -> None:
    assert call(capfd, "--version") == (0, f"s2s {s2s.__version__}\n", "")
    status, out, err = call(capfd)
    assert (status, err) == (0, "")
    assert "Commands:" in out


MISTAKES = [
    (["nope"], "No such command 'nope'."),
    (["train", "--nope"], "No such option: --nope"),
    (
        ["translate", "--beam", "x"],
        "Invalid value for '--beam': expected a whole number, found 'x' (--help lists",
    ),
    (
        ["translate", "--length-penalty=x"],
        "Invalid value for '--length-penalty': expected a number, found 'x' (--help",
    ),
    (
        ["translate", "--batch-size", "0"],
        "Invalid value for '--batch-size': expected at least 1, found '0' (--help",
    ),
    (
        ["translate", "--workers", "99999"],
        "Invalid value for '--workers': expected at most 1,024, found '99999' (--help",
    ),
    (["bleu", "--split", "train"], "Invalid value for '--split': "),
    (
        ["bleu", "--split", "tst"],
        "Invalid value for '--split': 'tst' is not one of 'test', 'validation'; did you mean "
        "'test'? (--help",
    ),
    (["bleu", "--run", "x" * 5000], f"'{'x' * 60}'...: expected the name of a run, found none"),
    (["translate"], "runs: no trained run here; 's2s train' makes one, --run names one in"),
    (["bleu", "--run", "x"], "x: no such run, neither as a folder nor in runs"),
    (["bleu", "7"], "7: no such file of references; to score the test set of a run: --run 7"),
    (["evaluate", "--metric", "cer", "7"], "7: no such file of references; to score the test set"),
    (["translate", "a", "--run", "b"], "RUN, --run: expected one of them, found a and b"),
    (["attention", "a", "--run", "b"], "RUN, --run: expected one of them, found a and b"),
    (["bleu", "a.txt", "--run", "x"], "--run: with reference files the translations are read"),
    (["train"], "recipe.yaml: no such recipe; 's2s recipes copy quickstart recipe.yaml' puts"),
    (
        ["prep", "my.yaml"],
        "my.yaml: no such recipe; 's2s recipes copy quickstart my.yaml' puts one",
    ),
    (
        ["check", "quickstart"],
        "quickstart: no such recipe; 's2s recipes copy quickstart quickstart' puts",
    ),
    (["recipes", "show", "nope"], "nope: no such recipe; there are "),
    (["recipes", "nope"], "No such command 'nope'."),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES, ids=str)
def test_a_mistake_is_one_line_and_status_2(capfd, arguments: list[str], expected: str) -> None:
    status, out, err = call(capfd, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"s2s: error: {expected}")


def test_every_fault_of_a_recipe_is_a_line(capfd) -> None:
    Path("recipe.yaml").write_text(BASE + "seed: x\nmodle: {}\n")
    assert call(capfd, "check", "--set", "name=a b") == (
        2,
        "",
        "s2s: error: recipe.yaml:4: seed: expected a whole number, found 'x' (text)\n"
        "s2s: error: recipe.yaml:5: modle: unknown key (did you mean 'model'?)\n"
        "s2s: error: --set name: expected at most 255 letters, digits, '.', '_' and '-', the "
        "first a letter or digit, found 'a b'\n",
    )


def test_check_says_what_the_recipe_is(capfd) -> None:
    Path("my.yaml").write_text(BASE)
    status, out, err = call(capfd, "check", "my.yaml", "--set", "model.decoder.kind=luong")
    assert (status, err) == (0, "")
    assert out == (
        "my.yaml: ok (translation, data generated, tokenizer unigram, decoder luong, run my)\n"
    )


FREE = (
    "; free some, raise the limit (ulimit -v, a container's), or take smaller batches or a "
    "smaller model"
)

RAISED = [
    (DataError("data.de:3: not valid UTF-8"), 2, "error: data.de:3: not valid UTF-8"),
    (RecipeError(["a", "b"]), 2, "error: a\ns2s: error: b"),
    (TrainingError("the loss is NaN"), 1, "error: the loss is NaN"),
    (Interrupted("saved", 15), 143, "saved"),  # as asked for: no error
    (OSError(28, "No space left", "f"), 1, "error: [Errno 28] No space left: 'f'"),
    (MemoryError(), 1, f"error: out of memory (MemoryError){FREE}"),
    (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        1,
        "error: out of memory (DefaultCPUAllocator: can't allocate memory: you tried 9 bytes)"
        + FREE,
    ),
    (
        ImportError("x.so: failed to map segment"),
        1,
        f"error: out of memory (x.so: failed to map segment){FREE}",
    ),
    (DataError("a" + "b" * 10**6 + "c"), 2, f"error: a{'b' * 1332} … {'b' * 663}c"),
    (
        KeyError("k"),
        1,
        "error: KeyError: 'k'; this is a bug of s2s, --debug shows the traceback",
    ),
]


@pytest.mark.parametrize(("error", "status", "line"), RAISED, ids=lambda value: repr(value)[:60])
def test_errors_become_lines(capfd, monkeypatch, error, status: int, line: str) -> None:
    def fail(*_: object) -> None:
        raise error

    Path("recipe.yaml").write_text(BASE)
    monkeypatch.setattr("s2s.recipe.load.load_draft", fail)
    assert call(capfd, "check") == (status, "", f"s2s: {line}\n")
    for arguments in (["--debug", "check"], ["check", "--debug"]):
        with_traceback = call(capfd, *arguments)
        assert with_traceback[0] == status
        assert "Traceback (most recent call last)" in with_traceback[2]


def test_ctrl_c_has_its_own_status(monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("s2s.recipe.load.load_draft", interrupt)
    assert run(["check"]) == 130


def test_a_closed_pipe_is_quiet() -> None:
    command = "from s2s_cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "recipes", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


# -------------------------------------------------------------------------------------- recipes


def test_recipes_are_listed_shown_and_copied(capfd) -> None:
    status, out, _ = call(capfd, "recipes", "list")
    assert status == 0
    listed = [line.split()[0] for line in out.splitlines()]
    assert "quickstart" in listed
    assert listed == [recipe.name for recipe in shipped_recipes()]

    _, shown, _ = call(capfd, "recipes", "show", "quickstart")
    status, out, err = call(capfd, "recipes", "copy", "quickstart")
    assert (status, out, err) == (0, "", "s2s: recipe.yaml written; next: s2s train\n")
    assert Path("recipe.yaml").read_text() == shown

    status, _, err = call(capfd, "recipes", "copy", "quickstart")
    assert (status, err) == (
        2,
        "s2s: error: recipe.yaml: exists; choose another file, or add --force\n",
    )
    assert call(capfd, "recipes", "copy", "quickstart", "--force")[0] == 0
    assert call(capfd, "recipes", "copy", "quickstart", "my.yaml")[0] == 0
    assert load_recipe(Path("my.yaml")).name == "my"


def test_the_schema_is_json(capfd) -> None:
    status, out, _ = call(capfd, "recipes", "schema")
    assert status == 0
    assert json.loads(out)["title"] == "s2s recipe"


# ------------------------------------------------------------------------ streams and settings


def test_the_output_must_not_be_the_input(capfd, monkeypatch) -> None:
    Path("text").write_text("a\n")
    monkeypatch.setattr("s2s_cli.translate.choose_runs", lambda *_: [None])
    monkeypatch.setattr("s2s_cli.translate.choose_search", lambda *_: BeamSearch(kind="beam"))
    status, _, err = call(capfd, "translate", "--input", "text", "--output", "./text")
    assert (status, err) == (2, "s2s: error: text: expected an output other than the input\n")
    assert Path("text").read_text() == "a\n"
    status, _, err = call(capfd, "translate", "--input", "nope")
    assert (status, err) == (2, "s2s: error: nope: no such file\n")


@pytest.mark.parametrize("text", ["x.y", "-1", "1.5", "", "²", "../x", "update", "update7"])
def test_a_checkpoint_is_best_last_a_number_or_a_name(capfd, monkeypatch, text: str) -> None:
    monkeypatch.setattr("s2s_cli.translate.choose_runs", lambda *_: [None])
    monkeypatch.setattr("s2s_cli.translate.choose_search", lambda *_: None)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    status, _, err = call(capfd, "translate", "--checkpoint", text)
    assert status == 2
    assert err == (
        "s2s: error: --checkpoint: expected best, last, a number of updates or a name, "
        f"found {text}\n"
    )


class Recorder:
    """Stands in for `s2s.pipeline` and its like, whose import takes seconds; keeps what it is
    called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple, dict]] = []

    def __getattr__(self, name: str):
        def record(*arguments, **options):
            self.calls.append((name, arguments, options))
            return SimpleNamespace(
                warnings=("validation: 3 texts had line breaks, now spaces",),
                table=lambda: "the table",
                redone=("data",),
                choices=("chosen: a line",),
                lines=lambda: ["BLEU 40.0"],
                as_json=lambda: {"bleu": 40.0},
                notes=lambda: ["test, 2 lines"],
            )

        return record


@pytest.fixture
def pipeline(monkeypatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "s2s.pipeline", recorder)
    monkeypatch.setattr(s2s, "pipeline", recorder, raising=False)
    monkeypatch.setitem(sys.modules, "s2s.pipeline.translation", recorder)
    return recorder


def test_prep_and_train_pass_their_options_on(capfd, pipeline: Recorder) -> None:
    Path("recipe.yaml").write_text(BASE)
    status, out, err = call(capfd, "prep", "--set", "name=x", "--runs", "there", "--force")
    assert (status, out) == (0, "")
    assert err.splitlines() == [
        "s2s: chosen: a line",
        "s2s: warning: validation: 3 texts had line breaks, now spaces",
        "the table",
        "BLEU 40.0",
        "s2s: data prepared",
    ]
    assert call(capfd, "train", "--set=name=y", "--device=cuda:1", "--restart")[0] == 0
    (prep, prep_recipe, prep_options), (train, train_recipe, train_options) = pipeline.calls
    assert (prep, prep_recipe[0].name, train, train_recipe[0].name) == (
        "prepare",
        "x",
        "train",
        "y",
    )
    assert prep_options == {"runs": Path("there"), "force": True}
    assert train_options == {
        "runs": Path("runs"),
        "device": "cuda:1",
        "restart": True,
        "workers": 1,
    }


def test_translate_takes_the_newest_run_and_says_so(capfd, pipeline: Recorder) -> None:
    Path("recipe.yaml").write_text(BASE)
    run_folder = Run.create(load_recipe(overrides=["name=toy"])).folder
    (run_folder / "checkpoints.json").write_text('{"last": 3}')
    Path("in").write_text("a\n")
    options = ["--input", "in", "--output", "out", "--beam", "7", "--checkpoint", "3"]
    assert call(capfd, "translate", *options) == (0, "", "s2s: using the newest run, runs/toy\n")
    (_, _, files), (name, (runs, _), passed) = pipeline.calls
    assert (name, runs, passed["checkpoint"]) == ("translate_files", [Run(Path("runs/toy"))], 3)
    assert files == {"source": Path("in"), "target": Path("out"), "resume": False, "features": None}
    assert passed["search"] == BeamSearch(kind="beam", width=7)
    assert (passed["batch_size"], passed["device"]) == (8192, "auto")
    assert call(capfd, "translate", "--run", "toy", "--input", "in", "--resume") == (0, "", "")
    assert pipeline.calls[2][2]["resume"] is True


def test_bleu_scores_a_run_or_files(capfd, pipeline: Recorder) -> None:
    Path("recipe.yaml").write_text(BASE)
    Run.create(load_recipe(overrides=["name=toy"]))
    status, out, err = call(capfd, "bleu", "--run", "toy", "--search", "greedy", "--json")
    assert (status, out) == (0, '{"bleu": 40.0}\n')
    assert err == "s2s: test, 2 lines\n"
    assert pipeline.calls[0][2]["search"] == GreedySearch(kind="greedy")
    assert pipeline.calls[0][2]["split"] == "test"

    for name in ("a", "b"):
        Path(name).touch()
    status, out, err = call(capfd, "bleu", "a", "b", "--tokenize", "intl", "--confidence")
    assert (status, out) == (0, "BLEU 40.0\n")
    name, _, passed = pipeline.calls[1]
    assert (name, passed["references"]) == ("score_files", [Path("a"), Path("b")])
    assert passed["request"] == Request(
        metrics=("bleu", "chrf", "exact"), scoring=Scoring(tokenize="intl"), confidence=True
    )


def test_recipes_without_a_verb_says_which_there_are(capfd) -> None:
    status, out, err = call(capfd, "recipes")
    assert (status, err) == (0, "")
    assert "schema" in out

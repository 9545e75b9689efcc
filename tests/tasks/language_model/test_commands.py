"""A language model from the command line: trained, scored, continued, and refused elsewhere."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import s2s
from s2s.errors import Interrupted
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s_cli.main import run as command_line
from tests.training.test_resume import stop_after
from tests.training.toys import differing

RECIPE = """\
task: lm
name: lm
data:
  kind: files
  train: {target: train.txt}
  validation: {target: validation.txt}
tokenizer: {kind: word}
model: {embeddings: 8, decoder: {kind: plain, width: 12}}
train: {epochs: 3, batch_tokens: 60, optimizer: {learning_rate: 1e-2}, average: 0.0, keep: 3}
metrics: [perplexity, word_perplexity]
"""

Command = Callable[..., str]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    made = tmp_path_factory.mktemp("text")
    draw = random.Random(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        Path("recipe.yaml").write_text(RECIPE)
        for name, count in (("train", 60), ("validation", 12)):
            lines = [" ".join(draw.choices("abcdefg", k=draw.randint(1, 6))) for _ in range(count)]
            Path(f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        assert command_line(["train", "--device", "cpu"]) == 0
        assert command_line(["average", "--device", "cpu"]) == 0
    return made


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs s2s; what it prints, or where `fails`, its error."""
    monkeypatch.chdir(folder)

    def called(*arguments: str, fails: bool = False) -> str:
        status = command_line([*arguments])
        found = capfd.readouterr()
        assert (status != 0) == fails, found.err
        return found.err.splitlines()[-1] if fails else found.out

    return called


def test_the_scores_of_lines_are_the_perplexity_of_sentences(command: Command) -> None:
    rows = [line.split("\t") for line in command("score", "validation.txt").splitlines()]
    loss = -sum(float(row[1]) for row in rows) / sum(int(row[2]) for row in rows)
    scored = command("evaluate", "--split", "validation", "--metric", "perplexity", "--json")
    entry = json.loads(scored)["scores"]["perplexity"]
    assert entry["value"] == pytest.approx(2.718281828459045**loss, rel=1e-5)


def test_generation_is_the_same_from_python(command: Command) -> None:
    prompts = ["a b", "", "c"]
    options = [option for prompt in prompts for option in ("--prompt", prompt)]
    lines = command("generate", *options, "--search", "beam", "--beam", "3").splitlines()
    model = s2s.load("runs/lm", device="cpu")
    assert list(model.translate(prompts, search="beam", beam=3)) == lines
    assert lines[0].startswith("a b")
    assert lines[2].startswith("c")
    Path("prompts.txt").write_text("a b\n\nc\n")
    for size in ("1", "2"):
        found = command(
            "generate", "--input", "prompts.txt", "--batch-size", size, "--search", "beam",
            "--beam", "3",
        )  # fmt: skip
        assert found.splitlines() == lines


def test_a_sample_depends_on_its_line_and_the_seed(command: Command) -> None:
    lines = command("generate", "--prompt", "a", "--prompt", "a", "--seed", "4").splitlines()
    assert command("generate", "--prompt", "a", "--seed", "4").splitlines() == lines[:1]
    samples = command("generate", "--prompt", "a", "--samples", "20", "--seed", "4").splitlines()
    assert len({line.split("\t")[-1] for line in samples}) > 1


def test_an_average_generates_and_scores(command: Command) -> None:
    single = command("score", "validation.txt")
    assert command("score", "--checkpoint", "average", "validation.txt") != single


@pytest.mark.parametrize("stream", ["null", "{rows: 3, window: 4}"])
def test_resumed_is_uninterrupted(
    command: Command, stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the state that a stream carries from one window to the next."""
    recipe = load_recipe(Path("recipe.yaml"), overrides=[f"train.stream={stream}"])
    found = []
    for name, stops in (("straight", []), ("stopped", [4, 9])):
        with monkeypatch.context() as patch:
            stop_after(stops, patch)
            for _ in stops:
                with pytest.raises(Interrupted):
                    s2s.pipeline.train(recipe, runs=tmp_path / name, device="cpu")
            s2s.pipeline.train(recipe, runs=tmp_path / name, device="cpu")
        found.append(Run.open(tmp_path / name / "lm"))
    assert found[0].checkpoints() == found[1].checkpoints()
    assert differing(found[0].read_weights("last"), found[1].read_weights("last")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate"], "no source to translate; 's2s generate'"),
        (["bleu"], "'bleu' compares outputs with references"),
        (["tune-search"], "has no outputs whose search could be tuned"),
        (["compare", "runs/lm", "runs/lm"], "(task: lm)"),
        (["score", "validation.txt", "validation.txt"], "scores a text, not pairs; leave out TGT"),
        (["generate", "--prompt", "a", "--input", "x"], "--prompt is written to stdout"),
    ],
)
def test_what_a_language_model_cannot_do_is_one_line(
    command: Command, arguments: list[str], message: str
) -> None:
    recipe = Path("runs/lm/recipe.yaml").read_bytes()
    assert message in command(*arguments, fails=True)
    assert Path("runs/lm/recipe.yaml").read_bytes() == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{target: train.txt}", "{source: train.txt, target: train.txt}", "data.train.source has"),
        ("{kind: word}", "{kind: separate, source: {kind: word}, target: {kind: word}}",
         "tokenizer 'separate' has a source tokenizer"),
        ("task: lm\n", "task: translation\nmetrics: [bleu]\n",
         "data.validation: expected 'source' and"),
    ],
)  # fmt: skip
def test_sources_and_tasks_that_do_not_fit_are_one_line(
    command: Command, old: str, new: str, message: str
) -> None:
    Path("wrong.yaml").write_text(RECIPE.split("model:", maxsplit=1)[0].replace(old, new))
    assert message in command("check", "wrong.yaml", fails=True)

"""The four commands in a folder with nothing but a recipe and data, and what may go wrong there."""

import io
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sacrebleu
import torch
from safetensors.torch import load_file, save_file

from s2s import pipeline
from s2s.run.directory import Run
from s2s.run.finding import newest_run
from tests.commands import INPUT, Call, call, pairs, shell, write_example
from tests.places import CORPORA

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def example(
    tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> tuple[Path, dict[str, subprocess.CompletedProcess[bytes]]]:
    """A folder in which the four commands have run, and what they said."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_example()
        commands = (
            "s2s prep",
            "s2s train recipe.yaml",
            "s2s translate < input.txt",
            "s2s bleu",
        )
        return folder, {command: shell(command) for command in commands}


@pytest.fixture
def folder(example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, which is the current one."""
    there = tmp_path / "here"
    shutil.copytree(example[0], there)
    monkeypatch.chdir(there)
    return there


# ------------------------------------------------------------------------------- as they are typed


def test_the_four_commands_do_what_they_say(example) -> None:
    folder, done = example
    for command, result in done.items():
        assert result.returncode == 0, (command, result.stderr.decode())
        assert b"Traceback" not in result.stderr
    prep, train, translate, bleu = done.values()
    assert (prep.stdout, train.stdout) == (b"", b"")
    assert b"s2s: tokenizer and data prepared\n" in prep.stderr
    assert b"runs/spell: training begins: " in train.stderr
    assert re.search(rb"epoch 4  update \d+ .*validation loss .* chrf \d", train.stderr)
    assert b"runs/spell: training ended after " in train.stderr
    assert translate.stdout.count(b"\n") == 8
    assert b"s2s: using the newest run, runs/spell\n" in translate.stderr
    bleu_line, chrf_line, exact_line = bleu.stdout.decode().splitlines()
    assert re.fullmatch(
        r"BLEU = \d+\.\d\d  nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:.*", bleu_line
    )
    assert re.fullmatch(
        r"chrF2 = \d+\.\d\d  nrefs:1\|case:mixed\|eff:yes\|nc:6\|nw:0\|.*", chrf_line
    )
    assert re.fullmatch(r"exact = \d+\.\d\d  nrefs:1\|case:mixed\|match:line\|.*", exact_line)
    assert not list(folder.rglob(".tmp-*"))


def test_again_there_is_nothing_to_do(folder: Path, call: Call) -> None:
    before = (folder / "runs/spell/metrics.jsonl").read_bytes()
    assert call("prep")[2].endswith("s2s: everything was up to date\n")
    status, out, err = call("train", "recipe.yaml")
    assert (status, out) == (0, b"")
    assert err.startswith("runs/spell: training ended after ")
    assert (folder / "runs/spell/metrics.jsonl").read_bytes() == before


# --------------------------------------------------------------------------------------- translate


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_a_line_for_a_line_whatever_the_batch_size(folder: Path, call: Call, search: str) -> None:
    source = INPUT.encode() + "".join(f"\n{x}" for x, _ in pairs(40, seed=4)).encode()
    outputs = {
        call.output("translate", "--search", search, "--batch-size", size, stdin=source)
        for size in ("1", "3", "64", "1024")
    }
    (output,) = outputs
    lines = output.split(b"\n")
    assert len(lines) - 1 == len(source.split(b"\n"))
    assert (lines[1], lines[2], lines[-1]) == (b"", b"", b"")
    assert len(set(lines)) > 20


def test_a_translation_does_not_depend_on_the_lines_around_it(folder: Path, call: Call) -> None:
    lines = [x.encode() for x, _ in pairs(30, seed=5)] + [b""]
    straight = call.output("translate", stdin=b"\n".join(lines) + b"\n").splitlines()
    order = list(range(len(lines)))
    random.Random(6).shuffle(order)
    shuffled = b"\n".join(lines[place] for place in order) + b"\n"
    found = call.output("translate", "--batch-size", "7", stdin=shuffled).splitlines()
    assert found == [straight[place] for place in order]


def test_odd_input_is_reported_and_translated(folder: Path, call: Call) -> None:
    status, out, err = call("translate", stdin=INPUT.encode() + b"\n1 \xff 2\n")
    assert (status, out.count(b"\n")) == (0, 9)
    _, not_text, too_long, unknown = err.splitlines()
    assert too_long.startswith("s2s: a line of 90 tokens ('0 1 2 3 4 5 6 0 1 2 3 4 5 6 0 '...) is")
    assert not_text.startswith("line 9: not valid UTF-8 (byte 3 is 0xff), replaced by U+FFFD; ")
    assert unknown == (
        "s2s: 6 of 111 words of the input (5.4%) are unknown to the tokenizer: 'unknown', 'words', "
        "'of', ..."
    )
    assert call.output("translate", stdin=b"") == b""


def test_files_instead_of_streams(folder: Path, call: Call) -> None:
    expected = call.output("translate", stdin=INPUT.encode())
    files = ("--input", "input.txt", "--output", "output.txt")
    assert call.output("translate", *files, "--run", "runs/spell") == b""
    assert (folder / "output.txt").read_bytes() == expected


def test_checkpoints_are_chosen_by_role_or_number(folder: Path, call: Call) -> None:
    run = Run.open(Path("runs/spell"))
    last = run.checkpoints().last
    by_role = call.output("translate", "--checkpoint", "last", stdin=INPUT.encode())
    assert call.output("translate", "--checkpoint", str(last), stdin=INPUT.encode()) == by_role
    assert call.fault("translate", "--checkpoint", "7", stdin=b"0\n") == (
        1,
        f"runs/spell/checkpoints: no checkpoint 7; there: {last}",
    )


def test_the_same_from_python(folder: Path, call: Call) -> None:
    target = io.BytesIO()
    count = pipeline.translate(
        run=newest_run(), source=io.BytesIO(INPUT.encode()), target=target, batch_size=5
    )
    assert (count, target.getvalue()) == (8, call.output("translate", stdin=INPUT.encode()))
    translator = pipeline.load_translator(newest_run())
    assert translator(["0 1 2", "", "5 4 3"]) == [
        target.getvalue().decode().splitlines()[line] for line in (0, 1, 7)
    ]


# -------------------------------------------------------------------------------------------- bleu


def test_bleu_is_sacrebleus_own_on_the_saved_hypotheses(folder: Path, call: Call) -> None:
    found = json.loads(call.output("bleu", "--json"))
    hypotheses = Path(found["hypotheses"]).read_text().splitlines()
    references = Path("test.y").read_text().splitlines()
    assert call.output("translate", stdin=Path("test.x").read_bytes()).decode().splitlines() == (
        hypotheses
    )
    bleu = sacrebleu.corpus_bleu(hypotheses, [references])
    chrf = sacrebleu.corpus_chrf(hypotheses, [references])
    assert found["scores"]["bleu"]["value"] == pytest.approx(bleu.score, abs=1e-9)
    assert found["scores"]["chrf"]["value"] == pytest.approx(chrf.score, abs=1e-9)
    assert 0 < bleu.score < 100
    hits = sum(map(str.__eq__, hypotheses, references))
    assert found["scores"]["exact"]["value"] == 100 * hits / 40
    assert found["what"].startswith("runs/spell: test, 40 lines, update ")

    piped = json.loads(
        call.output("bleu", "test.y", "--json", stdin=Path(found["hypotheses"]).read_bytes())
    )
    assert piped["scores"] == found["scores"]
    assert call.output("bleu") == call.output(
        "bleu", "test.y", stdin=Path(found["hypotheses"]).read_bytes()
    )


def test_the_score_of_validation_is_the_one_that_training_has_logged(
    folder: Path, call: Call
) -> None:
    run = Run.open(Path("runs/spell"))
    logged = {e["update"]: e for e in run.read_events() if e["event"] == "validation"}
    best = run.checkpoints().best
    assert best is not None
    options = ("--split", "validation", "--search", "greedy", "--json")
    found = json.loads(call.output("bleu", *options))
    for metric in ("bleu", "chrf"):
        assert found["scores"][metric] == logged[best]["scores"][metric]
    assert run.checkpoints().best_score == found["scores"]["bleu"]["value"]
    *_, evaluation = run.read_events()
    assert (evaluation["event"], evaluation["split"]) == ("evaluation", "validation")
    assert evaluation["scores"] == found["scores"]


def test_confidence_intervals(folder: Path, call: Call) -> None:
    lines = call.output("bleu", "--confidence").decode().splitlines()
    for line in lines:
        assert re.match(r"\w+ = \d+\.\d\d \(μ = \d+\.\d\d ± \d+\.\d\d\)  nrefs:1\|", line)


def test_references_that_do_not_fit(folder: Path, call: Call) -> None:
    assert call.fault("bleu", "test.y", stdin=b"eins\n") == (
        2,
        "references: expected 1 lines, one per translation, found 40",
    )
    assert call.fault("bleu", "nope.y", stdin=b"eins\n")[0] == 2
    assert call.fault("bleu", "test.y", stdin=b"eins\n\xff\n") == (
        2,
        "<stdin>:2: not valid UTF-8 (byte 1 of the line is 0xff); 'iconv -f WINDOWS-1252 -t UTF-8 "
        "FILE > NEW' makes it UTF-8, if its encoding is WINDOWS-1252",
    )


# ----------------------------------------------------------------------------------- what was lost


def test_translating_needs_weights_and_tokenizer_alone(folder: Path, call: Call) -> None:
    expected = call.output("translate", stdin=INPUT.encode())
    run = folder / "runs" / "spell"
    shutil.rmtree(run / "data")
    for state in run.rglob("training.safetensors"):
        state.unlink()
    for name in ("train", "validation", "test"):
        Path(f"{name}.x").unlink()
    assert call.output("translate", stdin=INPUT.encode()) == expected
    assert call.fault("bleu") == (
        2,
        "runs/spell: its recipe has no test split, or data/ was deleted",
    )
    shutil.rmtree(run / "tokenizer")
    status, line = call.fault("translate", stdin=b"0\n")
    assert status == 1
    assert "tokenizer" in line


@pytest.mark.parametrize("content", ["truncated", "empty", "pickle", "another model", "renamed"])
def test_weights_that_are_not_the_models(folder: Path, call: Call, content: str) -> None:
    run = Run.open(Path("runs/spell"))
    step = run.resolve_checkpoint("best")
    path = run.folder / "checkpoints" / str(step) / "weights.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}  # not mapped
    match content:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-9])
        case "empty":
            path.write_bytes(b"")
        case "pickle":
            torch.save(tensors, path)
        case "another model":
            save_file({name: torch.zeros(2, 3) for name in tensors}, path)
        case "renamed":
            save_file({f"{name}.old": tensor for name, tensor in tensors.items()}, path)
    for command in ("translate", "bleu"):
        status, line = call.fault(command, stdin=b"0\n")
        assert status == 1
        assert re.search("truncated, or not written by s2s|belong to another model", line)


# ---------------------------------------------------------------------------- what cannot be begun


def test_another_recipe_in_a_run_that_was_trained(folder: Path, call: Call) -> None:
    status, line = call.fault("train", "recipe.yaml", "--set", "model.embeddings=24")
    assert (status, line) == (
        2,
        "runs/spell: trained with another recipe (model.embeddings: 20 -> 24); "
        "--set name=NEW starts a new run, --restart starts over in this folder",
    )
    short = ("--set", "model.embeddings=24", "--set", "train.max_updates=2")
    assert call("train", "recipe.yaml", *short, "--set", "name=new")[0] == 0
    assert Run.open(Path("runs/new")).recipe.model.embeddings == 24
    assert Run.open(Path("runs/spell")).recipe.model.embeddings == 20
    assert call("train", "recipe.yaml", *short, "--restart")[0] == 0
    assert Run.open(Path("runs/spell")).checkpoints().last == 2


def test_a_device_that_is_not_there(folder: Path, call: Call) -> None:
    for command in (("train", "recipe.yaml"), ("translate",), ("bleu",)):
        assert call.fault(*command, "--device", "tpu", stdin=b"0\n") == (
            2,
            "--device tpu: expected auto, cpu, cuda or cuda:N",
        )


BAD_DATA = [
    ("train.x", None, "train.x: no such file"),
    ("train.x", b"", "train.x has 0 lines but train.y has 400"),
    ("train.y", b"eins\n", "train.x has 400 lines but train.y has 1;"),
    ("validation.x", b"0\n\xc3(\n", "validation.x:2: not valid UTF-8"),
    ("recipe.yaml", None, "recipe.yaml: no such recipe"),
]


@pytest.mark.parametrize("command", ["prep", "train"])
@pytest.mark.parametrize(("name", "content", "message"), BAD_DATA, ids=[b[2] for b in BAD_DATA])
def test_bad_data_is_one_line(
    tmp_path: Path, monkeypatch, call: Call, command: str, name: str, content, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_example()
    Path(name).unlink()
    if content is not None:
        Path(name).write_bytes(content)
    status, line = call.fault(command)
    assert status == 2
    assert message in line


BAD_SETTINGS = [
    (["data.filters.max_length=1"], "train: none of 400 pairs is left (too long 400)"),
    (["tokenizer.kind=bpe", "tokenizer.vocabulary=9000"], "vocabulary"),
    (["tokenizer.kind=unigram", "tokenizer.vocabulary=9000"], "vocabulary"),
    (["tokenizer.kind=bpe", "tokenizer.vocabulary=8"], "vocabulary"),
    (["data.train.source=test.x", "data.train.target=validation.y"], "test.x has 40 lines"),
]


@pytest.mark.parametrize(
    ("settings", "message"), BAD_SETTINGS, ids=[" ".join(b[0]) for b in BAD_SETTINGS]
)
def test_settings_that_do_not_fit_the_data_are_one_line(
    tmp_path: Path, monkeypatch, call: Call, settings: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_example()
    overrides = [part for setting in settings for part in ("--set", setting)]
    status, line = call.fault("prep", *overrides)
    assert status == 2
    assert message in line
    assert not Path("runs/spell/data").exists()


# ---------------------------------------------------------------------------------- a real data set


def test_multi30k_is_prepared(tmp_path: Path, monkeypatch, call: Call) -> None:
    data = CORPORA / "multi30k"
    if not data.is_dir():
        pytest.skip(f"{data} is not here")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    call.output("recipes", "copy", "multi30k-de-en")
    settings = (
        f"data.dataset={data}",
        "data.splits.train='train[:500]'",
        "tokenizer.vocabulary=400",
    )
    _, out, err = call(
        "prep", *(part for s in settings for part in ("--set", s)), "--set", "name=m"
    )
    assert out == b""
    for figure in ("500", "1,014", "1,000", "vocabulary 400 → 400"):
        assert figure in err
    assert Run.open(Path("runs/m")).recipe.data.splits.train == "train[:500]"  # type: ignore[union-attr]

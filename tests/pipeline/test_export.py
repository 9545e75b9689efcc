"""An exported model gives the run's output, byte for byte, whatever reads it."""

import errno
import json
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

import s2s
from s2s import pipeline
from s2s.pipeline import exporting
from s2s.run import checkpoints
from s2s.run.directory import Run
from s2s.run.finding import find_run
from tests.commands import INPUT, Call, call, write_example

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread")

MADE = Path(__file__).parent.parent / "run" / "made_before"
SOURCE = INPUT.encode() + b"\n1 2 3 4 5 6 7\n6 4 0 1\n"

MODELS = {
    "luong": (),
    "untied": ("model.tied=none", "model.attention.kind=additive"),
    "bahdanau": ("model.decoder={kind: bahdanau, width: 24, layers: 2}", "model.coverage=true"),
    "conditional": ("model.decoder={kind: conditional, width: 24, layers: 2}",),
    "deep": ("model.encoder.transitions=2", "model.decoder.transitions=3"),
    "heads": ("model.attention={kind: additive, heads: 4}", "model.coverage=true"),
    "pieces": (
        "tokenizer={kind: bpe, vocabulary: 60}",
        "model.tied=all",
        "model.decoder={kind: stacked, width: 24}",
        "model.context_gate=true",
    ),
}
SEARCHES = {
    "greedy": ("--search", "greedy"),
    "beam": ("--beam", "4", "--nbest", "4"),
    "samples": ("--samples", "3", "--seed", "5"),
    "shortlist": ("--beam", "3", "--shortlist", "2", "--shortlist-frequent", "6", "--scores"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_example()
    return tmp_path


@pytest.fixture
def run(folder: Path, random_run: Any) -> Run:
    made: Run = random_run("one")
    return made


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_the_output_is_that_of_the_run(
    folder: Path, random_run: Any, call: Call, model: str, precision: Any
) -> None:
    run = random_run("one", *MODELS[model])
    call.output("shortlist", "--run", "one")
    path = "model" if model == "untied" else "model.s2s"
    call.output("export", "one", "-o", path, "--precision", precision)
    shutil.move("runs", "away")  # what is exported needs nothing of the run
    shutil.move("recipe.yaml", "away.yaml")
    for name, options in SEARCHES.items():
        exact = ("--precision", precision)
        ours = call.output("translate", "--run", "away/one", *options, *exact, stdin=SOURCE)
        given = call.output("translate", "--run", path, *options, stdin=SOURCE)
        assert given == ours, name
        assert ours.count(b"\n") >= SOURCE.count(b"\n")
        assert len(set(ours.splitlines())) > 4
    assert run.name == "one"


def test_scores_attention_and_ensembles_are_those_of_the_run(
    folder: Path, random_run: Any, call: Call
) -> None:
    random_run("one")
    random_run("two", "seed=5")
    call.output("export", "two", "-o", "two.s2s")
    for command in (
        ("score", "test.x", "test.y"),
        ("attention", "--input", "test.x", "--alignments"),
        ("translate", "--input", "test.x", "--run", "one"),
        ("translate", "--input", "test.x", "--prefix-file", "test.y"),
    ):
        found = {call.output(*command, "--run", name) for name in ("two", "two.s2s")}
        assert len(found) == 1, command
    outputs = call.output("translate", "--run", "two.s2s", "--input", "test.x", "--workers", "2")
    assert outputs == call.output("translate", "--run", "two", "--input", "test.x")
    scores = {
        call.output("evaluate", "test.y", "--run", name, stdin=outputs)
        for name in ("two", "two.s2s")
    }
    assert len(scores) == 1


@pytest.mark.parametrize("name", ["verbs", "captions"])
def test_models_with_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, name: str
) -> None:
    shutil.copytree(MADE, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    call.output("export", name, "-o", "model.s2s")
    options = ("--search", "beam", "--beam", "3") if name == "verbs" else ()
    source = Path(f"{name}.in").read_bytes()
    given = call.output("translate", "--run", "model.s2s", *options, stdin=source)
    assert given == Path(f"{name}.out").read_bytes()


def test_the_same_model_is_the_same_bytes(run: Run, call: Call) -> None:
    for precision in ("fp32", "int8"):
        call.output("export", "one", "-o", "first.s2s", "--precision", precision, "--force")
        call.output("export", "one", "-o", "again.s2s", "--precision", precision, "--force")
        call.output("export", "first.s2s", "-o", "copy.s2s", "--force")
        first = Path("first.s2s").read_bytes()
        assert Path("again.s2s").read_bytes() == first
        assert Path("copy.s2s").read_bytes() == first


def test_file_and_folder_have_the_same_content(run: Run, call: Call) -> None:
    call.output("export", "one", "-o", "model.s2s")
    call.output("export", "one", "-o", "model")
    with zipfile.ZipFile("model.s2s") as archive:
        there = {name: archive.read(name) for name in archive.namelist()}
    folder = {
        path.relative_to("model").as_posix(): path.read_bytes()
        for path in Path("model").rglob("*")
        if path.is_file()
    }
    assert there == folder
    assert sorted(there) == [
        *("README.md", "model.json", "model.safetensors", "recipe.yaml"),
        *("tokenizer/shared/vocabulary.json", "tokenizer/tokenizers.json"),
    ]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in Path("model").iterdir() if path.suffix}
    assert len(modes) == 1  # readable to colleagues, not to the owner alone


def test_nothing_private_is_exported(run: Run, call: Call) -> None:
    run.write_environment("cpu", 1)
    call.output("export", "one", "-o", "model")
    info = json.loads(Path("model/model.json").read_text())
    assert {"command", "platform", "processors"}.isdisjoint(info)
    assert str(Path.cwd()) not in "".join(
        path.read_text() for path in (Path("model/README.md"), Path("model/model.json"))
    )


def test_a_named_checkpoint_is_the_best_of_its_export(run: Run, call: Call) -> None:
    weights = {name: 0.5 * tensor for name, tensor in run.read_weights().items()}
    run.write_named("half", weights, {})
    call.output("export", "one", "-o", "half.s2s", "--checkpoint", "half")
    options = ("--beam", "3", "--scores")
    ours = call.output("translate", "--run", "one", "--checkpoint", "half", *options, stdin=SOURCE)
    for which in ("best", "last", "half"):
        chosen = ("--run", "half.s2s", "--checkpoint", which)
        assert call.output("translate", *chosen, *options, stdin=SOURCE) == ours
    status, line = call.fault("translate", "--run", "half.s2s", "--checkpoint", "7", stdin=b"0\n")
    assert (status, line.endswith("no checkpoint 7; there: half")) == (1, True)


def test_a_rounded_model_is_not_exported_in_another_precision(run: Run, call: Call) -> None:
    call.output("export", "one", "-o", "small.s2s", "--precision", "int8")
    assert call.fault("export", "small.s2s", "-o", "large.s2s", "--precision", "fp32") == (
        2,
        "small.s2s: its weights are in int8, so that fp32 would not be that of the run; export "
        "the run",
    )
    call.output("export", "one", "-o", "exact.s2s")
    call.output("export", "exact.s2s", "-o", "other.s2s", "--precision", "int8")
    assert Path("other.s2s").read_bytes() == Path("small.s2s").read_bytes()


# ------------------------------------------------------------------------------------- targets


def test_by_default_the_file_is_named_like_the_run(run: Run, call: Call) -> None:
    status, out, err = call("export", "one")
    assert (status, out) == (0, b"")
    assert err.startswith("s2s: one.s2s: update 1, ")
    assert find_run("one.s2s").name == "one"


def test_what_is_there_is_kept(run: Run, call: Call) -> None:
    Path("model.s2s").write_bytes(b"precious")
    Path("model").mkdir()
    Path("model/thesis.tex").write_text("precious")
    exists = "exists; --force replaces it, -o names another place"
    assert call.fault("export", "one", "-o", "model.s2s") == (2, f"model.s2s: {exists}")
    for force in ((), ("--force",)):
        assert call.fault("export", "one", "-o", "model", *force) == (
            2,
            "model: expected a free name, found something other than an exported model; nothing "
            "is replaced",
        )
        assert call.fault("export", "one", "-o", "runs/one", *force)[0] == 2
    Path("folder.s2s").mkdir()
    assert call.fault("export", "one", "-o", "folder.s2s", "--force")[0] == 2
    assert Path("model/thesis.tex").read_text() == "precious"
    assert Path("model.s2s").read_bytes() == b"precious"
    call.output("export", "one", "-o", "model.s2s", "--force")
    call.output("export", "one", "-o", "other")
    assert call.fault("export", "one", "-o", "other") == (2, f"other: {exists}")
    call.output("export", "one", "-o", "other", "--force")


@pytest.mark.parametrize("target", ["model.s2s", "model"])
def test_a_full_disk_leaves_the_old_model(run: Run, call: Call, target: str) -> None:
    call.output("export", "one", "-o", target)
    before = {p: p.read_bytes() for p in [Path(target), *Path(target).rglob("*")] if p.is_file()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = "s2s.run.model_file.sync_file" if target == "model.s2s" else "s2s.files.sync_tree"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, full)
        assert call.fault("export", "one", "-o", target, "--force") == (
            1,
            f"{target}: cannot write there: No space left on device",
        )
    assert {p: p.read_bytes() for p in before} == before
    assert not list(Path().glob(".tmp-*"))


def test_a_folder_that_does_not_exist_is_made_and_a_file_is_no_folder(run: Run, call: Call) -> None:
    call.output("export", "one", "-o", "new/place/model.s2s")
    assert find_run("new/place/model.s2s").is_exported
    assert call.fault("export", "one", "-o", "-")[0] == 2
    Path("file").write_text("")
    status, line = call.fault("export", "one", "-o", "file/model.s2s")
    assert status == 1
    assert line.startswith("file/model.s2s: cannot write there: ")


# ------------------------------------------------------------------------------ what it is not


def test_commands_that_write_into_runs_refuse_it(run: Run, call: Call) -> None:
    call.output("export", "one", "-o", "model.s2s")
    writes = "an exported model, to which no command writes"
    assert call.fault("average", "model.s2s") == (2, f"model.s2s: {writes}")
    assert call.fault("tune-search", "model.s2s") == (2, f"model.s2s: {writes}")
    assert call.fault("tune-rerank", "model.s2s") == (2, f"model.s2s: {writes}")
    status, line = call.fault("translate", "--run", "model.s2s", "--search", "rerank")
    assert (status, line.startswith("model.s2s: exported models have no weights")) == (2, True)
    status, line = call.fault("shortlist", "--run", "model.s2s")
    assert (status, line.startswith(f"model.s2s: {writes}")) == (2, True)
    for command in (("report", "model.s2s"), ("bench", "--run", "model.s2s")):
        status, line = call.fault(*command)
        assert (status, line.startswith("model.s2s: an exported model, ")) == (2, True)
    status, line = call.fault("bleu", "--run", "model.s2s")
    assert status == 2
    assert line.startswith("model.s2s: an exported model, which has no data; ")
    assert call.fault("translate", "--run", "model.s2s", "--shortlist", "3", stdin=b"0\n") == (
        2,
        "model.s2s: exported without a shortlist; search with --shortlist 0",
    )


def test_a_run_without_checkpoint_or_shortlist(folder: Path, random_run: Any, call: Call) -> None:
    from s2s.recipe.load import load_recipe

    random_run("short", "search.shortlist=3")
    status, line = call.fault("export", "short")
    assert (status, "none was learned" in line) == (2, True)
    pipeline.prepare(load_recipe(overrides=["name=new"]))
    status, line = call.fault("export", "new")
    assert (status, "no checkpoint yet" in line) == (1, True)
    assert not list(Path().glob("*.s2s"))


# ---------------------------------------------------------------------------------------- card


def test_the_card_states_scores_with_their_signatures(run: Run, call: Call) -> None:
    scores = json.loads(call.output("bleu", "--run", "one", "--json"))["scores"]
    options = ("--license", "cc-by-4.0", "--language", "de", "--language", "en")
    call.output("export", "one", "-o", "model", *options)
    card = Path("model/README.md").read_text()
    front, _, body = card.removeprefix("---\n").partition("\n---\n")
    from ruamel.yaml import YAML

    metadata = YAML(typ="safe").load(front)
    assert (metadata["license"], metadata["language"]) == ("cc-by-4.0", ["de", "en"])
    (result,) = metadata["model-index"][0]["results"]
    (bleu,) = (one for one in result["metrics"] if one["type"] == "bleu")
    assert bleu["value"] == round(scores["bleu"]["value"], 2)
    assert bleu["args"]["signature"] == scores["bleu"]["signature"]
    for score in scores.values():
        assert f"| {score['value']:.2f} |" in body
        assert score["signature"].replace("|", "\\|") in body
    assert "| train | 400 |" in body
    assert "cc-by-4.0" in body


@pytest.mark.parametrize(
    ("option", "value"), [("--license", "MIT Licence"), ("--language", "german!")]
)
def test_metadata_that_the_hub_does_not_know(run: Run, call: Call, option: str, value: str) -> None:
    status, line = call.fault("export", "one", option, value)
    assert (status, line.startswith(f"{option}: expected ")) == (2, True)


def test_the_same_from_python(run: Run) -> None:
    made = pipeline.export(run, Path("model.s2s"), exporting.ExportOptions(precision="bf16"))
    assert made.info.precision == "bf16"
    assert made.size == Path("model.s2s").stat().st_size
    translator = pipeline.load_translator(find_run("model.s2s"))
    search = translator.search
    assert search.precision == "bf16"
    assert s2s.load("model.s2s").translate("0 1 2") == translator(["0 1 2"])[0]
    assert translator(["0 1 2"]) == pipeline.load_translator(run, search=search)(["0 1 2"])
    assert checkpoints.Checkpoints(find_run("model.s2s").folder).resolve("best") == 1

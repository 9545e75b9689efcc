"""`s2s sweep`: every run is the one that `s2s train` makes, whatever happens in between."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s import pipeline
from s2s.errors import Interrupted, RecipeError, UsageError
from s2s.pipeline import sweeping
from s2s.pipeline.sweep_results import Sweep
from s2s.pipeline.sweeping import SweepOptions, sweep
from s2s.recipe.load import load_draft
from s2s.run.directory import Run
from tests.commands import HANGS

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 300, held_out: 12, filters: {max_dropped: 1.0}}
tokenizer: {kind: character}
model: {embeddings: 13, encoder: {width: 11}, decoder: {kind: luong, width: 17}}
train: {max_updates: 12, epochs: 10, batch_tokens: 300, precision: fp32, best: loss}
search: {kind: greedy, max_offset: 9}
metrics: [chrf]
"""

RATES = "train.optimizer.learning_rate=1e-2,3e-3"
NAMES = ["toy-learning_rate-1e-2", "toy-learning_rate-3e-3"]
CPU = SweepOptions(device="cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Path, Sweep]:
    """A folder with the runs of a sweep over two rates, and its result."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("recipe.yaml").write_text(RECIPE)
        return folder, sweep(Path("recipe.yaml"), [RATES], CPU)


@pytest.fixture
def swept(finished: tuple[Path, Sweep]) -> Sweep:
    """Those runs in the current folder."""
    shutil.copytree(finished[0] / "runs", "runs")
    return finished[1]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that train from here on."""
    names: list[str] = []
    train = sweeping.train

    def counted(draft: Any, **options: Any) -> Any:
        names.append(draft.name)
        return train(draft, **options)

    monkeypatch.setattr(sweeping, "train", counted)
    return names


def run_sweep(*overrides: str, options: SweepOptions = CPU, **more: Any) -> Sweep:
    return sweep(Path("recipe.yaml"), overrides or [RATES], options, **more)


def weights(name: str, runs: str = "runs") -> dict[str, torch.Tensor]:
    return Run(Path(runs) / name).read_weights("last")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def state(found: Sweep) -> list[str]:
    return [one.state for one in found.settings]


def test_a_setting_is_the_run_that_train_makes(swept: Sweep) -> None:
    assert [one.name for one in swept.settings] == NAMES
    for rate, name in zip(("1e-2", "3e-3"), NAMES, strict=True):
        draft = load_draft(None, [f"train.optimizer.learning_rate={rate}"])
        alone = Path(f"alone-{rate}")
        pipeline.train(draft, runs=alone, device="cpu")
        assert equal(weights(name), weights("toy", str(alone)))
    assert not equal(weights(NAMES[0]), weights(NAMES[1]))


def test_results_are_those_of_the_best_checkpoint(swept: Sweep) -> None:
    assert swept.metric == "loss" and state(swept) == ["finished", "finished"]
    for one in swept.settings:
        run = Run(Path(one.folder))
        events = [event for event in run.read_events() if event["event"] == "validation"]
        best = min(events, key=lambda event: event["nll"])
        assert one.best is not None and one.best.nll == best["nll"]
        assert one.score("chrf") == best["scores"]["chrf"]["value"]
        assert one.update == best["update"] == run.checkpoints().best
        saved = run.read_weights("best")
        # an average of weights is saved as the weights
        assert one.parameters == sum(weight.numel() for weight in saved.values())
        last = list(run.read_events())[-1]
        assert one.minutes == pytest.approx(last["seconds"] / 60)


def test_finished_runs_are_skipped_and_new_values_are_trained(
    swept: Sweep, trained: list[str]
) -> None:
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files if path.name != "hashes.json"}
    again = run_sweep()
    assert (trained, again) == ([], swept)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    more = run_sweep("train.optimizer.learning_rate=5e-3,1e-2,3e-3")
    assert trained == ["toy-learning_rate-5e-3"]
    assert more.settings[1:] == swept.settings


def test_a_longer_training_continues_and_other_recipes_are_refused(
    swept: Sweep, trained: list[str]
) -> None:
    longer = run_sweep(RATES, "train.max_updates=16", "train.schedule={kind: constant}")
    assert trained == NAMES
    # the schedule was chosen, and another one is another training
    assert state(longer) == ["failed", "failed"]
    assert "trained with another recipe (train.schedule" in (longer.settings[0].error or "")
    other = run_sweep(RATES, "model.embeddings=7")
    assert "model.embeddings: 13 -> 7" in (other.settings[1].error or "")
    assert [one.best for one in other.settings] == [one.best for one in swept.settings]


class Stop(Exception):
    """A power cut."""


def test_an_interrupted_sweep_continues_bit_for_bit(
    finished: tuple[Path, Sweep], trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during the second training; then a crash that no code sees."""
    from s2s.training.trainer import Trainer

    update, seen = Trainer._update, 0

    def stopped(trainer: Any) -> None:
        nonlocal seen
        seen += 1
        update(trainer)
        if seen == 12 + 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "_update", stopped)
    reports: list[Sweep] = []
    with pytest.raises(Interrupted):
        run_sweep(report=reports.append)
    assert state(reports[-1]) == ["finished", "begun"]
    assert trained == NAMES
    monkeypatch.setattr(Trainer, "_update", update)

    save, lost = Trainer._save, []

    def crash(trainer: Any, **options: Any) -> None:
        save(trainer, **options)
        lost.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_save", crash)
    with pytest.raises(KeyboardInterrupt):
        run_sweep()
    assert lost
    monkeypatch.setattr(Trainer, "_save", save)
    assert state(run_sweep(trains=False))[0] == "finished"
    done = run_sweep()
    assert state(done) == ["finished", "finished"]
    for name in NAMES:
        assert equal(weights(name), weights(name, str(finished[0] / "runs")))


@pytest.fixture
def prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps that prepare data and train nothing."""

    def prepare(draft: Any, *, runs: Path, **options: Any) -> None:
        report = pipeline.prepare(draft, runs=runs)
        assert report.choices == ()

    monkeypatch.setattr(sweeping, "train", prepare)


@pytest.mark.usefixtures("prepares")
def test_data_are_prepared_once_where_they_are_the_same() -> None:
    run_sweep("seed=1,2", "model.embeddings=5,6", "train.max_updates=1")
    files = {
        name: Path("runs", f"toy-{name}", "data", "train.arrow").stat().st_ino
        for name in ("seed-1-embeddings-5", "seed-1-embeddings-6", "seed-2-embeddings-5")
    }
    assert files["seed-1-embeddings-5"] == files["seed-1-embeddings-6"]
    assert files["seed-2-embeddings-5"] != files["seed-1-embeddings-5"]  # another tokenizer
    # Deleting or preparing one again leaves the others.
    other = Path("runs/toy-seed-1-embeddings-6")
    before = (other / "data/train.arrow").read_bytes()
    pipeline.prepare(load_draft(None, ["data.pairs=200", "name=fresh"]))
    shutil.rmtree("runs/toy-seed-1-embeddings-5")
    assert (other / "data/train.arrow").read_bytes() == before


@pytest.mark.usefixtures("prepares")
def test_the_recipes_own_run_lends_its_data() -> None:
    pipeline.prepare(load_draft())
    run_sweep(RATES, "train.max_updates=1")
    inodes = {(Path("runs") / name / "data/train.arrow").stat().st_ino for name in ("toy", *NAMES)}
    assert len(inodes) == 1


def test_changed_data_never_reach_a_trained_run(swept: Sweep) -> None:
    before = weights(NAMES[0])
    found = run_sweep(RATES, "data.pairs=200")
    assert state(found) == ["failed", "failed"]
    assert "data.pairs" in (found.settings[0].error or "")
    assert equal(weights(NAMES[0]), before)


def write_corpus(pairs: int) -> None:
    lines = [f"{number} und {number + 7}" for number in range(pairs)]
    for name, part in (("train", lines), ("valid", lines[:9])):
        Path(f"{name}.x").write_text("".join(f"{line}\n" for line in part))
        Path(f"{name}.y").write_text("".join(f"{line[::-1]}\n" for line in part))


FILES = """\
data:
  kind: files
  train: {source: train.x, target: train.y}
  validation: {source: valid.x, target: valid.y}
  filters: {max_dropped: 1.0}
"""


def test_a_file_that_changed_fails_a_finished_run_and_its_data_stay(trained: list[str]) -> None:
    Path("recipe.yaml").write_text(re.sub("data: .*\n", FILES, RECIPE))
    write_corpus(60)
    run_sweep(RATES, "train.max_updates=2")
    arrow = Path("runs", NAMES[0], "data", "train.arrow")
    before = arrow.read_bytes()
    write_corpus(80)
    found = run_sweep("train.optimizer.learning_rate=1e-3,1e-2", "train.max_updates=2")
    assert state(found) == ["finished", "failed"]
    assert "trained on data that has changed since" in (found.settings[1].error or "")
    assert arrow.read_bytes() == before
    new = Path("runs", "toy-learning_rate-1e-3", "data", "train.arrow")
    assert new.read_bytes() != before


def test_settings_differ_in_nothing_but_what_is_varied() -> None:
    """What the recipe leaves open is chosen once, also where the machine seems slower later."""
    text = "task: translation\nname: toy\ndata: {kind: generated, corpus: dates, pairs: 300}\n"
    Path("recipe.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        speeds = iter([1e-4, 1e-4, *[1e3] * 99])
        patch.setattr("s2s.tasks.defaults.choose.seconds_per_update", lambda *unused: next(speeds))
        patch.setattr(sweeping, "train", lambda draft, **options: None)
        run_sweep("train.optimizer.learning_rate=1e-2,2e-2,3e-2", "train.max_updates=1")
    recipes = [Run(path.parent).recipe for path in sorted(Path("runs").glob("*/recipe.yaml"))]
    assert len(recipes) == 3
    plain = {
        re.sub(r"learning_rate.*|name:.*", "", path.read_text())
        for path in Path("runs").glob("*/recipe.yaml")
    }
    assert len(plain) == 1
    assert "chosen:" in plain.pop()


def test_choices_are_made_for_each_tokenizer() -> None:
    text = "task: translation\nname: toy\ndata: {kind: generated, corpus: dates, pairs: 300}\n"
    Path("recipe.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "train", lambda draft, **options: None)
        run_sweep(
            "tokenizer={kind: character},{kind: unigram, vocabulary: 200}",
            "train.label_smoothing=0,0.1", "train.max_updates=1",
        )  # fmt: skip
    tokens: dict[str, set[int | str]] = {"character": set(), "unigram": set()}
    for path in Path("runs").glob("*/recipe.yaml"):
        recipe = Run(path.parent).recipe
        tokens[recipe.tokenizer.kind].add(recipe.train.batch_tokens)
    (characters,), (pieces,) = tokens.values()
    assert isinstance(characters, int) and isinstance(pieces, int)
    assert characters > pieces


def test_faulty_settings_are_listed_and_others_train(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(sweeping, "train", lambda draft, **options: names.append(draft.name))
    separate = "{kind: separate, source: {kind: character}, target: {kind: character}}"
    tokenizers = f"tokenizer={{kind: character}},{separate}"
    status, out, err = call("sweep", "--set", "model.tied=all,output", "--set", tokenizers)
    assert status == 1
    assert len(names) == 3 and not any("all-tokenizer-kind-separate" in name for name in names)
    (failed,) = [line for line in out.splitlines() if ": failed: " in line]
    fault = "--set model.tied: model.tied 'all' needs one tokenizer for both sides, not 'separate'"
    assert failed.endswith(f": failed: {fault}")
    assert err.index(fault) < err.index("setting 1 of 4")
    assert "s2s: 1 of 4 settings failed; the same command tries them again\n" in err


def test_a_diverged_training_does_not_stop_the_others(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    rates = "train.optimizer.learning_rate=1e9,1e-2"
    status, out, err = call(
        "sweep", "--set", rates, "--set", "train.max_updates=40", "--device", "cpu", "--json"
    )
    assert status == 1
    found = json.loads(out)
    good, bad = found["settings"]  # the best first
    assert (good["state"], bad["state"]) == ("finished", "failed")
    assert good["values"] == {"train.optimizer.learning_rate": "1e-2"}
    assert bad["error"].startswith("update 40: training diverged (loss ")
    assert (good["score"], bad["score"]) == (good["loss"], None)
    assert good["score"] == pytest.approx(found["settings"][0]["loss"])
    assert err.count("training diverged") == 1


def test_any_error_of_a_setting_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(draft: Any, **options: Any) -> None:
        if "1e-2" in draft.name:
            raise MemoryError("too\nlarge")

    monkeypatch.setattr(sweeping, "train", train)
    found = run_sweep()
    assert state(found) == ["failed", "finished"]
    assert found.lines()[-1] == f"runs/{NAMES[0]}: failed: MemoryError: too large"


def test_threads_of_one_training_are_not_those_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def train(draft: Any, **options: Any) -> None:
        seen.append(torch.get_num_threads())
        torch.set_num_threads(7)

    monkeypatch.setattr(sweeping, "train", train)
    run_sweep()
    assert seen == [1, 1] and torch.get_num_threads() == 1


@pytest.fixture
def held() -> Iterator[None]:
    """Another process that has the first run."""
    code = (
        "import sys, time; from pathlib import Path; from s2s.run.directory import Run\n"
        f"with Run(Path('runs/{NAMES[0]}')).lock():\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield
        process.kill()


@pytest.mark.usefixtures("held")
def test_a_run_of_another_process_is_left_to_it(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, err = call("sweep", "--set", RATES, "--device", "cpu")
    assert status == 0
    assert f"runs/{NAMES[0]} (in use)" in out
    assert "s2s: 1 of 2 are trained by another process" in err
    assert Run(Path("runs") / NAMES[1]).checkpoints().last is not None
    assert Run(Path("runs") / NAMES[0]).checkpoints().last is None


def test_ctrl_c_leaves_a_table_and_the_same_command_ends_the_work() -> None:
    text = RECIPE.replace("max_updates: 12", "max_updates: 4000").replace(
        "epochs: 10", "epochs: 999"
    )
    Path("recipe.yaml").write_text(text)
    command = [
        sys.executable,
        "-c",
        "from s2s_cli.main import main; main()",
        "sweep",
        "--set",
        RATES,
    ]
    process = subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    events = Path("runs", NAMES[0], "metrics.jsonl")
    began = time.monotonic()
    while not events.exists() and time.monotonic() - began < HANGS:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANGS)
    assert (process.returncode, out) == (130, b"")
    said = err.decode()
    assert f"runs/{NAMES[0]} (begun)" in said and "1 of 2 wait" in said
    assert "the same command resumes there" in said


def test_the_table_and_the_list(swept: Sweep, call: Callable[..., Any], trained: list[str]) -> None:
    wider = "train.optimizer.learning_rate=1e-2,3e-3,1e-4"
    status, out, err = call("sweep", "--set", wider, "--list")
    assert (status, err, trained) == (0, "", [])
    head, *rows = out.splitlines()
    assert head.split() == ["loss", "min", "parameters", "learning_rate", "run"]
    best = swept.ranked()
    assert [row.split()[4] for row in rows[:2]] == [one.folder for one in best]
    assert best[0].score("loss") < best[1].score("loss")  # type: ignore[operator]
    assert rows[2].split() == ["-", "-", "-", "1e-4", "runs/toy-learning_rate-1e-4", "(waiting)"]
    status, out, _ = call("sweep", "--set", wider, "--list", "--metric", "chrf", "--json")
    found = json.loads(out)
    scores = [one["score"] for one in found["settings"][:2]]
    assert found["metric"] == "chrf" and scores == sorted(scores, reverse=True)
    assert [one["state"] for one in found["settings"]] == ["finished", "finished", "waiting"]
    assert not Path("runs/toy-learning_rate-1e-4").exists()


def test_random_settings(trained: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "train", lambda draft, **options: None)
    values = ("seed=1,2,3,4,5", "model.embeddings=3,4,5,6")
    five = run_sweep(*values, options=SweepOptions(count=5, device="cpu"), trains=False)
    seven = run_sweep(*values, options=SweepOptions(count=7, device="cpu"), trains=False)
    assert [one.name for one in seven.settings[:5]] == [one.name for one in five.settings]
    other = run_sweep(*values, options=SweepOptions(count=5, seed=2, device="cpu"), trains=False)
    assert [one.name for one in other.settings] != [one.name for one in five.settings]


def test_what_cannot_be_swept(call: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="a sweep varies at least one field"):
        run_sweep("seed=1")
    with pytest.raises(RecipeError, match=r"--set sede: unknown key \(did you mean 'seed'"):
        run_sweep("sede=1,2")
    with pytest.raises(UsageError, match=r"--metric: expected one of .*bleu.*, found blue"):
        run_sweep(options=SweepOptions(metric="blue"))
    Path("recipe.yaml").write_text(
        re.sub("data: .*\n", FILES, RECIPE).replace("  validation", "  #")
    )
    with pytest.raises(UsageError, match="a sweep compares validation scores"):
        run_sweep()
    assert call("sweep")[::2] == (
        2, "s2s: error: sweep: expected --set A.B=X,Y,..., the values to compare\n"
    )  # fmt: skip
    assert not Path("runs").exists()


def test_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="not under torchrun"):
        run_sweep()


def test_a_recipe_with_a_base_is_swept(trained: list[str]) -> None:
    Path("own.yaml").write_text("base: recipe.yaml\nmodel: {embeddings: 9}\n")
    found = sweep(Path("own.yaml"), [RATES, "train.max_updates=1"], CPU)
    assert [one.name for one in found.settings] == [name.replace("toy", "own") for name in NAMES]
    assert state(found) == ["finished", "finished"]
    assert Run(Path(found.settings[0].folder)).recipe.model.embeddings == 9

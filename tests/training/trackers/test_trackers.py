"""Trackers follow a training and its resumption, and never end it.

TensorBoard, Weights & Biases (offline) and MLflow (a local database) are tested with the packages
themselves where they are installed; W&B and MLflow also with modules that record their calls.
"""

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from s2s import pipeline
from s2s.errors import Interrupted, RecipeError, UsageError
from s2s.recipe.load import dump_recipe, flat_fields, load_recipe
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.training.trackers.base import Tracked
from s2s.training.trackers.build import CLASSES, check_trackers
from s2s_cli.main import run as command_line
from tests.commands import HANGS
from tests.places import ROOT
from tests.training.toys import Listener, small_recipe, with_train, write_task

Points = dict[str, dict[int, float]]
"""The values of each curve by their updates."""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return small_recipe(write_task(tmp_path / "task"), validate_every=10, max_updates=30)


def train(recipe: Recipe, root: Path, **options: Any) -> tuple[Run, Listener]:
    listener = Listener()
    pipeline.train(recipe, runs=root, device="cpu", reporter=listener, **options)
    return Run.open(root / (recipe.name or "")), listener


def expected(run: Run) -> Points:
    """The curves by the run's own log, where a resumed training replaces later points."""
    found: Points = defaultdict(dict)
    for event in run.read_events():
        update = event["update"]
        if event["event"] == "update":
            for name, key in (
                ("loss", "smoothed"),
                ("nll", "nll"),
                ("gradient_norm", "gradient_norm"),
                ("learning_rate", "learning_rate"),
            ):
                found[f"train/{name}"][update] = event[key]
        elif event["event"] == "validation":
            found["validation/nll"][update] = event["nll"]
            found["validation/perplexity"][update] = event["perplexity"]
            for name, score in event["scores"].items():
                found[f"validation/{name}"][update] = score["value"]
    return dict(found)


def check(points: Points, run: Run) -> None:
    wanted = expected(run)
    assert set(wanted) <= set(points)
    extra = {"train/tokens_per_second", "train/epoch", "train/minutes"}
    assert set(points) - set(wanted) == extra
    for name, values in wanted.items():
        assert points[name] == pytest.approx(values, rel=1e-6), name


# -------------------------------------------------------------------------------------- TensorBoard


def read_tensorboard(run: Run) -> Points:
    accumulator: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(run.folder / "tensorboard"))
    found.Reload()
    points: Points = defaultdict(dict)
    for name in found.Tags()["scalars"]:
        for event in found.Scalars(name):
            assert event.step not in points[name]
            points[name][event.step] = event.value
    return dict(points)


def test_tensorboard_reads_the_curves_back(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run, listener = train(with_train(recipe, log_to=("tensorboard",)), tmp_path)
    check(read_tensorboard(run), run)
    assert len(listener.validations) == 3
    assert not [note for note in listener.notes if "warning" in note]


def test_a_resumed_training_continues_tensorboards_curves(recipe: Recipe, tmp_path: Path) -> None:
    """Also after a crash: points beyond the checkpoint come again, and count once."""
    pytest.importorskip("tensorboard")
    logged = with_train(recipe, log_to=("tensorboard",))
    run, _ = train(with_train(logged, max_updates=20), tmp_path)
    index = json.loads((run.folder / "checkpoints.json").read_text())
    run, _ = train(logged, tmp_path)
    assert set(read_tensorboard(run)["validation/nll"]) == {10, 20, 30}

    # The state of update 20 again, as if the updates to 30 had ended in a power cut.
    saved = tmp_path / "toy" / "checkpoints"
    fresh, _ = train(
        dataclasses.replace(with_train(logged, max_updates=20), name="again"), tmp_path
    )
    for path in (fresh.folder / "checkpoints").iterdir():
        if not (saved / path.name).exists():
            path.rename(saved / path.name)
    (run.folder / "checkpoints.json").write_text(json.dumps(index))
    before = read_tensorboard(run)["validation/nll"]
    train(logged, tmp_path)
    after = read_tensorboard(run)["validation/nll"]
    assert before == after
    events = list((run.folder / "tensorboard").iterdir())
    assert len(events) == 3


def test_a_restart_begins_new_curves(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    logged = with_train(recipe, log_to=("tensorboard",))
    run, _ = train(logged, tmp_path)
    (run.folder / "trackers.json").write_text('{"wandb": "old"}')
    short = with_train(logged, max_updates=10)
    run, _ = train(short, tmp_path, restart=True)
    assert set(read_tensorboard(run)["validation/nll"]) == {10}
    assert not (run.folder / "trackers.json").exists()


# ------------------------------------------------------------------------------------ fake packages


class FakeWandb(ModuleType):
    """Records what a training says to W&B."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.ended: list[int] = []
        self.axes: list[Any] = []
        self.points: Points = defaultdict(dict)
        self.Settings = lambda **settings: settings

    def init(self, **options: Any) -> Any:
        self.begun.append(options)
        return SimpleNamespace(
            id=options["id"] or "id-of-wandb",
            define_metric=lambda name, step_metric=None: self.axes.append((name, step_metric)),
            log=self.log,
            finish=self.finish,
        )

    def finish(self, *, exit_code: int) -> None:
        self.ended.append(exit_code)

    def log(self, values: dict[str, float]) -> None:
        update = int(values.pop("update"))
        for name, value in values.items():
            self.points[name][update] = value


class FakeMlflow:
    """Records what a training says to MLflow; stands for its client, entities and server."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        self.params: dict[str, str] = {}
        self.points: Points = defaultdict(dict)
        self.experiments: dict[str, str] = {}

    def install(self, patch: pytest.MonkeyPatch) -> None:
        client = SimpleNamespace(
            get_experiment_by_name=lambda name: (
                SimpleNamespace(experiment_id=self.experiments[name])
                if name in self.experiments
                else None
            ),
            create_experiment=lambda name: self.experiments.setdefault(name, "7"),
            create_run=self.create_run,
            update_run=lambda id_, status: self.status.update({id_: status}),
            set_terminated=lambda id_, status: self.status.update({id_: status}),
            log_batch=self.log_batch,
        )
        for name, members in (
            ("mlflow", {}),
            ("mlflow.tracking", {"MlflowClient": lambda: client}),
            (
                "mlflow.entities",
                {
                    "Param": lambda key, value: (key, value),
                    "Metric": lambda key, value, timestamp, step: (key, value, step),
                },
            ),
        ):
            module = ModuleType(name)
            vars(module).update(members)
            patch.setitem(sys.modules, name, module)

    def create_run(self, experiment: str, run_name: str) -> Any:
        assert experiment == "7"
        self.status[run_name] = "RUNNING"
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_batch(self, id_: str, metrics: Any = (), params: Any = ()) -> None:
        assert id_ in self.status
        assert len(params) <= 100
        self.params |= dict(params)
        for name, value, update in metrics:
            self.points[name][update] = value


def test_the_calls_to_wandb(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    logged = with_train(recipe, log_to=("wandb",))
    train(with_train(logged, max_updates=20), tmp_path)
    run, _ = train(logged, tmp_path)
    first, second = fake.begun
    assert (first["id"], second["id"]) == (None, "id-of-wandb")
    assert (first["project"], first["name"], first["resume"]) == ("mine", "toy", "allow")
    assert first["dir"] == str(run.folder)
    assert first["config"]["train.optimizer.learning_rate"] == 5e-3
    assert ("*", "update") in fake.axes
    assert fake.ended == [0, 0]
    check(dict(fake.points), run)


def test_the_calls_to_mlflow(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeMlflow()
    fake.install(monkeypatch)
    logged = with_train(recipe, log_to=("mlflow",))
    train(with_train(logged, max_updates=20), tmp_path)
    run, _ = train(logged, tmp_path)
    assert fake.experiments == {"s2s": "7"}
    assert fake.status == {"toy": "FINISHED"}
    fields = flat_fields(load_recipe(run.recipe_path))
    assert fake.params.keys() == fields.keys()
    assert fake.params["model.decoder.kind"] == "luong"
    check(dict(fake.points), run)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [(Interrupted("stopped", 15), 130, "KILLED"), (ValueError("bug"), 1, "FAILED")],
)
def test_trackers_hear_how_training_ended(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    status: str,
) -> None:
    wandb, mlflow = FakeWandb(), FakeMlflow()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    mlflow.install(monkeypatch)

    def stopped(*_: Any) -> None:
        raise error

    monkeypatch.setattr("s2s.training.trainer.Trainer._validate", stopped)
    with pytest.raises(type(error)):
        train(with_train(recipe, log_to=("wandb", "mlflow")), tmp_path)
    assert (wandb.ended, mlflow.status["toy"]) == ([code], status)
    last = list(Run.open(tmp_path / "toy").read_events())[-1]
    is_failure = status == "FAILED"
    assert (last["event"] == "failed") == is_failure
    assert last.get("reason") == ("bug" if is_failure else None)


# --------------------------------------------------------------------------------------- what fails


@pytest.mark.parametrize("when", ["init", "log", "finish"])
def test_a_tracker_that_fails_costs_one_warning(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The training is that without it, weight for weight, and the other tracker has everything."""
    fake, other = FakeWandb(), FakeMlflow()
    other.install(monkeypatch)

    def broken(*_: Any, **options: Any) -> Any:
        raise ConnectionError("no network\nat all")

    if when == "init":
        fake.init = broken  # type: ignore[method-assign]
    elif when == "log":
        fake.log = broken  # type: ignore[method-assign]
    else:
        opened = fake.init
        fake.init = lambda **o: SimpleNamespace(**{**vars(opened(**o)), "finish": broken})  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run, listener = train(with_train(recipe, log_to=("wandb", "mlflow")), tmp_path)
    (warning,) = (note for note in listener.notes if note.startswith("warning"))
    assert warning == (
        "warning: wandb failed (ConnectionError: no network at all); training goes on without it"
    )
    check(dict(other.points), run)
    plain, _ = train(dataclasses.replace(recipe, name="plain"), tmp_path)
    assert run.checkpoints() == plain.checkpoints()
    assert [e["nll"] for e in run.read_events() if e["event"] == "validation"] == [
        e["nll"] for e in plain.read_events() if e["event"] == "validation"
    ]


def test_the_time_a_tracker_takes_to_open_is_not_trainings(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a slow server would use up a budget."""
    fake = FakeWandb()
    opened, slept = fake.init, 3.0

    def slow(**options: Any) -> Any:
        time.sleep(slept)
        return opened(**options)

    fake.init = slow  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    began = time.monotonic()
    run, _ = train(with_train(recipe, log_to=("wandb",), max_updates=10), tmp_path)
    whole = time.monotonic() - began
    (end,) = (event for event in run.read_events() if event["event"] == "end")
    assert end["seconds"] <= whole - slept


MISSING = "s2s: error: train.log_to: wandb not installed; pip install wandb, or leave it out: "


def test_a_missing_package_is_one_line_before_anything_is_done(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """A folder of the package's name, which W&B itself makes, is no package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "wandb").mkdir()
    real = find_spec

    def found(name: str) -> Any:
        spec = real(name)
        return None if spec is not None and spec.origin is not None and name == "wandb" else spec

    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr("s2s.training.trackers.build.find_spec", found)
    Path("recipe.yaml").write_text(dump_recipe(with_train(recipe, log_to=("wandb",))))
    for command in ("check", "train"):
        assert command_line([command]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith(MISSING) and err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UsageError, match="pip install wandb"):
        check_trackers(("wandb",))


def test_only_named_trackers_are_imported(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    code = (
        "import sys; from s2s_cli.main import run; assert run(['train']) == 0; "
        f"print([name for name in {list(CLASSES)} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_field_may_change_after_training_has_begun(recipe: Recipe, tmp_path: Path) -> None:
    train(with_train(recipe, max_updates=10), tmp_path)
    pytest.importorskip("tensorboard")
    run, _ = train(with_train(recipe, log_to=("tensorboard",)), tmp_path)
    assert set(read_tensorboard(run)["validation/nll"]) == {20, 30}


def test_what_the_field_accepts(tmp_path: Path) -> None:
    path = ROOT / "recipes" / "quickstart.yaml"
    assert load_recipe(path).train.log_to == ()
    found = load_recipe(path, ["train.log_to=[tensorboard, mlflow]"])
    assert found.train.log_to == ("tensorboard", "mlflow")
    for value, fault in (("[comet]", "comet"), ("wandb", "log_to"), ("[mlflow, mlflow]", "twice")):
        with pytest.raises(RecipeError, match=fault):
            load_recipe(path, [f"train.log_to={value}"])


def test_ids_survive_damage(tmp_path: Path) -> None:
    tracked = Tracked(folder=tmp_path, name="x", fields={}, update=0)
    assert tracked.read_id("wandb") is None
    tracked.write_id("wandb", "a")
    tracked.write_id("mlflow", "b")
    assert (tracked.read_id("wandb"), tracked.read_id("mlflow")) == ("a", "b")
    (tmp_path / "trackers.json").write_text("[1")
    assert tracked.read_id("wandb") is None
    tracked.write_id("wandb", "c")
    assert tracked.read_id("wandb") == "c"


# -------------------------------------------------------------------------------- the real packages


def train_in_a_process(recipe: Recipe, folder: Path, **environment: str) -> Run:
    """Two trainings, the second of which resumes, each with `s2s train` in a process."""
    for updates in (20, 30):
        (folder / "recipe.yaml").write_text(dump_recipe(with_train(recipe, max_updates=updates)))
        code = "import sys; from s2s_cli.main import run; sys.exit(run(['train']))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS,
        )
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
    return Run.open(folder / "runs" / "toy")


def test_mlflow_itself(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy", reason="MLflow's local database needs it")
    pytest.importorskip("alembic", reason="MLflow's local database needs it")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logged = with_train(recipe, log_to=("mlflow",))
    run = train_in_a_process(logged, tmp_path, MLFLOW_TRACKING_URI=uri)
    points: Points = defaultdict(dict)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        for name, update, value in database.execute("select key, step, value from metrics"):
            assert update not in points[name]
            points[name][update] = value
        assert database.execute("select name, status from runs").fetchall() == [("toy", "FINISHED")]
    check(dict(points), run)


def test_wandb_itself(recipe: Recipe, tmp_path: Path) -> None:
    """Offline: its files hold the values, and both trainings have one id."""
    pytest.importorskip("wandb")
    logged = with_train(recipe, log_to=("wandb",))
    run = train_in_a_process(logged, tmp_path, WANDB_MODE="offline")
    id_ = json.loads((run.folder / "trackers.json").read_text())["wandb"]
    files = sorted((run.folder / "wandb").glob(f"offline-run-*-{id_}/run-{id_}.wandb"))
    assert len(files) == 2
    content = b"".join(path.read_bytes() for path in files)
    for name in expected(run):
        assert name.encode() in content

"""Readers of the JSON in the folders of runs."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.torture.mutations import changed_text
from tests.torture.target import Read, Target, always, files, texts

RUN = Path("runs/spell")


def _read_index() -> None:
    from s2s.run.checkpoints import Checkpoints
    from s2s.run.summary import summarize

    summarize(RUN).as_json()
    index = Checkpoints(RUN)
    for which in ("last", "best", 20):
        index.resolve(which)


def _read_events() -> None:
    from s2s.pipeline.averaging import _validations
    from s2s.run.directory import Run
    from s2s.run.history import read_history
    from s2s.run.summary import summarize

    history = read_history(Run(RUN).read_events())
    history.best_validation()
    json.dumps(summarize(RUN).as_json(), ensure_ascii=False).encode()
    _validations(Run(RUN))


def _read_charts() -> None:
    """What a report draws of a log. `logs` of `inputs` has whole pages, a few in a second."""
    from s2s.report import build_page
    from s2s.report.charts import part_norms, training_charts
    from s2s.run.directory import Run
    from s2s.run.history import read_history

    run = Run(RUN)
    history = read_history(run.read_events())
    for chart in training_charts(history):
        str(chart).encode()
    part_norms(history)
    build_page._logged(history)
    build_page._environment(run, history)


def _read_environment() -> None:
    from s2s.report import build_page
    from s2s.run.directory import Run
    from s2s.run.history import History

    run = Run.open(RUN)
    build_page._environment(run, History())


def _read_trackers() -> None:
    from s2s.training.trackers.base import Tracked

    tracked = Tracked(folder=Path(), name="spell", fields={}, update=1)
    for name in ("wandb", "mlflow"):
        tracked.read_id(name)
    tracked.write_id("wandb", "x")
    assert tracked.read_id("wandb") == "x"


def _read_hashes() -> None:
    import hashlib

    from s2s.data.sources import contents

    contents._known.clear()
    hashes = contents.Hashes(Path())
    assert hashes.of(Path("few")) == hashlib.sha256(Path("few").read_bytes()).hexdigest()
    contents._known.clear()
    hashes.of(Path("recipe.yaml"))


@contextmanager
def _defaults_reader() -> Iterator[Read]:
    """Values that were chosen for a recipe which does not say them."""
    from s2s.pipeline import defaults
    from s2s.recipe.load import load_draft
    from s2s.run.directory import Run

    draft = load_draft(Path("captions.yaml"))
    run = Run(Path("runs/cap"))

    def read() -> None:
        run._reasons()
        kept = defaults._read(run.folder)
        if kept is not None:
            run.text_of(defaults._completed(draft, kept[1])).encode()

    yield read


def _read_sweep_file() -> None:
    """Values chosen for the settings of a sweep."""
    from s2s.pipeline.defaults import read_choices
    from s2s.pipeline.sweeping import _read_json

    kept = _read_json(Path("guided.json"))
    for value in kept.values():
        read_choices(value)


def _sweep_seeds(folder: Path) -> list[bytes]:
    kept = json.loads((folder / "runs/cap/defaults.json").read_bytes())
    return [json.dumps({kept["key"]: kept["choices"]}).encode()]


def _read_report() -> None:
    from s2s.data.preparation.report import PrepareReport

    text = Path("runs/stored/data/report.json").read_text(encoding="utf-8")
    report = PrepareReport.from_json(text)
    report.lines()
    report.table()


def _record_seeds(folder: Path) -> list[bytes]:
    with zipfile.ZipFile(folder / "spell.s2s") as archive:
        (folder / "guided.model").mkdir(exist_ok=True)
        return [archive.read("model.json")]


def _read_record() -> None:
    from s2s.run.exported import read_info

    read_info(Path("guided.model"), "guided.model")


@contextmanager
def _note_reader() -> Iterator[Read]:
    """The note of an unfinished output, of which some lines exist."""
    from s2s.inference.resume import OutputFile, check_note, complete_part

    begun_with = {"model": {"checkpoint": 3, "runs": ["spell"]}, "search": [1]}
    output = Path("guided.out")

    def read() -> None:
        output.write_text("a\nb\nc")
        check_note(output, begun_with)
        with OutputFile(output) as file:
            done, rows = complete_part(file, output, begun_with, None)
        assert done.lines <= 2 and all(row.lines <= done.lines for row in rows)

    yield read


NOTE = (
    '{"format": 2, "model": {"checkpoint": 3, "runs": ["spell"]}, "search": [1]}\n'
    '[1, "0123456789abcdef0123456789abcdef"]\n[2, "00"]\n'
)
OLD_NOTE = '{\n "format": 1,\n "model": {"checkpoint": 3, "runs": ["spell"]},\n "search": [1]\n}\n'


def _json(name: str, path: str, read: Read, refusals: Any = None) -> Target:
    made = Target(name, path, files(path), always(read), changed_text)
    return made if refusals is None else made._replace(refusals=refusals)


RUN_TARGETS = (
    _json("indexes", "runs/spell/checkpoints.json", _read_index),
    _json("events", "runs/spell/metrics.jsonl", _read_events),
    _json("charts", "runs/spell/metrics.jsonl", _read_charts),
    _json("environments", "runs/spell/environment.json", _read_environment),
    Target(
        "trackers",
        "trackers.json",
        texts('{"wandb": "abc", "mlflow": "def"}'),
        always(_read_trackers),
        changed_text,
    ),
    Target("hashes", "hashes.json", files("runs/cap/hashes.json"), always(_read_hashes)),
    Target("defaults", "runs/cap/defaults.json", files("runs/cap/defaults.json"), _defaults_reader),
    Target(
        "sweeps",
        "guided.json",
        _sweep_seeds,
        always(_read_sweep_file),
        refusals=(KeyError, TypeError, ValueError),
    ),
    _json("reports", "runs/stored/data/report.json", _read_report, (ValueError, OSError)),
    Target("records", "guided.model/model.json", _record_seeds, always(_read_record), changed_text),
    Target("notes", "guided.out.resume", texts(NOTE, OLD_NOTE), _note_reader, changed_text),
)

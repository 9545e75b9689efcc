"""Progress of preparation: every stage has a total and ends with it."""

import gzip
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from s2s.data.preparation.prepare import prepare
from s2s.data.preparation.report import PrepareReport, SideReport, SplitReport
from s2s.data.sources.open import open_split
from s2s.data.sources.split import SPLITS
from s2s.pipeline import progress as module
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s_cli.options.common import write_wrapped

SOURCES = {
    "files": "{kind: files, train: {source: a.x, target: a.y}}",
    "gzip": "{kind: files, train: {source: a.x.gz, target: a.y.gz}}",
    "tsv": "{kind: files, train: {table: a.tsv}, columns: {source: x, target: y}}",
    "csv": "{kind: files, train: {table: a.csv}, columns: {source: '0', target: '1'}, "
    "header: false}",
    "jsonl": "{kind: files, train: {table: a.jsonl}, columns: {source: x, target: y}}",
    "parquet": "{kind: files, train: {table: a.parquet}, columns: {source: x, target: y}}",
    "dataset": "{kind: dataset, dataset: ./rows_of_progress, columns: {source: x, target: y}, "
    "splits: {validation: null, test: null}}",
    "generated": "{kind: generated, corpus: dates, pairs: 300, held_out: 20}",
    "several": "{kind: several, corpora: [{kind: files, train: {source: a.x, target: a.y}}, "
    "{kind: generated, corpus: dates, pairs: 300, held_out: 20}]}",
    "held out": "{kind: files, train: {source: a.x, target: a.y}, hold_out: {share: 0.3}}",
    "line breaks": "{kind: files, train: {table: b.csv}, columns: {source: x, target: y}}",
    "lists": "{kind: files, train: {table: b.jsonl}, columns: {source: x, target: y}}",
}
COUNT = 123
EXACT = {"several": COUNT + 300, "generated": 300}
INEXACT = ("held out", "line breaks", "lists")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = [(f"wort {i} so", f"word {i % 7} so") for i in range(COUNT)]
    for side, name in enumerate("xy"):
        lines = "\n".join(pair[side] for pair in pairs)  # the last line has no line end
        Path(f"a.{name}").write_text(lines)
        Path(f"a.{name}.gz").write_bytes(gzip.compress(lines.encode()))
    Path("a.tsv").write_text("x\ty\n" + "".join(f"{x}\t{y}\n" for x, y in pairs))
    Path("a.csv").write_text("".join(f"{x},{y}\n" for x, y in pairs))
    Path("b.csv").write_text("x,y\n" + "".join(f'"{x}\nund","{y}"\n' for x, y in pairs))
    rows = [{"x": x, "y": y} for x, y in pairs]
    Path("a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    listed = [{"x": x, "y": [y, y]} for x, y in pairs]
    Path("b.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in listed))
    table = pa.table({"x": [x for x, _ in pairs], "y": [y for _, y in pairs]})
    pa.parquet.write_table(table, "a.parquet")
    Path("rows_of_progress").mkdir()
    Path("rows_of_progress/train.jsonl").write_bytes(Path("a.jsonl").read_bytes())


def recipe(data: str) -> Recipe:
    Path("recipe.yaml").write_text(f"task: translation\ndata: {data}\ntokenizer: {{kind: word}}\n")
    return load_recipe()


@pytest.mark.parametrize("name", SOURCES)
def test_the_expected_pairs_are_those_that_are_read(name: str) -> None:
    data = recipe(SOURCES[name]).data
    for split in SPLITS:
        opened = open_split(data, split)
        if opened is None:
            continue
        read = sum(len(chunk.source) for chunk in opened.chunks())
        expected = opened.expected()
        if name in INEXACT:
            assert expected is not None and 0.4 < read / expected < 2.1
        else:
            assert expected == read
        if split == "train" and name not in INEXACT:
            assert read == EXACT.get(name, COUNT)


@pytest.mark.parametrize("name", SOURCES)
def test_every_stage_has_a_total_and_ends_with_it(name: str, tmp_path: Path) -> None:
    calls: dict[str, list[tuple[int, int | None]]] = {}

    def record(stage: str, done: int, total: int | None) -> None:
        calls.setdefault(stage, []).append((done, total))

    report = prepare(recipe(SOURCES[name]), tmp_path / "run", progress=record)
    encoded = {f"encoding {split}": counts.read for split, counts in report.splits.items()}
    stages = {"reading": report.splits["train"].read, "training the tokenizer": 1, **encoded}
    assert set(calls) == set(stages)
    for stage, count in stages.items():
        assert calls[stage][-1] == (count, count)
        assert calls[stage][0][1] is not None or name in INEXACT
        done = [one for one, _ in calls[stage]]
        assert done == sorted(done)
        assert all(total is None or one <= total for one, total in calls[stage])


def plain(monkeypatch, seconds: float, calls: list[tuple[float, str, int, int | None]]) -> str:
    """The lines of these calls, each at its time."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setenv(module.SECONDS_VARIABLE, str(seconds))
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with module.progress() as callback:
        for moment, stage, done, total in calls:
            now[0] = moment
            callback(stage, done, total)
    return stream.getvalue()


def test_a_stage_with_lines_ends_with_one(monkeypatch) -> None:
    calls: list[tuple[float, str, int, int | None]] = [
        (0.1, "short", 0, 5),
        (0.2, "short", 5, 5),
        (12.0, "long", 1000, 4000),
        (13.0, "long", 2000, 4000),
        (14.0, "long", 4000, 4000),
        (15.0, "step", 0, 1),
        (30.0, "step", 1, 1),
        (50.0, "unknown", 7, None),
    ]
    assert plain(monkeypatch, 10.0, calls) == (
        "long: 1,000 of 4,000 (25%)\nlong: 4,000 of 4,000 (100%)\nstep: done\nunknown: 7\n"
    )
    every = plain(monkeypatch, 0.0, calls).splitlines()
    assert len(every) == len(calls)
    assert plain(monkeypatch, 1e9, calls) == ""


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_report_breaks_no_word(capfd, width: int, splits: int) -> None:
    """Its words are the same at every width, also beside a single split."""
    from rich.console import Console

    side = SideReport(tokens=12_345_678, unknown=5, lengths=(12, 25, 48, 1250), cut=3, cut_tokens=9)
    dropped = {"too long": 34_561, "in validation or test": 3}
    split = SplitReport(
        read=1_234_567,
        kept=1_200_003,
        dropped=dropped,
        line_breaks=0,
        in_train=2,
        source=side,
        target=side,
        sources_in_train=4,
    )
    report = PrepareReport(
        splits=dict.fromkeys(("train", "validation", "test")[:splits], split),
        source_vocabulary=8000,
        target_vocabulary=8000,
        seconds=12.3,
    )

    def words(columns: int) -> list[str]:
        stream = io.StringIO()
        Console(file=stream, width=columns).print(report.table())
        table = stream.getvalue()
        assert max(map(len, table.splitlines())) <= columns
        return sorted(re.findall(r"[^\s─━│┃┏┓┗┛┡┩╇┳┴└┘]+", table))

    assert words(width) == words(400)
    for line in report.lines():
        write_wrapped(line, width)
    err = capfd.readouterr().err
    assert max(map(len, err.splitlines())) <= width
    assert err.split() == " ".join(report.lines()).split()

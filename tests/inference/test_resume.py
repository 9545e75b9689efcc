"""A filter that is interrupted at any time resumes to the file it would have written."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from s2s.errors import DataError, S2sError, UsageError
from s2s.inference.nbest import NbestOptions, Output, format_outputs
from s2s.inference.resume import Done, OutputFile, count_lines, count_listed, note_path
from s2s.inference.stream import StreamContext, respond_stream
from s2s.inference.translator_factory import TranslatorFactory
from s2s.nn.model import Seq2Seq
from s2s.pipeline import translation as pipeline_filter
from s2s.pipeline.translation import Files, translate_files
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch
from s2s.run.directory import Run
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import Words
from tests.commands import HANGS, Call, call

__all__ = ["call"]

RECIPE = """\
task: translation
name: toy
data: {kind: files, train: {source: x, target: y}, filters: {max_length: 9}}
tokenizer: {kind: word}
model: {embeddings: 10, encoder: {width: 6}, decoder: {kind: luong, width: 14}}
train: {epochs: 1}
search: {kind: beam, width: 3, max_offset: 3}
"""
LINES = ["a b c", "", "b", "c c a b", "unknown a", "b a", " ", "a", "c b", "b b b b b", "a c"]


@pytest.fixture(autouse=True)
def caught_signals() -> Iterator[None]:
    """Catch signals, which a shell and nohup ignore for tests in the background."""
    wanted = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights, whose outputs are arbitrary and many."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "recipe.yaml").write_text(RECIPE)
    run = Run.create(load_recipe(folder / "recipe.yaml"), folder / "runs")
    words = Words(["a", "b", "c", "zwei", "ä"])
    TokenizerPair(words, words).save(run.tokenizer_folder)
    torch.manual_seed(5)
    model = Seq2Seq(run.recipe.model, words.size, words.size)
    with torch.no_grad():
        model.output.weight.mul_(5.0)
    run.write_checkpoint(7, dict(model.named_parameters()))
    with torch.no_grad():
        model.output.weight.mul_(1.1)
    run.write_checkpoint(8, dict(model.named_parameters()), score=1.0, is_best=True)
    run.write_checkpoint(9, {n: p * 1.1 for n, p in model.named_parameters()})
    (folder / "in").write_text("\n".join(LINES))
    return folder


@pytest.fixture
def here(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(run_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path / "here"
    torch.set_num_threads(threads)


FILES = ("translate", "--run", "toy", "--input", "in", "--output", "out", "--batch-size", "4")

KINDS = [
    ["--search", "greedy"],
    ["--samples", "3", "--seed", "2"],
    ["--search", "sample", "--temperature", "2"],
    ["--nbest", "3", "--format", "jsonl"],
]


@pytest.mark.parametrize("options", KINDS, ids=" ".join)
def test_what_was_begun_is_ended_as_in_one_go(here: Path, call: Call, options: list[str]) -> None:
    call.output(*FILES, *options)
    whole = Path("out").read_bytes()
    assert not note_path(Path("out")).exists()
    for size in (0, len(whole) // 3, len(whole) - 4):
        Path("out").write_bytes(whole[:size])
        assert call.output(*FILES, *options, "--resume") == b""
        assert Path("out").read_bytes() == whole, size


@pytest.mark.parametrize("listing", [None, NbestOptions(2, "tsv"), NbestOptions(2, "jsonl")])
def test_from_every_byte_on_it_becomes_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: NbestOptions | None
) -> None:
    """With outputs that depend on the place of the line in the input, as samples do."""
    # There is no run whose task could be read.
    monkeypatch.setattr("s2s.pipeline.translation.check_use", lambda *_, **__: None)

    def stream(loaded, source, target, *, context, **_) -> int:
        def respond(lines: list[str], first: int) -> list[str]:
            texts = [f"{line.upper()}{place}ä" for place, line in enumerate(lines, start=first)]
            if listing is None:
                return texts
            return [
                format_outputs([Output(text, -1.0, -1.0, 1, "finished")] * 2, place, listing.form)
                for place, text in enumerate(texts, start=first + 1)
            ]

        return respond_stream(source, target, respond, 2, False, context=context)

    monkeypatch.setattr("s2s.inference.translate_stream.stream", stream)
    monkeypatch.setattr("s2s.inference.load.load_ensemble", lambda *_, **__: None)
    monkeypatch.setattr(TranslatorFactory, "fingerprint", lambda _: {"one": 1})
    monkeypatch.setattr(pipeline_filter, "_check_features", lambda *_: None)  # there is no run
    monkeypatch.setattr(pipeline_filter, "write_note", lambda *_: None)  # waits for the disk
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("\n".join(LINES[:4]))

    def run(*, resume: bool) -> bytes:
        count = translate_files(
            [Run(tmp_path)],
            Files(source=source, target=target, resume=resume),
            search=BeamSearch(kind="beam"),
            listing=listing,
        )
        assert count == 4
        return target.read_bytes()

    whole = run(resume=False)
    assert whole.count(b"\n") == (4 if listing is None else 8)
    for size in range(len(whole) + 1):
        target.write_bytes(whole[:size])
        assert run(resume=True) == whole, size


def test_of_a_listing_the_lines_are_counted_that_are_complete() -> None:
    rows = [(1, "a"), (1, "b"), (2, ""), (3, "c"), (3, "d" * 70_000), (3, "e")]
    tsv = "".join(f"{line}\t1\t{text}\n" for line, text in rows).encode()
    jsonl = "".join(json.dumps({"line": line, "text": text}) + "\n" for line, text in rows)
    for form, content in (("tsv", tsv), ("jsonl", jsonl.encode())):
        ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
        for size in [0, 1, *ends, *(end - 1 for end in ends)]:
            complete = [row for row, end in zip(rows, ends, strict=True) if end <= size]
            lines = max((line for line, _ in complete), default=1) - 1
            kept = sum(line <= lines for line, _ in complete)
            found = count_listed(io.BytesIO(content[:size]), form, "out")
            assert found == Done(lines, ends[kept - 1] if kept else 0)


def test_lines_are_counted_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.inference.resume.CHUNK", 3)
    text = b"ab\n\ncdefghij\nk"
    for size in range(len(text) + 1):
        part = text[:size]
        assert count_lines(io.BytesIO(part)) == Done(part.count(b"\n"), part.rfind(b"\n") + 1)


def test_without_a_file_it_begins_and_with_a_complete_one_nothing_is_left(
    here: Path, call: Call
) -> None:
    assert call(*FILES, "--resume")[0] == 0
    whole = Path("out").read_bytes()
    assert whole.count(b"\n") == len(LINES)
    assert call(*FILES, "--resume")[2] == (
        "s2s: out: 11 lines exist; without a record of the model, the options and the input\n"
    )
    assert Path("out").read_bytes() == whole


def test_what_cannot_be_gone_on_with_is_one_line(here: Path, call: Call) -> None:
    assert call.fault("translate", "--run", "toy", "--resume", stdin=b"a\n") == (
        2,
        "--resume completes a file; name it with --output",
    )
    Path("out").write_text("x\n" * 12)
    status, _, err = call(*FILES, "--resume")
    assert status == 2
    assert err.splitlines()[-1] == (
        "s2s: error: out: it has the output of 12 lines, but the input has 11; is it another input?"
    )
    assert Path("out").read_text() == "x\n" * 12
    assert call.fault(*FILES, "--resume", "--scores") == (
        2,
        "out: expected scored outputs (tsv) to resume, found the row 'x'",
    )
    Path("out").write_text("1\tx\n5\ty\n")
    assert call.fault(*FILES, "--resume", "--scores") == (
        2,
        "out: a row of line 1 comes before one of line 5",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam", "4"], "search.width: 3 -> 4"),
        (["--search", "greedy"], "search.kind: beam -> greedy"),
        (["--scores"], "listing.form: none -> tsv"),
        (["--checkpoint", "last"], "models: ['toy "),
    ],
)
def test_two_models_or_searches_are_never_mixed(
    here: Path, call: Call, options: list[str], message: str
) -> None:
    stop_after(2, call)
    before = Path("out").read_bytes()
    assert before.count(b"\n") == 8
    status, line = call.fault(*FILES, *options, "--resume")
    assert status == 2
    assert line.startswith("out: begun with something else (")
    assert message in line
    assert Path("out").read_bytes() == before
    assert call(*FILES, "--resume")[0] == 0
    assert Path("out").read_bytes().startswith(before)
    assert not note_path(Path("out")).exists()


def stop_after(windows: int, call: Call, *options: str) -> str:
    """Translate to a disk that is full after some windows of four lines; returns the message."""
    original, count = OutputFile.write, 0

    def write(self, data):
        nonlocal count
        count += 1
        if count > windows:
            raise OSError(28, "No space left on device")
        return original(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutputFile, "write", write)
        _, _, err = call(*FILES, *options)
        return err.splitlines()[-1].removeprefix("s2s: error: ")


def test_a_full_disk_is_one_line_and_leaves_whole_lines(here: Path, call: Call) -> None:
    assert stop_after(1, call) == (
        "cannot write the output: No space left on device; 4 lines are done; "
        "the same command with --resume completes out"
    )
    assert Path("out").read_bytes().count(b"\n") == 4
    status, _, err = call("translate", "--run", "toy", "--input", "in", "--output", "/dev/full")
    assert (status, err.splitlines()[-1]) == (
        1,
        "s2s: error: cannot write the output: No space left on device; 0 lines are done",
    )


def test_a_write_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with OutputFile(path) as file, pytest.raises(S2sError, match=r"large; 2 lines are done; x"):
            respond_stream(
                io.BytesIO(b"one\ntwo\nthree\nfour\n"),
                file,
                lambda lines, _: lines,
                2,
                False,
                context=StreamContext(advice=lambda done: "x"),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"one\ntwo\n"


def test_the_process_stops_and_another_one_ends_the_file(here: Path, call: Call) -> None:
    """As typed; the input is an open pipe, so the first command has to be interrupted."""
    os.mkfifo("fifo")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", "from s2s_cli.main import main; main()"]
    options = ["translate", "--run", "toy", "--output", "out", "--batch-size", "2"]
    text = "\n".join(LINES).encode()
    command = [*program, *options, "--input", "fifo"]
    with (
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process,
        Path("fifo").open("wb", buffering=0) as pipe,
    ):
        pipe.write(text + b"\n")
        while not Path("out").exists() or Path("out").read_bytes().count(b"\n") < 10:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=HANGS)
    assert process.returncode == 143
    assert err.decode().splitlines()[-1] == (
        "s2s: interrupted: 10 lines are done; the same command with --resume completes out"
    )
    part = Path("out").read_bytes()
    assert part.count(b"\n") == 10
    assert call.output(*options, "--input", "in", "--resume") == b""
    found = Path("out").read_bytes()
    assert found.startswith(part)
    assert found == call.output("translate", "--run", "toy", "--input", "in")


# -------------------------------------------------------------------------- files and streams


def test_an_output_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere/out: cannot write it: No such file or directory"):
        OutputFile(tmp_path / "nowhere" / "out")
    with pytest.raises(UsageError, match="Is a directory"):
        OutputFile(tmp_path)


@pytest.mark.parametrize(
    ("closed", "message"),
    [
        ("stdin", "stdin is closed; --input FILE stands in for it"),
        ("stdout", "stdout is closed; --output FILE stands in for it"),
    ],
)
def test_a_stream_that_is_closed_is_one_line(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, closed: str, message: str
) -> None:
    monkeypatch.setattr(f"sys.{closed}", None)
    source = None if closed == "stdin" else run_folder / "in"
    with pytest.raises(DataError, match=message):
        translate_files([Run.open(run_folder / "runs" / "toy")], Files(source=source))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "null", '"x"', "[]", "9" * 5000])
def test_rows_with_numbers_that_are_none_are_refused(number: str) -> None:
    rows = f'{{"line": 1}}\n{{"line": {number}}}\n'
    with pytest.raises(DataError, match=r"expected scored outputs \(jsonl\) to resume, found the"):
        count_listed(io.BytesIO(rows.encode()), "jsonl", "out")

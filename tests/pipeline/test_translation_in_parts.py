"""Several processes write the file that one writes, whichever of them are lost."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch

from s2s.errors import DataError, Interrupted, UsageError
from s2s.inference import byte_ranges
from s2s.inference.glossary import Glossary
from s2s.inference.line_constraints import LineConstraintsReader
from s2s.inference.nbest import NbestOptions
from s2s.inference.parts import Parts, parts_folder
from s2s.inference.resume import note_path
from s2s.inference.signals import SignalHandler
from s2s.nn.model import Seq2Seq
from s2s.pipeline import range_translation, translation_in_parts
from s2s.pipeline.translation import Files, translate_files
from s2s.recipe.load import load_recipe
from s2s.recipe.search import BeamSearch, SampleSearch
from s2s.run.directory import Run
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import Words
from s2s.training.distributed.process_group import WorkerLost
from tests.commands import HANGS, Call, call
from tests.inference.test_resume import LINES, RECIPE

__all__ = ["call"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights, whose outputs are arbitrary and many."""
    found = tmp_path_factory.mktemp("parts")
    (found / "recipe.yaml").write_text(RECIPE)
    run = Run.create(load_recipe(found / "recipe.yaml"), found / "runs")
    words = Words(["a", "b", "c", "zwei", "ä"])
    TokenizerPair(words, words).save(run.tokenizer_folder)
    torch.manual_seed(5)
    model = Seq2Seq(run.recipe.model, words.size, words.size)
    with torch.no_grad():
        model.output.weight.mul_(5.0)
    run.write_checkpoint(8, dict(model.named_parameters()), score=1.0, is_best=True)
    return found


@pytest.fixture
def here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> Iterator[Run]:
    """The run, an input of ranges of twelve bytes, and nothing that waits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(byte_ranges, "LEAST_BYTES", 12)
    for name in ("sync_file", "sync_folder"):
        monkeypatch.setattr(f"s2s.inference.parts.{name}", lambda path: None)
    monkeypatch.setattr(range_translation, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(translation_in_parts, "POLL_SECONDS", 0.001)
    Path("in").write_text("\n".join(LINES))
    Path("prefixes").write_text("\n".join((["", "a", "zwei b"] * 4)[:-1]))
    Path("terms").write_text("b\tzwei\n")
    return Run.open(folder / "runs" / "toy")


class Threads:
    """Groups of threads in place of processes."""

    def __init__(self, size: int) -> None:
        self.size = self.local_world_size = size
        self.is_launched = True
        self.changed = threading.Condition()
        self.rounds: dict[int, dict[int, object]] = {}
        """The values of each rank, by the number of the gathering."""
        self.has_lost = False
        self.own = threading.local()

    @property
    def rank(self) -> int:
        return int(self.own.rank)

    def all_gather(self, value: object) -> list[object]:
        with self.changed:
            values = self.rounds.setdefault(self.own.round, {})
            self.own.round += 1
            values[self.rank] = value
            self.changed.notify_all()
            self.changed.wait_for(lambda: len(values) == self.size or self.has_lost)
            if len(values) < self.size:
                raise WorkerLost("gone")
            return [values[rank] for rank in range(self.size)]

    def run(self, work: Callable[[], int]) -> list[int | BaseException]:
        """What the work of each rank returns or raises."""
        found: list[int | BaseException] = [0] * self.size

        def one(rank: int) -> None:
            self.own.rank, self.own.round = rank, 0
            try:
                found[rank] = work()
            except BaseException as error:
                found[rank] = error
                with self.changed:
                    self.has_lost = True
                    self.changed.notify_all()

        threads = [
            threading.Thread(target=one, args=(rank,), name=str(rank)) for rank in range(self.size)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def together(
    patch: pytest.MonkeyPatch, size: int, run: Run, resume: bool = False, **options: object
) -> list[int | BaseException]:
    """Translate with so many ranks; `options` may be made for each."""
    group = Threads(size)

    @contextmanager
    def launched(device: str) -> Iterator[tuple[Threads, str]]:
        yield group, device

    def work() -> int:
        made = {name: one() if callable(one) else one for name, one in options.items()}
        files = Files(source=Path("in"), target=Path("out"), resume=resume)
        return translate_files([run], files, device="cpu", **made)  # type: ignore[arg-type]

    with patch.context() as context:
        context.setattr(translation_in_parts, "launched", launched)
        context.setattr(translation_in_parts, "is_launched", lambda: True)
        # Signals reach the main thread alone.
        context.setattr(
            translation_in_parts, "handle_signals", lambda: nullcontext(SignalHandler())
        )
        return group.run(work)


def alone(run: Run, **options: object) -> bytes:
    made = {name: one() if callable(one) else one for name, one in options.items()}
    files = Files(source=Path("in"), target=Path("whole"))
    assert translate_files([run], files, device="cpu", **made) == len(LINES)  # type: ignore[arg-type]
    return Path("whole").read_bytes()


KINDS: dict[str, dict[str, object]] = {
    "beam": {},
    "samples": {
        "search": SampleSearch(kind="sample", samples=2, max_offset=4, seed=3),
        "listing": NbestOptions(2, "jsonl"),
    },
    "n-best": {"listing": NbestOptions(3, "tsv")},
    "prefixes": {"line_constraints": lambda: LineConstraintsReader(prefixes=Path("prefixes"))},
    "glossary": {
        "glossary": lambda: Glossary.read(Path("terms")),
        "search": BeamSearch(kind="beam", width=4, max_offset=6),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_several_write_what_one_writes(
    here: Run, monkeypatch: pytest.MonkeyPatch, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = alone(here, **KINDS[kind])
    reports = [line for line in capfd.readouterr().err.splitlines() if " of the input" in line]
    Path("out").write_text("old")
    assert together(monkeypatch, 3, here, **KINDS[kind]) == [len(LINES)] * 3
    assert Path("out").read_bytes() == expected
    assert not parts_folder(Path("out")).exists()
    found = capfd.readouterr().err.splitlines()
    assert [line for line in found if " of the input" in line] == reports  # one sums them up
    assert len(reports) == 1
    if kind == "glossary":
        assert len([line for line in found if "glossary: the outputs have" in line]) == 1


def stop_after(patch: pytest.MonkeyPatch, ranges: int) -> pytest.MonkeyPatch:
    """Have all processes stop once so many ranges are done."""
    original = range_translation.RangeTranslation._translate

    def translate(self, lines, index) -> None:
        if self.parts.count - len(self.parts.missing()) >= ranges:
            raise KeyboardInterrupt
        original(self, lines, index)

    patch.setattr(range_translation.RangeTranslation, "_translate", translate)
    return patch


def stopped(patch: pytest.MonkeyPatch, run: Run, ranges: int = 2, **options: object) -> list[str]:
    """The names of the parts that a stopped command of two processes leaves."""
    with patch.context() as context:
        first, second = together(stop_after(context, ranges), 2, run, **options)
    assert isinstance(first, Interrupted)
    assert isinstance(second, SystemExit)
    assert (first.exit_status, second.code) == (130, 130)
    parts = sorted(parts_folder(Path("out")).glob("*/*.part"))
    message = r"interrupted: \d of 5 ranges are done; the same command with --resume completes out"
    assert re.fullmatch(message, str(first))
    return [path.name for path in parts]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_another_number_of_processes_completes_what_was_stopped(
    here: Run, monkeypatch: pytest.MonkeyPatch, size: int, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = alone(here)
    parts = stopped(monkeypatch, here)
    assert 0 < len(parts) < 5
    times = {path: path.stat().st_mtime_ns for path in Path().glob("out.parts/*/*.part")}
    done: set[int] = set()
    original = range_translation.RangeTranslation._translate

    def translate(self, lines, index) -> None:
        done.add(index)
        original(self, lines, index)

    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(range_translation.RangeTranslation, "_translate", translate)
        if size == 1:  # not even torchrun is needed
            files = Files(source=Path("in"), target=Path("out"), resume=True)
            assert translate_files([here], files, device="cpu") == len(LINES)
        else:
            assert together(patch, size, here, resume=True) == [len(LINES)] * size
    assert Path("out").read_bytes() == expected
    assert len(done) == 5 - len(times)
    said = capfd.readouterr().err
    assert f"s2s: out: {len(times)} of 5 ranges exist\n" in said
    assert said.count("unknown to the tokenizer") == 1
    assert together(monkeypatch, 2, here, resume=True) == [len(LINES), 0]  # is complete
    assert Path("out").read_bytes() == expected


def test_ranges_of_a_lost_process_are_translated_by_the_others(
    here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has claimed all of them, and wrote none."""
    expected = alone(here)
    original = Parts.claim
    taken: list[tuple[int | str, int]] = []

    def claim(self: Parts, index: int | str, round_: int = 0) -> bool:
        got = original(self, index, round_)
        if got:
            taken.append((index, round_))
        return got and (round_ > 0 or index == "join")

    monkeypatch.setattr(Parts, "claim", claim)
    monkeypatch.setattr(range_translation, "PATIENCE", 0.0)
    assert together(monkeypatch, 2, here) == [len(LINES)] * 2
    assert Path("out").read_bytes() == expected
    assert {(index, 0) for index in range(5)} <= set(taken)
    assert len(set(taken)) == len(taken)
    assert [index for index, _ in taken].count("join") == 1


def test_what_was_begun_with_something_else_is_refused(
    here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, here)
    before = sorted(parts_folder(Path("out")).rglob("*.part"))

    def fault(**options: object) -> str:
        first, second = together(monkeypatch, 2, here, resume=True, **options)
        assert isinstance(first, UsageError)
        assert isinstance(second, SystemExit)
        return str(first)

    assert "out: begun with something else (search.width: 3 -> 4)" in fault(
        search=BeamSearch(kind="beam", width=4, max_offset=3)
    )
    text = Path("in").read_text()
    Path("in").write_text(text.replace("c", "a"))
    assert "out: begun with another input; resume with" in fault()
    Path("in").write_text(text + "\nb")
    assert "out: begun with another input; resume with" in fault()
    assert sorted(parts_folder(Path("out")).rglob("*.part")) == before
    # Without --resume both start over.
    files = Files(source=Path("in"), target=Path("out"))
    assert translate_files([here], files, device="cpu") == len(LINES) + 1
    assert not parts_folder(Path("out")).exists()


def test_prefixes_have_to_be_as_many_as_lines(here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, message in (("a\n" * 10, "found only 10"), ("a\n" * 12, "has 11; found more")):
        Path("prefixes").write_text(text)
        first, _ = together(monkeypatch, 2, here, **KINDS["prefixes"])
        assert isinstance(first, DataError)
        assert message in str(first)


def test_processes_with_other_files_are_named(here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original = translation_in_parts.Counted

    def counted(host: str, fingerprint: dict[str, object], size: int) -> object:
        rank = int(threading.current_thread().name)
        return original(f"host-{rank}", fingerprint, size + (rank > 0))

    monkeypatch.setattr(translation_in_parts, "Counted", counted)
    found = together(monkeypatch, 2, here)
    said = next(str(one) for one in found if isinstance(one, UsageError))
    assert "on host-1 has another input (44 bytes, not 43) than process 0" in said.replace(
        f"{Path('in').stat().st_size + 1} bytes", "44 bytes"
    ).replace(f"not {Path('in').stat().st_size}", "not 43")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, "name them with --input FILE and --output FILE"),
        ({"target": None}, "name them with --input FILE and --output FILE"),
        ({"source": Path("in.gz")}, "which a gzip file has not; 'gunzip -k in.gz' unpacks it"),
        ({"source": Path(os.devnull)}, "read ranges of a file, found a pipe or device"),
        ({"target": Path(os.devnull)}, "several processes write a file, found something else"),
        ({"target": Path("no/out")}, "no/out: cannot write it: No such file or directory"),
        ({"target": Path("begun"), "resume": True}, "begun: begun by one process; --resume with"),
    ],
)
def test_what_cannot_be_divided_is_one_line(
    here: Run, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    Path("in.gz").write_bytes(b"\x1f\x8b")
    note_path(Path("begun")).write_text("{}")
    monkeypatch.setattr(translation_in_parts, "is_launched", lambda: True)
    values: dict[str, object] = {"source": Path("in"), "target": Path("out"), **change}
    with pytest.raises(UsageError, match="^(?s:.)*" + message.replace("(", r"\(")):
        translate_files([here], Files(**values), device="cpu")  # type: ignore[arg-type]


def test_workers_and_stdin_are_refused(
    here: Run, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    first, _ = together(monkeypatch, 2, here, workers=3)
    assert str(first) == ("--workers 3: torchrun has started 2 processes already; leave it out")
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    assert call.fault("translate", "--run", str(here.folder), "--glossary", "-") == (
        2,
        "--input: torchrun has started several processes, which cannot read one stdin; name a file",
    )


def test_a_folder_that_other_hosts_do_not_see_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation_in_parts, "APPEARS", -1.0)
    with pytest.raises(UsageError, match="do all hosts see the same folder"):
        translation_in_parts._wait_for(tmp_path / "out.parts")


def test_processes_that_a_launcher_starts(folder: Path, tmp_path: Path) -> None:
    """As commands, with the variables that torchrun sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in LINES * 3))
    program = (
        "from s2s.inference import byte_ranges; byte_ranges.LEAST_BYTES = 9\n"
        "from s2s_cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "translate", "--run", str(folder / "runs" / "toy")]
    command += ["--input", "in", "--output", "out", "--resume", "--device", "cpu"]
    several = [
        subprocess.Popen(
            command, cwd=tmp_path, env={**environment, "RANK": rank}, stderr=subprocess.PIPE
        )
        for rank in "01"
    ]
    ends = [one.communicate(timeout=HANGS)[1].decode() for one in several]
    assert [one.returncode for one in several] == [0, 0], ends
    assert "Traceback" not in "".join(ends)
    files = Files(source=tmp_path / "in", target=tmp_path / "whole")
    translate_files([Run.open(folder / "runs" / "toy")], files, device="cpu")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "whole"]

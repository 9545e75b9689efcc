"""Progress on a terminal while a stream is translated."""

import io
from pathlib import Path

from s2s.inference.progress import StreamProgress, duration


def test_progress_knows_the_size_of_a_file(tmp_path: Path, monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("s2s.inference.progress.time.monotonic", lambda: next(clock))
    path = tmp_path / "in"
    path.write_bytes(b"123456789\n" * 10)
    terminal = Terminal()
    with path.open("rb") as source:
        source.read(20)  # two lines were done before
        progress = StreamProgress(source, terminal, 2)
        progress.window(4, 40)
        progress.part(0.5)
        progress.window(4, 40)
        progress.end(10)
    written = terminal.getvalue().split("\r")[1:]
    assert [part.strip() for part in written] == [
        "2 lines, 0.0 lines/s, 20 %",
        "4 lines, 0.1 lines/s, 40 %, 2 min 00 s left",
        "6 lines, 0.1 lines/s, 60 %, 1 min 00 s left",
        "10 lines, 0.1 lines/s",
    ]
    assert written[-1].endswith("\n")


def test_times_are_short() -> None:
    assert [duration(s) for s in (-1, 0.4, 59.4, 59.6, 3599, 3600, 90_061)] == [
        "0 s",
        "0 s",
        "59 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "25 h 01 min",
    ]

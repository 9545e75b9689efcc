"""Notes go to stderr, and can be silenced in one thread."""

import io
import sys
import threading

import pytest

from s2s.messages import is_quiet, note, silenced, write_to


def test_a_note_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    note("one")
    assert capsys.readouterr() == ("", "s2s: one\n")


def test_notes_are_silenced_within_a_block_and_in_no_other_thread(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with silenced():
        note("hidden")
        other = threading.Thread(target=note, args=("shown",))
        other.start()
        other.join()
        with silenced(False):  # changes nothing: the block around it wins
            assert is_quiet()
    assert capsys.readouterr().err == "s2s: shown\n"
    with silenced(False):
        note("shown")
    assert capsys.readouterr().err == "s2s: shown\n"


class Full(io.StringIO):
    """A stream whose disk is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [None, Full(), "closed"])
def test_a_stderr_that_takes_no_message_ends_nothing(
    stream: io.StringIO | str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python too, where no command has prepared the streams."""
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert is_quiet() == (stream is None)
    note("nobody reads it")
    write_to(sys.stderr, "nobody reads it")

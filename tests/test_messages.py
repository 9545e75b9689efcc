"""Notes go to stderr, and can be silenced in one thread."""

import threading

import pytest

from s2s.messages import is_quiet, note, silenced


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

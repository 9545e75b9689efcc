"""Notes go to stderr, and can be silenced in one thread."""

import io
import json
import sys
import threading
import unicodedata

import pytest

from s2s.messages import (
    is_quiet,
    note,
    printable,
    printable_json,
    silenced,
    write_line,
    write_to,
)


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


def test_what_a_terminal_would_obey_is_printed_as_an_escape(
    capsys: pytest.CaptureFixture[str],
) -> None:
    note("run \x1b]0;title\x07 \x1b[31mred\x9b2J\nsecond\tline\r\x7f \u202eabc\u2069")
    expected = r"s2s: run \x1b]0;title\x07 \x1b[31mred\x9b2J\nsecond\tline\r\x7f \u202eabc\u2069"
    assert capsys.readouterr().err == f"{expected}\n"
    write_line("a\x1bb")
    assert capsys.readouterr().err == "a\\x1bb\n"


def test_printable_escapes_controls_and_directions_and_nothing_else() -> None:
    """The Unicode database is the oracle: category Cc, line and paragraph separators, and the
    bidirectional classes of embeddings, overrides, isolates and their ends."""
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        is_escaped = (
            category in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in directions
        )
        assert (printable(character) != character) == is_escaped, hex(code)
        assert not is_escaped or printable(character).isascii()


def test_printable_json_is_the_same_json() -> None:
    content = {"na\x1bme\u202e": ["\x9b\x7f\n\t\u2028", "Zoë \u200c 日本"], "n": 1.5}
    text = printable_json(content)
    assert json.loads(text) == content
    assert printable(text) == text
    assert "Zoë \u200c 日本" in text


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

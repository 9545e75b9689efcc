"""Line ends and white space of any system give the same output in every command that reads text."""

from pathlib import Path

import pytest

import s2s
from tests.commands import Call, call
from tests.inference.test_resume import here, run_folder

__all__ = ["call", "here", "run_folder"]

pytestmark = pytest.mark.usefixtures("here")

TEXT = b"a b c\n\nb zwei\nc c a b\n"
TARGETS = b"b\n\nc a\na\n"
SYSTEMS = {
    "windows": lambda text: text.replace(b"\n", b"\r\n"),
    "mark": lambda text: b"\xef\xbb\xbf" + text,
    "joined": lambda text: b"".join(b"\xef\xbb\xbf" + line for line in text.splitlines(True)),
    "no last line end": lambda text: text.removesuffix(b"\n") + b"\r",
}
SPACES = {
    "tab": b"\t",
    "two spaces": b"  ",
    "no-break": b"\xc2\xa0",
    "ideographic": b"\xe3\x80\x80",
    "zero-width": b"\xe2\x80\x8b",
    "carriage return": b"\r",
}
COMMANDS = {
    "translate": ["translate", "--input", "in"],
    "workers": ["translate", "--input", "in", "--workers", "2"],
    "nbest": ["translate", "--input", "in", "--nbest", "2", "--format", "jsonl"],
    "prefixes": ["translate", "--input", "in", "--prefix-file", "targets"],
    "score": ["score", "in", "targets"],
    "alignments": ["attention", "--input", "in", "--alignments"],
    "evaluate": ["evaluate", "--metric", "chrf", "in"],
}


def output(call: Call, name: str, text: bytes, targets: bytes = TARGETS) -> bytes:
    Path("in").write_bytes(text)
    Path("targets").write_bytes(targets)
    command, *options = COMMANDS[name]
    run = [] if name == "evaluate" else ["--run", "toy"]
    status, out, err = call(command, *options, *run, stdin=targets)
    assert status == 0, err
    assert "unknown" not in err
    return out


@pytest.mark.parametrize("name", COMMANDS)
def test_files_of_any_system_give_the_same_output(call: Call, name: str) -> None:
    plain = output(call, name, TEXT)
    assert plain and b"\r" not in plain
    for change in SYSTEMS.values():
        assert output(call, name, change(TEXT), change(TARGETS)) == plain


@pytest.mark.parametrize("name", ["prefixes", "score"])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_white_space_of_any_kind_gives_the_same_output(call: Call, space: bytes, name: str) -> None:
    plain = output(call, name, TEXT)
    changed = [text.replace(b" ", space).replace(b"\n", space + b"\n") for text in (TEXT, TARGETS)]
    assert output(call, name, *changed) == plain


def test_terms_of_invisible_spaces_alone_are_none(call: Call) -> None:
    """On the command line a mistake, in a column as if nothing was there."""
    for option in ("--must", "--avoid"):
        status, line = call.fault("translate", "--run", "toy", option, "\u200b", stdin=b"a\n")
        assert (status, line) == (2, f"{option}: expected a term, found nothing but spaces")
    options = ["--run", "toy", "--columns", "source,prefix,must,avoid"]
    plain = call.output("translate", *options, stdin=b"a b c\t\tc\t\n")
    odd = "a b c\t\u200b\tc|||\ufeff \u200b\t\u200b\n"
    assert call.output("translate", *options, stdin=odd.encode()) == plain


def test_columns_end_with_the_line(call: Call) -> None:
    rows = b"a b c\tb\tzwei\nb\t\tc|||a\n"
    Path("in").write_bytes(rows)
    options = ["--run", "toy", "--columns", "source,prefix,must", "--beam", "8"]
    plain = call.output("translate", *options, stdin=rows)
    assert call.output("translate", *options, stdin=rows.replace(b"\n", b"\r\n")) == plain


def test_python_reads_lines_as_files_do(call: Call) -> None:
    lines = ["a b c", "", "b zwei"]
    model = s2s.load("toy", device="cpu", quiet=True)
    plain = model.translate(lines)
    odd = ["\ufeffa\u00a0b\u200bc\r\n", "\u200b\r\n", "b\rzwei\r"]
    assert model.translate(odd) == plain
    assert model.score(list(zip(odd, odd, strict=True))) == model.score(
        list(zip(lines, lines, strict=True))
    )


def test_unknown_input_is_reported_once_at_the_end(call: Call) -> None:
    stdin = "a x\nb\ny-\u00a0z a\n".encode()
    note = "s2s: 3 of 6 words of the input (50%) are unknown to the tokenizer: 'x', 'y-', 'z'"
    for options in (["--batch-size", "1"], ["--workers", "2"], ["--nbest", "2"]):
        _, _, err = call("translate", "--run", "toy", *options, stdin=stdin)
        assert [line for line in err.splitlines() if "unknown" in line] == [note]
    _, _, err = call("attention", "--run", "toy", "--alignments", stdin=stdin)
    assert [line for line in err.splitlines() if "unknown" in line] == [note]
    _, _, err = call("translate", "--run", "toy", "-q", stdin=stdin)
    assert err == ""

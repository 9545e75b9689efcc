"""Help of every command: whole at every width, in sections, with the options that all share."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import s2s
from s2s_cli.main import run
from s2s_cli.options.panels import MAIN, WIDEST
from tests.cli.walk import commands

COMMANDS = commands()


def help_of(words: tuple[str, ...], width: int, monkeypatch, capsys) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run([*words, "--help"]) == 0
    return str(capsys.readouterr().out)


def words_of(text: str) -> list[str]:
    """The words of a help; a command of the examples that goes on in the next line has `\\`."""
    return re.sub(r" \\\n", " ", text).split()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_the_same_words_at_every_width(words, monkeypatch, capsys) -> None:
    texts = {width: help_of(words, width, monkeypatch, capsys) for width in (60, 80, 120, 400)}
    found = {width: words_of(text) for width, text in texts.items()}
    assert found[60] == found[80] == found[120] == found[400]
    for width, text in texts.items():
        room = min(width, WIDEST)
        for line in text.splitlines():
            # Only one word, or a value in quotes, may be longer than a line.
            assert len(line) <= room or len(line.split()) <= 3, (width, line)
    assert max(map(len, texts[400].splitlines())) <= WIDEST
    assert max(map(len, texts[120].splitlines())) > 60


def test_the_program_says_in_full_what_its_commands_do(monkeypatch, capsys) -> None:
    text = " ".join(help_of((), 60, monkeypatch, capsys).split())
    for words, command in COMMANDS.items():
        if len(words) == 1:
            summary = " ".join(command.help.split("\n\n")[0].split())
            assert f"{words[0]} {summary}" in text
    assert "…" not in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_the_options_that_all_share(words, monkeypatch, capsys) -> None:
    text = help_of(words, 80, monkeypatch, capsys)
    for option in ("-q, --quiet", "-v, --verbose", "-h, --help"):
        assert option in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_many_options_are_in_sections(words, monkeypatch, capsys) -> None:
    text = help_of(words, 80, monkeypatch, capsys)
    sections = re.split(r"^(\S.*):\n", text, flags=re.M)
    options = {
        title: re.findall(r"^  (-\S+)", body, re.M)
        for title, body in zip(sections[1::2], sections[2::2], strict=True)
    }
    assert len(options.get(MAIN, ())) <= 10, options


def test_help_in_a_pipe_is_80_wide(monkeypatch, capsys) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run(["translate", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 70 < max(map(len, lines)) <= 80


def test_examples_are_commands_that_exist(monkeypatch, capsys) -> None:
    for words in COMMANDS:
        text = help_of(words, 400, monkeypatch, capsys)
        for call in re.findall(
            r"(?:^|[|&] )\s*s2s ([a-z-]+)", text.partition("Examples:")[2], re.M
        ):
            assert (call,) in COMMANDS, (words, call)


def test_python_m_s2s(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "s2s", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"s2s {s2s.__version__}\n", "")

"""Inputs and outputs: the table of docs/cli.md names each, and `-` and .gz do what it says."""

import gzip
import json
import re
from pathlib import Path

import pytest

from s2s.errors import UsageError
from s2s_cli.main import run
from tests.cli.walk import Parameter, parameters
from tests.commands import Call, call
from tests.house import ROOT
from tests.inference.test_resume import here, run_folder

__all__ = ["call", "here", "run_folder"]

TEXTS = ("IMAGES...", "OUTPUT...", "DATA...")
"""Arguments that name files or something else, whose types are therefore not those of paths."""


def documented() -> dict[tuple[str, str], list[str]]:
    """The rows of the table by command and option."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.partition("## Files, stdin and stdout\n")[2].partition("\n## ")[0]
    found = {}
    for row in re.findall(r"^\| (?!command|---)(.*) \|$", section, re.M):
        commands, option, *cells = row.split(" | ")
        for command in commands.split(", "):
            found[command.strip("`"), option.strip("`")] = cells
    return found


def files(parameter: Parameter) -> bool:
    return "Path" in str(parameter.annotation) or parameter.name in TEXTS


def test_the_table_has_every_input_and_output() -> None:
    """None is forgotten, and none is there that no command has."""
    there = {(one.command, one.name) for one in parameters() if files(one)}
    runs = {one for one in there if one[1] == "--runs"}
    assert len(runs) > 5
    expected = (there - runs) | {("all", "--runs")}
    assert set(documented()) == expected
    assert {cells[1].split(",")[0] for cells in documented().values()} <= {"stdin", "stdout", "no"}


def test_help_says_where_a_dash_is_allowed(capsys, monkeypatch) -> None:
    """An option with stdin or stdout in the table is a file or an argument, never a folder."""
    for (command, option), (_, dash, _) in documented().items():
        if dash.startswith("std") and option.startswith("--"):
            assert run([*command.split(), "--help"]) == 0
            assert re.search(rf"{option}.* FILE", capsys.readouterr().out)


# ------------------------------------------------------------------------------------ translate


def test_translate_reads_and_writes_a_dash(here: Path, call: Call) -> None:
    text = Path("in").read_bytes()
    expected = call.output("translate", "--run", "toy", stdin=text)
    dashes = ("--input", "-", "--output", "-")
    assert call.output("translate", "--run", "toy", *dashes, stdin=text) == expected
    assert not Path("-").exists()


def test_translate_reads_and_writes_gzip(here: Path, call: Call) -> None:
    text = Path("in").read_bytes()
    expected = call.output("translate", "--run", "toy", stdin=text)
    Path("in.gz").write_bytes(gzip.compress(text))
    named = ("translate", "--run", "toy", "--input", "in.gz", "--output", "out.gz")
    assert call.output(*named) == b""
    assert gzip.decompress(Path("out.gz").read_bytes()) == expected
    first = Path("out.gz").read_bytes()
    call.output(*named)
    assert Path("out.gz").read_bytes() == first  # no time of the day is in it
    assert call.fault(*named, "--resume") == (
        2,
        "--resume: out.gz is compressed, and such a file is written as a whole",
    )
    assert call.fault("translate", "--run", "toy", "--output", "no/out.gz", stdin=b"a\n") == (
        2,
        "no/out.gz: cannot write it: No such file or directory",
    )
    assert not list(here.rglob(".tmp-*"))


def test_a_damaged_gzip_file_leaves_no_output(here: Path, call: Call) -> None:
    Path("in.gz").write_bytes(gzip.compress(Path("in").read_bytes())[:-12])
    Path("out.gz").write_bytes(b"before")
    named = ("translate", "--run", "toy", "--input", "in.gz", "--output", "out.gz")
    status, line = call.fault(*named)
    assert (status, line.startswith("in.gz: damaged or truncated gzip file")) == (2, True)
    assert Path("out.gz").read_bytes() == b"before"


def test_prefixes_from_stdin(here: Path, call: Call) -> None:
    lines = Path("in").read_bytes().count(b"\n") + (not Path("in").read_bytes().endswith(b"\n"))
    prefixes = b"zwei\n" * lines
    Path("prefixes").write_bytes(prefixes)
    named = ("translate", "--run", "toy", "--input", "in", "--prefix-file")
    expected = call.output(*named, "prefixes")
    assert call.output(*named, "-", stdin=prefixes) == expected
    assert expected.startswith(b"zwei")


TWICE = [
    (("translate", "--prefix-file", "-"), "--input, --prefix-file"),
    (("translate", "--input", "-", "--dictionary", "-"), "--input, --dictionary"),
    (("translate", "--feature-ids", "-"), "--input, --feature-ids"),
    (("score", "-", "-"), "SRC, TGT"),
    (("bleu", "-"), "REF, --hypotheses"),
    (("bleu", "a", "-", "--hypotheses", "-"), "REF, --hypotheses"),
    (("evaluate", "--metric", "bleu", "-", "-", "--hypotheses", "a"), "REF, REF"),
    (("compare", "-", "a", "--reference", "-"), "OUTPUT, --reference"),
    (("compare", "a", "b", "--reference", "-", "--source", "-"), "--reference, --source"),
]


@pytest.mark.parametrize(("arguments", "named"), TWICE, ids=[" ".join(t[0]) for t in TWICE])
def test_stdin_is_read_once(here: Path, call: Call, arguments: tuple[str, ...], named: str) -> None:
    assert call.fault(*arguments, stdin=b"a\n") == (
        2,
        f"{named}: stdin can be read only once; give all but one of them a file",
    )


# ------------------------------------------------------------------------------- other commands


def test_score_reads_either_side_from_stdin_and_prints_json(here: Path, call: Call) -> None:
    Path("src").write_text("a b\nc\n\n")
    Path("tgt").write_text("zwei\nä zwei\n\n")
    named = ("score", "--run", "toy")
    expected = call.output(*named, "src", "tgt")
    assert expected.count(b"\n") == 3
    assert call.output(*named, "-", "tgt", stdin=Path("src").read_bytes()) == expected
    assert call.output(*named, "src", "-", stdin=Path("tgt").read_bytes()) == expected
    Path("src.gz").write_bytes(gzip.compress(Path("src").read_bytes()))
    assert call.output(*named, "src.gz", "tgt") == expected
    found = json.loads(call.output(*named, "src", "tgt", "--json"))
    rows = [line.split("\t") for line in expected.decode().splitlines()]
    assert found["scores"] == [
        {"line": int(line), "log_prob": float(log_prob), "length": int(length)}
        for line, log_prob, length in rows
    ]
    assert (found["lines"], found["runs"]) == (3, ["runs/toy"])
    assert found["log_prob"] == pytest.approx(sum(float(row[1]) for row in rows))


def test_outputs_to_score_come_from_stdin_or_a_file(here: Path, call: Call) -> None:
    Path("ref").write_text("eins zwei drei vier fünf\nsechs sieben\n")
    Path("out").write_text("eins zwei drei vier acht\nsechs sieben\n")
    Path("out.gz").write_bytes(gzip.compress(Path("out").read_bytes()))
    expected = call.output("bleu", "ref", stdin=Path("out").read_bytes())
    for name in ("out", "out.gz"):
        assert call.output("bleu", "ref", "--hypotheses", name) == expected
    assert call.output("bleu", "ref", "--hypotheses", "-", stdin=Path("out").read_bytes()) == (
        expected
    )
    references = Path("ref").read_bytes()
    assert call.output("bleu", "-", "--hypotheses", "out", stdin=references) == expected
    Path("bad").write_bytes(b"eins\n\xff\n")
    status, line = call.fault("bleu", "ref", "--hypotheses", "bad")
    assert status == 2
    assert line.startswith("bad:2: not valid UTF-8 (byte 1 of the line is 0xff); 'iconv ")
    status, line = call.fault("bleu", "--hypotheses", "out")
    assert (status, line) == (2, "--hypotheses: expected files of references too, REF...")


def test_compare_reads_an_output_from_stdin(here: Path, call: Call) -> None:
    lines = "".join(f"eins zwei drei vier {i}\n" for i in range(9))
    Path("ref").write_text(lines)
    Path("a").write_text(lines.replace("drei", "neun"))
    Path("b").write_text(lines)
    options = ("--reference", "ref", "--json", "--samples", "20")
    expected = call.output("compare", "a", "b", *options)
    found = call.output("compare", "a", "-", *options, stdin=Path("b").read_bytes())
    assert found.replace(b'"-"', b'"b"') == expected


def test_attention_reads_stdin_and_writes_a_page_on_stdout(here: Path, call: Call) -> None:
    status, _, err = call("attention", "--run", "toy", "--html", "page", stdin=b"a b\n")
    assert status == 0, err
    named = ("attention", "--run", "toy", "--input", "-", "--html", "-")
    assert call.output(*named, stdin=b"a b\n") == Path("page").read_bytes()
    assert call.fault(*named, "--alignments", stdin=b"a b\n") == (
        2,
        "--html -, --alignments: expected one on stdout; give the others a file",
    )


def test_attention_writes_arrays_on_stdout(here: Path, call: Call) -> None:
    named = ("attention", "--run", "toy", "--npz")
    for name in ("a.npz", "a.npz.gz"):
        assert call(*named, name, stdin=b"a b\n")[0] == 0
    plain = Path("a.npz").read_bytes()
    assert call.output(*named, "-", stdin=b"a b\n") == plain
    assert gzip.decompress(Path("a.npz.gz").read_bytes()) == plain
    assert not Path("-").exists()
    assert call.fault(*named, "-", "--html", "-", stdin=b"a b\n") == (
        2,
        "--html -, --npz -: expected one on stdout; give the others a file",
    )
    assert call.fault("attention", "--run", "toy", "--png", "-", stdin=b"a b\n") == (
        2,
        "--png: expected a folder, found - for stdout",
    )


def test_an_exported_model_is_no_output(here: Path, call: Call) -> None:
    assert call("export", "toy", "-o", "m.s2s")[0] == 0
    Path("out").write_text("a\n")
    assert call.fault("compare", "out", "m.s2s", "--reference", "out") == (
        2,
        "m.s2s: an exported model, which has no data; 's2s translate' its sources, and compare the "
        "output",
    )


def test_a_model_is_not_compressed(here: Path, call: Call) -> None:
    status, line = call.fault("export", "toy", "-o", "m.s2s.gz")
    assert (status, line.partition(",")[0]) == (
        2,
        "m.s2s.gz: expected a file NAME.s2s or a folder",
    )
    assert not Path("m.s2s.gz").exists()


def test_a_recipe_from_stdin_and_to_stdout(here: Path, call: Call) -> None:
    shown = call.output("recipes", "show", "quickstart")
    assert call.output("recipes", "copy", "quickstart", "-") == shown
    checked = call.output("check", "-", stdin=shown).decode()
    assert checked.startswith("-: ok (translation, data generated,")
    status, line = call.fault("check", "-", stdin=shown.replace(b"\ntask: ", b"\ntask: no"))
    assert (status, ": task: expected one of" in line and line.startswith("<stdin>:")) == (2, True)


def test_init_writes_a_recipe_on_stdout(here: Path, call: Call) -> None:
    for name in ("one.de", "one.en"):
        Path(name).write_text("".join(f"ein Satz mit der Zahl {i}\n" for i in range(3000)))
    shown = call.output("init", "one.de", "one.en", "-o", "-")
    call.output("init", "one.de", "one.en", "-o", "made.yaml")
    # Numbers differ: the time of training is measured.
    made = Path("made.yaml").read_bytes()
    assert b"s2s train made.yaml" in made
    made = re.sub(rb"s2s train made.yaml +#", b"s2s train                 #", made)
    assert re.sub(rb"[\d.,]+", b"1", shown) == re.sub(rb"[\d.,]+", b"1", made)
    status, line = call.fault("init", "-", "one.en", stdin=b"a\n")
    assert (status, line) == (2, "-: a recipe names its data, so they have to be in files")


# ------------------------------------------------------------------------------------------- runs

REQUIRED = {"score": ("in", "in"), "translate": ("--input", "in"), "attention": ("--input", "in")}
"""Arguments without which a command does not come to its run."""

ELSEWHERE = {"push": "RUN", "compare": "OUTPUT...", "runs": "[RUN RUN]"}
"""Commands whose runs are arguments alone: beside another one, or several."""


def names_runs(parameter: Parameter) -> bool:
    return parameter.name == "--run" or "RUN" in parameter.name or parameter.command == "compare"


def run_commands() -> dict[str, set[str]]:
    """The commands that take a run, and how."""
    found: dict[str, set[str]] = {}
    for one in parameters():
        if names_runs(one) and one.name != "--runs":
            found.setdefault(one.command, set()).add(one.name)
    return found


def test_every_command_that_takes_a_run_has_the_option() -> None:
    found = run_commands()
    assert len(found) > 14
    assert {name for name, how in found.items() if "--run" not in how} == set(ELSEWHERE)
    for name, how in ELSEWHERE.items():
        assert how in found[name]


@pytest.mark.parametrize("command", sorted(set(run_commands()) - set(ELSEWHERE)))
def test_a_run_is_named_by_option_or_argument(
    here: Path, call: Call, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def find(name: str, root: Path) -> None:
        found.append(name)
        raise UsageError("that is all")

    if command == "serve":
        monkeypatch.setattr("s2s.serve.extra.require_libraries", lambda: None)
    monkeypatch.setattr("s2s.run.finding.find_run", find)
    more = REQUIRED.get(command, ())
    assert call.fault(*command.split(), "--run", "toy", *more) == (2, "that is all")
    if "RUN" in "".join(run_commands()[command] - {"--run"}):
        assert call.fault(*command.split(), "toy", *more) == (2, "that is all")
        assert found == ["toy", "toy"]
        if command != "serve":  # it serves both
            status, line = call.fault(*command.split(), "toy", "--run", "other", *more)
            assert (status, line) == (2, "RUN, --run: expected one of them, found toy and other")
    else:
        assert found == ["toy"]


def test_pages_are_compressed_by_name(here: Path, call: Call) -> None:
    call("attention", "--run", "toy", "--html", "page.html", stdin=b"a b\n")
    call("attention", "--run", "toy", "--html", "page.html.gz", stdin=b"a b\n")
    assert gzip.decompress(Path("page.html.gz").read_bytes()) == Path("page.html").read_bytes()
    call.output("recipes", "copy", "quickstart", "my.yaml.gz")
    shown = call.output("recipes", "show", "quickstart")
    assert gzip.decompress(Path("my.yaml.gz").read_bytes()) == shown
    assert call.output("check", "my.yaml.gz").endswith(b"run my)\n")

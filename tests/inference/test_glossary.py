"""Glossaries: which terms a line has, and that outputs have their translations."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from s2s.errors import DataError, UsageError
from s2s.inference.constrained_translator import ConstrainedTranslator, impossible_terms
from s2s.inference.constraint_compiler import ConstraintCompiler
from s2s.inference.glossary import Glossary
from s2s.inference.line_constraints import GivenConstraints, LineConstraints
from s2s.inference.translator import LineTranslator
from s2s.recipe.search import BeamSearch
from s2s.search.constraints.positive import MOST_TERMS, PositiveConstraints
from s2s.text.vocabulary import Characters
from s2s.text.word_boundaries import occurrences
from tests.commands import Call, call
from tests.inference.test_resume import here, run_folder
from tests.inference.test_translator import random_translator

__all__ = ["call", "here", "run_folder"]

BEAM = BeamSearch(kind="beam", width=6, max_offset=25)


def written(folder: Path, text: str) -> Path:
    path = folder / "terms.tsv"
    path.write_text(text)
    return path


# ------------------------------------------------------------------------------------- the file


def test_a_file_has_terms_comments_and_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "# animals\ncat\tKatze\n\n  wild   cat \t Wildkatze\n\\#1\tNr. 1\n")
    found = Glossary.read(path)
    assert [entry[:2] for entry in found.entries] == [
        ("cat", "Katze"),
        ("wild cat", "Wildkatze"),
        ("#1", "Nr. 1"),
    ]
    assert found.terms("the #1 wild\u00a0 cat") == ("Nr. 1", "Wildkatze")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nc\n", r"terms.tsv:2: expected source term, tab, target term, found 'c'$"),
        ("a\tb\tc\n", r"terms.tsv:1: expected source term, tab, target term, found 'a ⇥ b ⇥ c'$"),
        ("a\tb\n \tb\n", r"terms.tsv:2: expected a source term, found nothing but spaces$"),
        ("a\t \n", r"terms.tsv:1: expected a target term, found nothing but spaces$"),
        (
            "# x\na\tb\nc\td\na\tb\n",
            r"terms.tsv:4: expected every source term once, found 'a' again \(the first is "
            r".*terms.tsv:2\)$",
        ),
        ("# nothing\n\n", r"terms.tsv: expected terms \(source, tab, target\), found none$"),
    ],
)
def test_a_faulty_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        Glossary.read(written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_terms_that_differ_in_case_are_one_where_case_is_ignored(tmp_path: Path) -> None:
    path = written(tmp_path, "US\tUSA\nus\tuns\n")
    assert Glossary.read(path).terms("US us Us") == ("USA", "uns")
    with pytest.raises(DataError, match=r"tsv:2: .* again .*terms.tsv:1, as case is ignored\)$"):
        Glossary.read(path, ignore_case=True)
    (tmp_path / "composed").mkdir()
    path = written(tmp_path / "composed", "\u00e9\ta\ne\u0301\tb\n")
    with pytest.raises(DataError, match=r"tsv:1, as Unicode composition makes no difference\)$"):
        Glossary.read(path, ignore_case=True)
    either = Glossary.of({"Straße": "street"}, ignore_case=True)
    assert either.terms("STRASSE, straße, Strassen") == ("street", "street")


def test_a_mapping_is_a_glossary_of_texts() -> None:
    assert Glossary.of({"a b": "c"}).terms("a b b") == ("c",)
    with pytest.raises(UsageError, match="glossary: expected a text for each text, found 'a': 1"):
        Glossary.of({"a": 1})  # type: ignore[dict-item]
    with pytest.raises(DataError, match="glossary: expected a target term"):
        Glossary.of({"a": ""})


# ------------------------------------------------------------------------------------- matching


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("a cat", ("K",)),
        ("cats, category", ()),
        ("cat-like cat", ("K", "K")),
        ("wild cat cat", ("W", "K")),
        ("big wild cat", ("B", "K")),  # of equally long ones the first
        ("Cat", ()),
        ("caf\u00e9 cafe\u0301", ("C", "C")),
        ("東京都", ("T",)),
        ("", ()),
    ],
)
def test_the_longest_term_counts_as_whole_words(text: str, terms: tuple[str, ...]) -> None:
    glossary = Glossary.of(
        {"cat": "K", "wild cat": "W", "big wild": "B", "café": "C", "東京": "T", "京都": "X"}
    )
    assert glossary.terms(text) == terms


def test_matching_is_that_of_a_plain_search() -> None:
    draw = random.Random(4)
    for _ in range(200):
        words = ["".join(draw.choices("ab -", k=draw.randint(1, 5))) for _ in range(4)]
        sources = {" ".join(word.split()) for word in words} - {""}
        glossary = Glossary.of({source: source.upper() for source in sources})
        text = " ".join("".join(draw.choices("ab -", k=20)).split())
        free, found = text, []
        for source in sorted(sources, key=len, reverse=True):
            pattern = (
                rf"(?<!\w)(?=\w){re.escape(source)}" if source[0] != "-" else re.escape(source)
            )
            pattern += r"(?!\w)" if source[-1] != "-" else ""
            for one in _disjoint(pattern, free):
                found.append((one, source.upper()))
                free = free[:one] + "\0" * len(source) + free[one + len(source) :]
        by_length = Counter(len(source) for source in sources)
        if max(by_length.values(), default=0) == 1:  # else the first of equally long ones counts
            assert glossary.terms(text) == tuple(term for _, term in sorted(found))


def _disjoint(pattern: str, text: str) -> list[int]:
    """Starts of occurrences from the left, none of which overlaps the one before."""
    return [found.start() for found in re.finditer(pattern, text)]


# -------------------------------------------------------------------------------------- outputs


def constrained(
    glossary: dict[str, str],
    notes: list[str] | None = None,
    given: LineConstraints | None = None,
    search: BeamSearch = BEAM,
    **changes: object,
) -> ConstrainedTranslator:
    translator: LineTranslator = replace(random_translator(search, notes), **changes)  # type: ignore[arg-type]
    reader = None if given is None else GivenConstraints(given)
    return ConstrainedTranslator(translator, reader, Glossary.of(glossary))


TERMS = {"ab": "w", "b": "x y", "c": "z"}


def test_outputs_have_the_terms_of_their_lines_alone() -> None:
    notes: list[str] = []
    translator = constrained(TERMS, notes)
    lines = ["ab c", "ba", "", "b ab b"]
    found = translator.outputs(lines, keep=2)
    for outputs, terms in zip(found, (("w", "z"), (), (), ("x y", "w", "x y")), strict=True):
        for term in terms:
            assert occurrences(outputs[0].text, term) >= terms.count(term)
        assert outputs[0].unmet == ()
    plain = random_translator(BEAM).outputs(lines, keep=2)
    assert found[1] == [replace(one, unmet=()) for one in plain[1]]
    translator.report_terms()
    assert notes[-1] == "glossary: the outputs have 5 of 5 terms, in 2 of 4 lines"


def test_company_and_order_change_nothing() -> None:
    lines = ["".join(line) for line in product("ab ", repeat=3)]
    together = constrained(TERMS).outputs(lines, keep=2)
    alone = [constrained(TERMS).outputs([line], keep=2)[0] for line in lines[::5]]
    assert alone == together[::5]
    assert constrained(TERMS).outputs(lines[::-1], keep=2)[::-1] == together


def test_it_combines_with_what_lines_ask_themselves() -> None:
    given = LineConstraints(prefix="ba", must=("w", "+"), avoid=("q",))
    (outputs,) = constrained(TERMS, given=given).outputs(["ab ab c"])
    text = outputs[0].text
    assert text.startswith("ba")
    assert [occurrences(text, term) >= n for term, n in (("w", 2), ("z", 1), ("+", 1))] == [
        True
    ] * 3
    assert outputs[0].unmet == ()


def test_terms_that_cannot_be_are_reported_with_their_place(tmp_path: Path) -> None:
    path = written(tmp_path, "a\tw\nc\tw☃☂\nd\t☃\n")
    compiler = ConstraintCompiler(Characters("abw "), Glossary.read(path))
    assert impossible_terms(compiler) == (
        "glossary: no output can have 2 of its terms, which the tokenizer does not know: "
        f"{path}:2 'w☃☂' (☃, ☂), {path}:3 '☃' (☃)"
    )
    known = ConstraintCompiler(Characters("abw "), Glossary.of({"a": "w"}))
    assert impossible_terms(known) is None


def test_terms_without_room_are_left_out_and_reported() -> None:
    notes: list[str] = []
    short = replace(BEAM, max_ratio=1.0, max_offset=4)
    translator = constrained({"a": "w" * 30, "b": "x"}, notes, search=short)
    (outputs,) = translator.outputs(["a b"])
    assert occurrences(outputs[0].text, "x")
    assert outputs[0].unmet == (f"glossary {'w' * 30}",)
    assert any(note.endswith("(1 glossary): line 1") for note in notes)
    translator.report_terms()
    assert notes[-1] == "glossary: the outputs have 1 of 2 terms, in 1 of 1 lines"


def test_many_different_terms_are_met_as_far_as_possible() -> None:
    letters = [chr(code) for code in range(0x4E00, 0x4E00 + 70)]
    glossary = Glossary.of({one: one for one in letters})
    tokenizer = Characters("".join(letters))
    translator = replace(random_translator(BEAM), source=tokenizer, target=tokenizer)
    compiler = ConstraintCompiler(tokenizer, glossary)
    (spec,) = compiler.compiled(translator, ["".join(letters)], [LineConstraints()])
    assert len(glossary.terms("".join(letters))) == 70
    positive = spec.of_kind(PositiveConstraints)
    assert positive is not None
    assert [term.text for term in positive.terms] == letters[:MOST_TERMS]


def test_a_line_in_pieces_has_each_term_where_its_source_is() -> None:
    notes: list[str] = []
    translator = constrained(TERMS, notes, longest=4)
    line = "ab . " + "aaa . " * 6 + "c ."
    (outputs,) = translator.outputs([line])
    assert any("pieces" in note for note in notes)
    (spec,) = translator.compiler.compiled(translator.translator, [line], [LineConstraints()])
    kinds = [len(one.constraints) for one in spec.pieces]
    assert (kinds[0], kinds[-1], sum(kinds)) == (1, 1, 2)
    assert outputs[0].unmet == ()


# ---------------------------------------------------------------------------------- the command


def test_the_command_reads_a_file_and_counts(here: Path, call: Call) -> None:
    Path("in").write_text("a b\nc\n\nb A\n")
    Path("g.tsv").write_text("a\tzwei\nc\tä ä\n")
    named = ("translate", "--run", "toy", "--input", "in", "--beam", "6", "--glossary", "g.tsv")
    status, out, err = call(*named)
    lines = out.decode().splitlines()
    assert (status, len(lines), lines[2]) == (0, 4, "")
    assert "zwei" in lines[0].split() and "ä ä" in lines[1]
    assert "s2s: glossary: the outputs have 2 of 2 terms, in 2 of 4 lines\n" in err
    assert call.output(*named, "--batch-size", "1") == out
    other = call.output(*named, "--glossary-ignore-case").decode().splitlines()
    assert "zwei" in other[3].split()
    assert other[:3] == lines[:3]
    Path("g.tsv").write_text("a\tdrei\n")
    status, out, err = call(*named, "--format", "jsonl")
    assert json.loads(out.splitlines()[0])["unmet"] == ["glossary drei"]
    assert "of its terms, which the tokenizer does not know: g.tsv:1 'drei' (drei)\n" in err
    assert "do not meet the constraints of their lines (1 glossary): line 1\n" in err
    Path("g.tsv").write_text("x\tzwei\n")
    assert "glossary: none of its terms is in the 4 lines" in call(*named)[2]


def test_unfinished_outputs_belong_to_a_glossary(here: Path, call: Call) -> None:
    Path("g.tsv").write_text("a\tzwei\n")
    named = ("translate", "--run", "toy", "--input", "in", "--output", "out", "--glossary", "g.tsv")
    call.output(*named)
    whole = Path("out").read_bytes()
    Path("out").write_bytes(whole[: len(whole) // 2])
    call.output(*named, "--resume")
    assert Path("out").read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--glossary none.tsv", "none.tsv: no such file"),
        ("--glossary g.tsv --search greedy", "terms that must appear need beam search"),
        ("--glossary-ignore-case", "--glossary-ignore-case: has no effect without --glossary"),
        ("--glossary twice.tsv", "twice.tsv:2: expected every source term once, found 'a' again"),
        ("--glossary -", "--input, --glossary: stdin can be read only once"),
    ],
)
def test_what_cannot_be_is_one_line(here: Path, call: Call, options: str, message: str) -> None:
    Path("g.tsv").write_text("a\tzwei\n")
    Path("twice.tsv").write_text("a\tzwei\na\tb\n")
    status, line = call.fault("translate", "--run", "toy", *options.split())
    assert (status, line.startswith(message)) == (2, True), line

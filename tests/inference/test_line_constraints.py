"""Constraints of lines: read, met, or reported."""

from dataclasses import replace
from pathlib import Path

import pytest

from s2s.errors import DataError, UsageError
from s2s.inference.constrained_translator import ConstrainedTranslator
from s2s.inference.constraint_compiler import ConstraintCompiler
from s2s.inference.line_constraints import (
    LineConstraints,
    LineConstraintsReader,
    parse_columns,
)
from s2s.inference.nbest import name_lines
from s2s.recipe.search import BeamSearch
from s2s.text.extended_vocabulary import ExtendedVocabulary
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import Characters
from s2s.text.word_boundaries import occurrences
from tests.inference.test_translator import random_translator

BEAM = BeamSearch(kind="beam", width=3, max_offset=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,target", "--columns: expected some of source, source_features, image_ids"),
        ("prefix", "--columns: expected source among them, found 'prefix'"),
        ("source,prefix,source", "--columns: expected every column once"),
    ],
)
def test_columns_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_columns(text)


def notes_on_constraints(notes: list[str]) -> list[str]:
    """The notes on constraints; others report that outputs of a random model were cut."""
    return [note for note in notes if "were cut at the longest" not in note]


def test_columns_come_in_any_order() -> None:
    reader = LineConstraintsReader(columns=parse_columns("prefix, source"))
    assert reader.read(["a\tb", "", "\tc"], 0) == (
        ["b", "", "c"],
        [LineConstraints(prefix="a"), LineConstraints(), LineConstraints()],
    )
    with pytest.raises(DataError, match=r"line 8: expected 2 columns .*, source\), found 3"):
        reader.read(["a\tb", "a\tb\tc"], 6)


def test_features_join_their_source() -> None:
    reader = LineConstraintsReader(columns=parse_columns("prefix,source,features"))
    sources, line_constraints = reader.read(["ge\tgehen\tV;PST", "", "\tHaus\t"], 0)
    assert sources == ["gehen\tV;PST", "\t", "Haus\t"]  # a tab alone is blank
    assert [constraints.prefix for constraints in line_constraints] == ["ge", "", ""]


def test_a_file_of_prefixes_has_a_line_for_every_line(tmp_path: Path) -> None:
    file = tmp_path / "prefixes"
    file.write_text("a\n\nb\nc\n")
    reader = LineConstraintsReader(prefixes=file)
    assert reader.read(["x", "y"], 0)[1] == [LineConstraints(prefix="a"), LineConstraints()]
    assert reader.read(["z"], 3)[1] == [LineConstraints(prefix="c")]
    reader.finish(4)
    with pytest.raises(DataError, match=r"prefixes: expected .* found only 4"):
        reader.read(["z"], 4)
    short = LineConstraintsReader(prefixes=file)
    short.read(["x"], 0)
    with pytest.raises(DataError, match="which has 1; found more"):
        short.finish(1)
    with pytest.raises(UsageError, match="not from both"):
        LineConstraintsReader(columns=("prefix", "source"), prefixes=file)


def test_outputs_begin_with_their_prefix_or_say_that_they_do_not() -> None:
    notes: list[str] = []
    reader = LineConstraintsReader(columns=("source", "prefix"))
    translator = ConstrainedTranslator(random_translator(BEAM, notes), reader)
    found = translator.outputs(["ab\tba", "b\t", "", "a\tbbbbbbbbb"], first=10, keep=2)
    assert all(output.text.startswith("ba") for output in found[0])
    assert [one[0].unmet for one in found] == [(), (), (), ("prefix bbbbbbbbb",)]
    assert notes_on_constraints(notes) == [
        "1 of 4 outputs do not meet the constraints of their lines (1 prefix): line 14"
    ]
    plain = random_translator(BEAM).outputs(["ab", "b"], first=10, keep=2)
    assert [o.text for o in found[1]] == [o.text for o in plain[1]]


def test_outputs_avoid_terms_of_their_line_and_of_every_line() -> None:
    plain = random_translator(BEAM)(["abc", "b"])
    own, everywhere = plain[0].split()[0], plain[1].split()[0]
    notes: list[str] = []
    every = LineConstraints(avoid=(everywhere,))
    reader = LineConstraintsReader(columns=("source", "avoid"), every=every)
    translator = ConstrainedTranslator(random_translator(BEAM, notes), reader)
    found = translator.outputs([f"abc\t{own}||| |||", "abc\t", "b\t"], keep=3)
    texts = [[output.text for output in outputs] for outputs in found]
    assert not any(occurrences(text, everywhere) for several in texts for text in several)
    assert not any(occurrences(text, own) for text in texts[0])
    assert notes_on_constraints(notes) == []
    with pytest.raises(UsageError, match="--avoid: expected a term"):
        LineConstraintsReader(every=LineConstraints(avoid=("a", " ")))


def test_outputs_hold_their_terms_or_say_that_they_do_not() -> None:
    notes: list[str] = []
    reader = LineConstraintsReader(
        columns=("source", "must", "avoid"), every=LineConstraints(must=("+",))
    )
    assert reader.has_terms
    beam = BeamSearch(kind="beam", width=6, max_offset=20)
    translator = ConstrainedTranslator(random_translator(beam, notes), reader)
    found = translator.outputs(["ab\tw|||w|||x y\t", "", "b\t\t", "ab\tw|||x w\tx", "b\tw\t+"])
    for outputs, terms in zip(found, (("w", "x y", "+"), (), ("+",), ("w", "+")), strict=False):
        assert all(occurrences(outputs[0].text, term) for term in terms)
    assert occurrences(found[0][0].text, "w") == 2
    assert [one[0].unmet for one in found] == [(), ("must +",), (), ("must x w",), ("must +",)]
    (note,) = notes_on_constraints(notes)
    assert note.endswith("(3 must): lines 2, 4, 5")


@pytest.mark.parametrize(
    "constraints", [LineConstraints(must=("a",)), LineConstraints(avoid=("a",))]
)
def test_terms_do_not_go_with_a_model_that_copies(constraints: LineConstraints) -> None:
    tokenizer = Characters("ab")
    extended_vocabulary = ExtendedVocabulary(TokenizerPair(tokenizer, tokenizer))
    loaded = replace(random_translator(BEAM), extended_vocabulary=extended_vocabulary)
    with pytest.raises(UsageError, match="this model copies words"):
        ConstrainedTranslator(loaded, LineConstraintsReader(every=constraints)).outputs(["ab"])


def test_what_cannot_be_avoided_is_reported() -> None:
    notes: list[str] = []
    reader = LineConstraintsReader(columns=("source", "prefix", "avoid"))
    translator = ConstrainedTranslator(random_translator(BEAM, notes), reader)
    (outputs,) = translator.outputs(["ab\tb a-\ta|||c"])
    assert outputs[0].unmet == ("avoid a",)
    assert notes_on_constraints(notes) == [
        "1 of 1 outputs do not meet the constraints of their lines (1 avoid): line 1"
    ]


def test_many_lines_are_not_all_named() -> None:
    assert name_lines([3]) == "line 3"
    assert name_lines(range(1, 13)) == "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"


def test_columns_of_features_and_their_old_name_follow_the_source() -> None:
    lines = ["x\tV;PST\tgo", "y\tN\tdog"]
    for name in ("source_features", "features"):
        reader = LineConstraintsReader(columns=parse_columns(f"prefix,{name},source"))
        sources, constraints = reader.read(lines, 0)
        assert sources == ["go\tV;PST", "dog\tN"]
        assert [one.prefix for one in constraints] == ["x", "y"]
    reader = LineConstraintsReader(columns=parse_columns("image_ids,source_features,source"))
    assert reader.read(["7.jpg\tN\tdog"], 0)[0] == ["dog\tN\t7.jpg"]


def test_compiled_terms_that_are_kept_have_so_many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = ConstraintCompiler(Characters(list("abcdefgh ")))
    several = [LineConstraints(must=(word,), avoid=(f"g{word}",)) for word in ("abc", "bcd", "fed")]
    sizes = []
    for most in (10**9, 1):
        monkeypatch.setattr("s2s.inference.constraint_compiler.MOST_CELLS", most)
        for one in several:
            (spec,) = compiler.constraints([one], [[]])
            assert len(spec.constraints) == 2
        sizes.append((len(compiler.negative), len(compiler.positive)))
    assert sizes == [(3, 3), (1, 1)]

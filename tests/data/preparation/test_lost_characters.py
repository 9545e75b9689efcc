"""Preparation counts and names the characters of targets that no output can have."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from s2s.data.preparation.lost_characters import LostCharacters, kept_by_nfkc
from s2s.data.preparation.prepare import prepare
from s2s.data.preparation.report import PrepareReport
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.filters import Filters
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    Tokenizers,
    WordTokenizer,
)
from s2s.text.tokenizer_pair import train_tokenizers

PLAIN = ["der Hund", "ein  Haus ", "größer", "Äpfel, 3"]
PERSIAN = ["می\u200cروم", "کتاب\u200cها", "راه"]
ODD = ["x² und ½", "warte…", "10\u00a0%", "cafe\u0301", "\u1112\u1161\u11ab"]
LINES = PLAIN + PERSIAN + ODD
DRAW = Random(1)
SYLLABLES = [first + second for first in "bdfgklmn" for second in "aeiou"]
FILLER = [" ".join("".join(DRAW.choices(SYLLABLES, k=3)) for _ in range(9)) for _ in range(40)]
NMT, NFKC, IDENTITY, FOLDED = (
    SubwordTokenizer(kind="unigram", vocabulary=90, normalization=name)
    for name in ("nmt_nfkc", "nfkc", "identity", "nmt_nfkc_cf")
)
LOST_IN_NFKC = {"²": 1, "½": 1, "…": 1, "\u00a0": 1, "\u0301": 1, "\u1161": 1, "\u11ab": 1}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (NMT, {"\u200c": 2, **LOST_IN_NFKC}),
        (NFKC, LOST_IN_NFKC),
        (IDENTITY, {}),
        (FOLDED, {"\u200c": 2, **LOST_IN_NFKC}),
        (CharacterTokenizer(kind="character"), {}),
        (
            CharacterTokenizer(kind="character", decompose=True),
            {"\u0301": 1, "\u1161": 1, "\u11ab": 1},
        ),
        (WordTokenizer(kind="word"), {"\u00a0": 1}),
        (WordTokenizer(kind="word", separators=" ,"), {"\u00a0": 1, ",": 1}),
    ],
)
def test_the_lost_characters_are_those_that_decoding_does_not_restore(
    recipe: SideTokenizer, expected: dict[str, int]
) -> None:
    tokenizer = train_tokenizers(recipe, [(FILLER, LINES)], seed=1).target
    found = LostCharacters(tokenizer)
    for line in LINES:
        found.add([line])
    assert found.characters == expected
    restored = tokenizer.decode(tokenizer.encode(LINES))
    folds = recipe is FOLDED
    assert found.num_texts == sum(
        not set(line.lower() if folds else line) <= {*text, " "}
        for line, text in zip(LINES, restored, strict=True)
    )
    assert dict(found.most_common()).items() <= expected.items()
    assert found.num_spaced == ("  " not in restored[1])


def recipe_of(folder: Path, targets: list[str], tokenizer: Tokenizers) -> Recipe:
    (folder / "s").write_text("".join(f"{line} 10\u00a0% ½\n" for line in FILLER[: len(targets)]))
    (folder / "t").write_text("".join(f"{line}\n" for line in targets))
    train = FileSet(source=str(folder / "s"), target=str(folder / "t"))
    data = FilesData(kind="files", train=train, filters=Filters(max_ratio=1000))
    return Recipe(task="translation", data=data, tokenizer=tokenizer)


FEW = replace(FOLDED, vocabulary=36)
BOTH = [*PERSIAN, *PERSIAN, *PLAIN, *PLAIN]
ZWNJ = "'\\u200c' (U+200C ZERO WIDTH NON-JOINER)"
CHARACTERS = CharacterTokenizer(kind="character")


@pytest.mark.parametrize(
    ("targets", "tokenizer", "expected"),
    [
        (BOTH, NMT, f"changes 4 of 14 targets: no output can have {ZWNJ} (4); "
         "tokenizer.normalization: nfkc keeps them"),
        (BOTH, NFKC, None),
        (BOTH, SeparateTokenizers(kind="separate", source=CHARACTERS, target=FEW),
         f"changes 4 of 14 targets: no output can have {ZWNJ} (4); tokenizer.target.normalization: "
         "nfkc_cf keeps them"),
        (BOTH, SeparateTokenizers(kind="separate", source=NMT, target=CHARACTERS), None),
        ([*BOTH, "wait…"], NFKC, "changes 1 of 15 targets: no output can have '…' (U+2026 "
         "HORIZONTAL ELLIPSIS) (1); tokenizer.normalization: identity keeps them"),
        ([*BOTH, "e\u0301"], CharacterTokenizer(kind="character", decompose=True),
         "changes 1 of 15 targets: no output can have '\u0301' (U+0301 COMBINING ACUTE ACCENT) "
         "(1); tokenizer.decompose: false keeps them"),
        ([*BOTH, "10\u00a0%"], WordTokenizer(kind="word"), "changes 1 of 15 targets: no output can "
         "have '\\xa0' (U+00A0 NO-BREAK SPACE) (1); a tokenizer of words writes ' ' between all "
         "words"),
        (["¼½¾²³…", *BOTH], NFKC, "changes 1 of 15 targets: no output can have '²' (U+00B2 "
         "SUPERSCRIPT TWO) (1), '³' (U+00B3 SUPERSCRIPT THREE) (1), '¼' (U+00BC VULGAR FRACTION "
         "ONE QUARTER) (1), '½' (U+00BD VULGAR FRACTION ONE HALF) (1), '¾' (U+00BE VULGAR FRACTION "
         "THREE QUARTERS) (1), 1 more; tokenizer.normalization: identity keeps them"),
    ],
)  # fmt: skip
def test_prep_says_what_no_output_can_have(
    targets: list[str], tokenizer: Tokenizers, expected: str | None, tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path, targets, tokenizer)
    report = prepare(recipe, tmp_path / "run")
    found = [line for line in report.warnings if "normalization" in line]
    assert found == ([] if expected is None else [f"train: normalization {expected}"])
    again = prepare(recipe, tmp_path / "run")  # from the report that it keeps
    assert (again.redone, again.warnings, again.splits) == ((), report.warnings, report.splits)


@pytest.mark.parametrize("tokenizer", [NFKC, WordTokenizer(kind="word")])
def test_prep_says_which_spaces_no_output_can_have(tokenizer: Tokenizers, tmp_path: Path) -> None:
    """Only where a metric compares them: BLEU and its like do not."""
    targets = [*PERSIAN, "der  Hund", " der Hund", "der Hund  "]
    recipe = recipe_of(tmp_path, targets, tokenizer)
    for metrics in (("bleu", "exact"), ("bleu",)):
        report = prepare(replace(recipe, metrics=metrics), tmp_path / "run", force=True)
        assert report.splits["train"].target.spaced == 2
        found = [line for line in report.warnings if "begin with a space" in line]
        expected = f"train: 2 of {len(targets)} targets begin with a space or have several in a row"
        assert [line.partition(",")[0] for line in found] == [expected] * ("exact" in metrics)
    plain = replace(recipe, tokenizer=CharacterTokenizer(kind="character"))
    assert prepare(plain, tmp_path / "plain").splits["train"].target.spaced == 0


def test_the_table_counts_both_sides(tmp_path: Path) -> None:
    report = prepare(recipe_of(tmp_path, BOTH, NMT), tmp_path / "run")
    rows = dict(report.rows())
    assert rows["sources normalized"] == ["14"]  # ½ and a no-break space
    assert rows["targets normalized"] == ["4"]
    side = report.as_json()["splits"]["train"]["source"]
    assert (side["changed"], side["lost"], side["num_lost"]) == (14, (("\xa0", 14), ("½", 14)), 2)
    plain = prepare(recipe_of(tmp_path, BOTH, IDENTITY), tmp_path / "plain")
    assert not [label for label, _ in plain.rows() if "normalized" in label]


def test_a_report_made_before_is_read() -> None:
    side = {"tokens": 3, "unknown": 0, "lengths": [1, 1, 1, 1]}
    split = {"read": 1, "kept": 1, "dropped": {}, "line_breaks": 0, "in_train": None}
    content = {"source_vocabulary": 9, "target_vocabulary": 9, "seconds": 1.0}
    text = json.dumps({"splits": {"train": {**split, "source": side, "target": side}}, **content})
    report = PrepareReport.from_json(text)
    assert report.splits["train"].target.lost == ()
    assert PrepareReport.from_json(report.to_json()) == report


def test_unknown_targets_of_training_are_shown(tmp_path: Path) -> None:
    tokenizer = CharacterTokenizer(kind="character", min_count=2)
    targets = [*["abab"] * 4, "añ☃a"]
    report = prepare(recipe_of(tmp_path, targets, tokenizer), tmp_path / "run")
    assert [line for line in report.warnings if "unknown" in line] == [
        "train: 2 target tokens (10.0%) are unknown, such as 'ñ' (U+00F1 LATIN SMALL LETTER N WITH "
        "TILDE), '☃' (U+2603 SNOWMAN); no output can have them"
    ]


def test_what_nfkc_alone_keeps() -> None:
    assert all(map(kept_by_nfkc, "\u200c\u200d\u200b\ufeff"))
    assert not any(map(kept_by_nfkc, "½²…\u00a0\u3000\u0301é"))

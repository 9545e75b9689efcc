"""Scores against sacrebleu's own command line."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest

import s2s
from s2s.errors import DataError, UsageError
from s2s.metrics.corpus import score
from s2s.recipe.scoring import Scoring
from tests.commands import HANGS

WORDS = (
    *("The", "the", "cat", ",", "sat", "on", "a", "mat", ".", "Über", "straße", "naïve"),
    *("1,000", "don't", "你好", "--", "(x)", "\u2028z"),
)


def lines(count: int, seed: int) -> list[str]:
    """Random sentences, some of them empty, some with white space at the end."""
    draw = random.Random(seed)
    made = [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(count)]
    return [line + draw.choice(["", "", " ", "\t"]) for line in made]


def near(references: list[str], seed: int) -> list[str]:
    """Sentences that share much with the references."""
    draw = random.Random(seed)
    return [
        " ".join(w for w in line.split(" ") if draw.random() < 0.9) or "a" for line in references
    ]


def command_line(
    folder: Path, hypotheses: list[str], references: list[list[str]], *options: str
) -> dict[str, dict[str, object]]:
    """What `python -m sacrebleu` says of the same lines."""
    files = [folder / f"reference{i}" for i in range(len(references))]
    for file, content in zip(
        [folder / "hypothesis", *files], [hypotheses, *references], strict=True
    ):
        file.write_text("".join(line + "\n" for line in content), encoding="utf-8")
    arguments = ["-i", str(folder / "hypothesis"), "-m", "bleu", "chrf", "-w", "6", "-f", "json"]
    command = [sys.executable, "-m", "sacrebleu", *map(str, files), *arguments, *options]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANGS)
    return {entry["name"]: entry for entry in json.loads(said.stdout)}


@pytest.mark.parametrize(
    ("options", "count", "choices"),
    [
        ([], 1, {}),
        (
            ["-tok", "intl", "-lc", "--chrf-lowercase"],
            2,
            {"scoring": Scoring(tokenize="intl", lowercase=True)},
        ),
        (
            ["-tok", "char", "--confidence"],
            1,
            {"scoring": Scoring(tokenize="char"), "confidence": True},
        ),
        (["--confidence", "-cin", "50"], 3, {"confidence": 50}),
    ],
)
def test_numbers_and_signatures_are_sacrebleus_own(
    tmp_path: Path, options: list[str], count: int, choices: dict[str, bool | int | Scoring]
) -> None:
    references = [lines(60, seed) for seed in range(count)]
    hypotheses = near(references[0], 9)
    expected = command_line(tmp_path, hypotheses, references, *options)
    found = score(["bleu", "chrf"], hypotheses, references, **choices)  # type: ignore[arg-type]
    for one, label in zip(found.values, ["BLEU", "chrF2"], strict=True):
        entry = expected[label]
        assert one.label == label
        assert round(one.value, 6) == entry["score"]
        assert one.signature == entry["signature"]
        if "confidence" in choices:
            assert one.interval is not None
            # sacrebleu computes them in single precision.
            assert one.interval.mean == pytest.approx(entry["confidence_mean"], abs=1e-4)
            assert one.interval.half_width == pytest.approx(entry["confidence_var"], abs=1e-4)
        else:
            assert one.interval is None


@pytest.mark.parametrize(
    ("hypotheses", "references", "lowercase", "value"),
    [
        (["a b", "c "], [["a b", "c"]], False, 100.0),
        (["a b", "C"], [["a b", "c"]], False, 50.0),
        (["a b", "C"], [["a b", "c"]], True, 100.0),
        (["a", "b", "c", "d"], [["a", "x", "x", "x"], ["x", "b", "x", "x"]], False, 50.0),
        ([""], [[""]], False, 100.0),
    ],
)
def test_exact_matches(
    hypotheses: list[str], references: list[list[str]], lowercase: bool, value: float
) -> None:
    scores = score(
        ["exact", "g2p_wer"], hypotheses, references, scoring=Scoring(lowercase=lowercase)
    )
    assert scores.value("exact") == value
    assert scores.value("g2p_wer") == 100.0 - value


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", " \u200b "])
def test_white_space_at_the_end_of_a_line_does_not_count(space: str) -> None:
    names = ["exact", "bleu", "chrf", "wer", "cer", "per", "rouge", "meteor", "distinct", "variety"]
    said, wanted = ["a b c d", "e f x", ""], ["a b c d", "e f g", "h"]
    expected = score(names, said, [wanted])
    assert expected.value("exact") == pytest.approx(100 / 3)
    found = score(names, [line + space for line in said], [[line + space for line in wanted]])
    assert found.as_json() == expected.as_json()
    assert (found.blank_hypotheses, found.blank_references) == (1, 0)


@pytest.mark.parametrize("space", ["\t", "\u00a0", "\u3000", "\u200b", "\ufeff"])
def test_white_space_of_any_kind_separates_words(space: str) -> None:
    names = ["wer", "per", "rouge", "distinct"]
    how = Scoring(rouge_tokens="space", tokenize="none")
    said, wanted = ["a b c d", "e f x"], ["a b d d", "e f g"]
    expected = score(names, said, [wanted], scoring=how)
    assert expected.value("wer") == pytest.approx(100 * 2 / 7)
    wanted = [line.replace(" ", space) for line in wanted]
    said = [line.replace(" ", space) for line in said]
    assert score(names, said, [wanted], scoring=how).as_json() == expected.as_json()


def test_what_is_printed_and_what_is_stored() -> None:
    names = ["exact", "bleu"]
    signature = f"nrefs:1|case:mixed|match:line|version:s2s-{s2s.__version__}"
    plain = score(names, ["a b c d e", "x"], [["a b c d e", "y"]])
    assert plain.lines()[0] == f"exact = 50.00  {signature}"
    assert plain.lines()[1].startswith("BLEU = ")
    assert list(plain.as_json()) == names
    assert plain.as_json()["exact"] == {"value": 50.0, "signature": signature}
    sure = score(["exact"], ["a"] * 50 + ["b"] * 50, [["a"] * 100], confidence=True)
    (one,) = sure.values
    assert re.fullmatch(
        r"exact = 50.00 \(μ = \d+\.\d\d ± \d+\.\d\d\)  nrefs:1\|bs:1000\|seed:12345\|.*",
        sure.lines()[0],
    )
    assert one.interval is not None
    # The normal approximation of a binomial share.
    assert one.interval.mean == pytest.approx(50.0, abs=0.5)
    assert one.interval.half_width == pytest.approx(1.96 * 5.0, abs=0.9)
    assert json.loads(json.dumps(sure.as_json()))["exact"]["mean"] == one.interval.mean


def test_lines_without_text_are_scored() -> None:
    assert score(["bleu", "chrf"], ["", ""], [["a b", "c"]]).value("bleu") == 0.0
    assert score(["bleu", "chrf"], ["", ""], [["", ""]], confidence=True).value("chrf") == 0.0


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (["a"], [["a", "b"]], "references: expected 1 lines, one per translation, found 2"),
        (
            ["a"] * 1500,
            [["a"] * 1500, ["a"]],
            "references 2: expected 1,500 lines, one per translation, found 1",
        ),
        ([], [[]], "translations and references have no lines"),
        (["a"], [], "no references"),
    ],
)
def test_counts_that_do_not_fit(
    hypotheses: list[str], references: list[list[str]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(["bleu"], hypotheses, references)


def test_a_tokenization_whose_model_cannot_be_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.SACREBLEU_DIR", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(
        UsageError, match=r"tokenize 'flores200': sacrebleu could not download"
    ) as e:
        score(["bleu"], ["a"], [["a"]], scoring=Scoring(tokenize="flores200"))
    assert "SACREBLEU names" in str(e.value)


def test_a_tokenization_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    with pytest.raises(UsageError, match=r"tokenize 'ja-mecab' cannot be used: .*sacrebleu\[ja\]"):
        score(["bleu"], ["a"], [["a"]], scoring=Scoring(tokenize="ja-mecab"))


def test_a_line_without_any_reference() -> None:
    with pytest.raises(DataError, match="line 2: no reference"):
        score(["bleu"], ["a", "b"], [["a", None], ["c", None]])

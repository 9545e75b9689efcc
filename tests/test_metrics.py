"""Scores against sacrebleu's own command line."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from s2s.errors import DataError, UsageError
from s2s.metrics import MetricName, score

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
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    return {entry["name"]: entry for entry in json.loads(said.stdout)}


@pytest.mark.parametrize(
    ("options", "count", "choices"),
    [
        ([], 1, {}),
        (["-tok", "intl", "-lc", "--chrf-lowercase"], 2, {"tokenize": "intl", "lowercase": True}),
        (["-tok", "char", "--confidence"], 1, {"tokenize": "char", "confidence": True}),
        (["--confidence", "-cin", "50"], 3, {"confidence": 50}),
    ],
)
def test_numbers_and_signatures_are_sacrebleus_own(
    tmp_path: Path, options: list[str], count: int, choices: dict[str, bool | int | str]
) -> None:
    references = [lines(60, seed) for seed in range(count)]
    hypotheses = near(references[0], 9)
    expected = command_line(tmp_path, hypotheses, references, *options)
    found = score(["bleu", "chrf"], hypotheses, references, **choices)  # type: ignore[arg-type]
    for figure, label in zip(found.figures, ["BLEU", "chrF2"], strict=True):
        entry = expected[label]
        assert figure.label == label
        assert round(figure.value, 6) == entry["score"]
        assert figure.signature == entry["signature"]
        if "confidence" in choices:
            assert figure.interval is not None
            assert round(figure.interval.mean, 6) == entry["confidence_mean"]
            assert round(figure.interval.half_width, 6) == entry["confidence_var"]
        else:
            assert figure.interval is None


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
    assert score(["exact"], hypotheses, references, lowercase=lowercase).value("exact") == value


def test_what_is_printed_and_what_is_stored() -> None:
    names: list[MetricName] = ["exact", "bleu"]
    plain = score(names, ["a b c d e", "x"], [["a b c d e", "y"]])
    assert plain.lines()[0] == "exact = 50.00  nrefs:1|case:mixed|match:line"
    assert plain.lines()[1].startswith("BLEU = ")
    assert list(plain.as_json()) == names
    assert plain.as_json()["exact"] == {
        "value": 50.0,
        "signature": "nrefs:1|case:mixed|match:line",
    }
    sure = score(["exact"], ["a"] * 50 + ["b"] * 50, [["a"] * 100], confidence=True)
    assert sure.lines() == [
        "exact = 50.00 (μ = 50.00 ± 9.80)  nrefs:1|case:mixed|match:line|ci:normal"
    ]
    assert json.loads(json.dumps(sure.as_json()))["exact"]["half_width"] == pytest.approx(9.8)


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


def test_an_unknown_tokenization() -> None:
    with pytest.raises(UsageError, match=r"tokenize: expected one of .*13a.*, found '13b'"):
        score(["bleu"], ["a"], [["a"]], tokenize="13b")

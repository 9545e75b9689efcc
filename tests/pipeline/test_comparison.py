"""`s2s compare`: paired tests against sacrebleu's own, and what a reader sees."""

import json
import random
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from s2s.errors import DataError, UsageError
from s2s.metrics.comparison import Comparison, Contest, System, compare
from s2s.metrics.comparison_text import side_by_side, table
from s2s.metrics.resampling import Paired, TestName
from s2s.recipe.metrics import TEXT_METRICS
from s2s.recipe.scoring import Scoring
from s2s_cli.main import run as command_line
from tests.metrics.test_task_metrics import OF_LABELS

NAMES = tuple(name for name in TEXT_METRICS if name not in OF_LABELS)
WORDS = ("The", "cat", ",", "sat", "on", "a", "mat", "straße", "don't", "running")


def lines(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) for _ in range(count)]


def near(references: list[str], seed: int, share: float) -> list[str]:
    """Sentences that keep this share of the references' words."""
    draw = random.Random(seed)
    return [
        " ".join(w if draw.random() < share else draw.choice(WORDS) for w in line.split())
        for line in references
    ]


def contest(
    names: tuple[str, ...],
    test: TestName = "randomization",
    samples: int = 200,
    **more: object,
) -> Contest:
    return Contest(metrics=names, scoring=Scoring(), test=Paired(test, samples), **more)  # type: ignore[arg-type]


def two(one: list[str], other: list[str], references: list[str], how: Contest) -> Comparison:
    return compare([System("one", one), System("other", other)], [references], how)


@pytest.mark.parametrize(("test", "sign"), [("randomization", "ar"), ("bootstrap", "bs")])
def test_bleu_and_chrf_are_tested_as_sacrebleu_tests_them(test: TestName, sign: str) -> None:
    references = [lines(81, 1), lines(81, 2)]
    systems = [
        System(f"s{i}", near(references[0], i, share)) for i, share in enumerate((0.6, 0.63, 0.7))
    ]
    found = compare(systems, references, contest(("bleu", "chrf"), test, 300))
    oracle = PairedTest(
        [(system.name, system.lines) for system in systems],
        {"BLEU": BLEU(references=references), "chrF2": CHRF(references=references)},
        references=None,
        test_type=sign,
        n_samples=300,
    )
    signatures, scores = oracle()
    for place, label in enumerate(("BLEU", "chrF2")):
        baseline, *others = scores[label]
        assert found.scores[place].value == pytest.approx(baseline.score)
        assert found.scores[place].signature == str(signatures[label])
        for against, expected in zip(found.others, others, strict=True):
            assert against.contrasts[place].score.value == pytest.approx(expected.score)
            assert against.contrasts[place].p_value == pytest.approx(expected.p_value, abs=1e-9)
    p_values = [a.contrasts[0].p_value for a in found.others]
    assert p_values[0] > 0.05 > p_values[1]


@pytest.mark.parametrize("test", get_args(TestName))
def test_an_output_against_itself(test: TestName) -> None:
    references = lines(20, 1)
    output = near(references, 2, 0.5)
    (other,) = two(output, output, references, contest(NAMES, test, 50)).others
    assert (other.num_unequal, other.lines) == (0, ())
    for contrast in other.contrasts:
        assert contrast.p_value == 1.0
        if contrast.wins is not None:
            assert (contrast.wins, contrast.ties, contrast.losses) == (0, 20, 0)


def test_one_line_that_differs_is_no_evidence() -> None:
    """Every shuffle gives the same difference; sacrebleu would say p = 1 / (trials + 1)."""
    references = lines(30, 1)
    output = [*references[:-1], "something else"]
    (other,) = two(references, output, references, contest(("bleu", "exact", "wer"))).others
    assert [contrast.p_value for contrast in other.contrasts] == [1.0, 1.0, 1.0]
    assert (other.num_unequal, other.lines[0].line) == (1, 30)


def test_exact_matches_are_a_sign_test() -> None:
    """Randomization of 0/1 scores approximates the exact two-sided sign test."""
    references = ["a"] * 40
    one = ["a"] * 20 + ["b"] * 20
    other = ["a"] * 17 + ["b"] * 3 + ["a"] * 13 + ["b"] * 7  # 13 gained, 3 lost
    (found,) = two(one, other, references, contest(("exact",), samples=8000)).others
    (contrast,) = found.contrasts
    assert (contrast.wins, contrast.ties, contrast.losses) == (13, 24, 3)
    tail = sum(int(np.prod([(16 - i) / (i + 1) for i in range(k)]).round()) for k in range(4))
    assert contrast.p_value == pytest.approx(2 * tail / 2**16, abs=0.006)


def test_swapping_outputs_swaps_wins_and_keeps_p() -> None:
    references = lines(25, 1)
    one, other = near(references, 2, 0.5), near(references, 3, 0.8)
    (there,) = two(one, other, references, contest(NAMES)).others
    (back,) = two(other, one, references, contest(NAMES)).others
    for left, right in zip(there.contrasts, back.contrasts, strict=True):
        assert left.p_value == pytest.approx(right.p_value)
        assert (left.wins, left.ties, left.losses) == (right.losses, right.ties, right.wins)
    by_name = {contrast.score.name: contrast for contrast in there.contrasts}
    for name in ("bleu", "wer"):  # the better output wins, whichever way its score points
        contrast = by_name[name]
        assert contrast.wins is not None
        assert contrast.losses is not None
        assert contrast.wins > contrast.losses
        assert contrast.p_value < 0.05
    assert by_name["distinct1"].wins is None


def test_lines_that_differ_most() -> None:
    references = ["a b c d", "e f g h", "i j k l", "m n o p"]
    one = ["a b c d", "e f x x", "x x x x", "m n o p"]
    other = ["a b c x", "e f g h", "i j k l", "m n o p"]
    (found,) = two(one, other, references, contest(("bleu", "wer"), by="wer", num_lines=2)).others
    assert found.by == "WER"
    assert [(d.line, d.baseline, d.other) for d in found.lines] == [(3, 100.0, 0.0), (2, 50.0, 0.0)]
    (found,) = two(one, other, references, contest(("distinct", "bleu"), num_lines=9)).others
    assert (found.by, [d.line for d in found.lines]) == ("BLEU", [3, 2, 1])


def test_lines_that_are_not_shown_differ_nevertheless() -> None:
    one, other, references = ["a b c d", "e f x x"], ["a b c d", "e f g h"], ["a b c d", "e f g h"]

    def last(other: list[str], num_lines: int) -> str:
        found = two(one, other, references, contest(("exact",), num_lines=num_lines))
        outputs = [System("one", one), System("other", other)]
        return next(line for line in side_by_side(found, outputs, (None, [])) if line)

    assert last(other, 9) == "one and other: 1 lines differ; most by exact:"
    assert last(other, 0) == "one and other: 1 lines differ"
    assert last(["a b c d", "e f y y"], 9) == "one and other: 1 lines differ, none by exact"


def test_mistakes() -> None:
    how = contest(("bleu", "distinct"), by="wer", samples=5)
    with pytest.raises(
        UsageError, match="--by wer: expected a value that single lines have, one of bleu"
    ):
        two(["a"], ["b"], ["a"], how)
    with pytest.raises(DataError, match="other: expected 2 lines, as in one, found 1"):
        two(["a", "b"], ["a"], ["a", "b"], contest(("bleu",)))


# ----------------------------------------------------------------------------------- the command


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "r": "a b c d\ne f g h\n\n",
        "s": "A B\nC D\n\n",
        "one": "a b c d\ne f g x\n\n",
        "two": "a b c d\ne f g h\n\n",
        "short": "a\n",
    }.items():
        Path(name).write_text(text)


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = command_line(("compare", *arguments))
    captured = capfd.readouterr()
    return status, captured.out, captured.err


def test_files(capfd: pytest.CaptureFixture[str]) -> None:
    options = ("--reference", "r", "--metric", "exact", "--metric", "cer", "--samples", "99")
    status, out, err = call(capfd, "one", "two", "one", *options, "--source", "s")
    assert (status, err) == (0, "")
    head, *rest = out.splitlines()
    assert head.startswith("exact  nrefs:1|ar:99|seed:12345|case:mixed|match:line|version:s2s-")
    assert rest[:3] == [
        "  one   66.67  baseline",
        "  two  100.00  p = 1.0000  better 1, equal 2, worse 0",
        "  one   66.67  p = 1.0000  better 0, equal 3, worse 0",
    ]
    assert rest[4:] == [
        "  one    7.14  baseline",
        "  two    0.00  p = 1.0000  better 1, equal 2, worse 0",
        "  one    7.14  p = 1.0000  better 0, equal 3, worse 0",
        "",
        "one and two: 1 lines differ; most by exact:",
        "line 2: 0.00 -> 100.00",
        "  source     C D",
        "  reference  e f g h",
        "  one        e f g x",
        "  two        e f g h",
        "",
        "one and one: the same text in every line",
    ]
    found = json.loads(call(capfd, "one", "two", *options, "--json")[1])
    assert found["baseline"]["scores"]["cer"]["value"] == pytest.approx(100 / 14)
    (other,) = found["others"]
    assert (other["name"], other["scores"]["cer"]["wins"], other["by"]) == ("two", 1, "exact")
    assert other["lines"] == [{"line": 2, "baseline": 0.0, "other": 100.0}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one",), "compare: expected two outputs or more, found one"),
        (("one", "two"), "--reference: expected files of references; only a run has its own"),
        (("one", "short", "--reference", "r"), "short: expected 3 lines, as in one, found 1"),
        (("one", "two", "--reference", "short"), "references: expected 3 lines, one per translat"),
        (
            ("one", "two", "--reference", "r", "--source", "short"),
            "short: expected 3 lines of sour",
        ),
        (("one", "nope", "--reference", "r"), "nope: no such run"),
        (
            ("one", "two", "--reference", "r", "--metric", "perplexity"),
            "perplexity: expected a met",
        ),
    ],
)
def test_wrong_command_lines(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = call(capfd, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"s2s: error: {message}")


@pytest.mark.parametrize("test", get_args(TestName))
def test_a_metric_that_cannot_tell_outputs_apart_says_so(test: TestName) -> None:
    """BLEU of one word is 0, right or wrong: others show which output is better."""
    references = [f"word{place}" for place in range(30)]
    wrong, right = [f"{word}x" for word in references], [*references[:27], "no", "nor", "never"]
    found = two(wrong, right, references, contest(("bleu",), test, 500))
    (other,) = found.others
    assert [score.name for score in found.scores] == ["bleu", "chrf", "exact"]
    assert [one.is_flat for one in other.contrasts] == [True, False, False]
    assert [one.score.value for one in other.contrasts][::2] == [0.0, 90.0]
    assert other.contrasts[0].p_value == 1.0 and other.contrasts[2].p_value < 0.01
    (told,) = [line for line in table(found) if "cannot tell" in line]
    assert "BLEU cannot tell one and other apart: it is 0.00" in told
    assert found.as_json()["others"][0]["scores"]["bleu"]["flat"] is True


def test_equal_scores_of_a_metric_that_could_differ_are_not_flat() -> None:
    references = ["a", "b", "c", "d"]
    found = two(["a", "x", "c", "y"], ["x", "b", "c", "y"], references, contest(("exact",)))
    (contrast,) = found.others[0].contrasts
    assert (contrast.wins, contrast.losses, contrast.is_flat) == (1, 1, False)
    same = two(["q"] * 4, ["q"] * 4, references, contest(("bleu",)))
    assert [one.is_flat for one in same.others[0].contrasts] == [False]

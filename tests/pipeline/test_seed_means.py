"""Means over the seeds of a sweep, against the textbook's formulas."""

import math
from statistics import mean, stdev

import pytest

from s2s.pipeline.averaging import ValidationScores
from s2s.pipeline.seed_means import QUANTILES, half_interval, seed_means
from s2s.pipeline.sweep_results import SettingResult, Sweep

SCORES = {"1e-3": {"1": 30.0, "2": 31.0, "3": 32.5}, "3e-4": {"1": 31.0, "2": 31.5, "3": 34.5}}


def setting(rate: str, seed: str, score: float, state: str = "finished") -> SettingResult:
    return SettingResult(
        name=f"{rate}-{seed}",
        folder=f"runs/{rate}-{seed}",
        values={"seed": seed, "train.optimizer.learning_rate": rate},
        state=state,  # type: ignore[arg-type]
        best=ValidationScores(nll=1.0, scores={"bleu": score}),
        minutes=2.0 * float(seed),
        parameters=1000,
    )


def settings() -> list[SettingResult]:
    return [setting(r, s, score) for r, by in SCORES.items() for s, score in by.items()]


def test_means_deviations_and_paired_differences() -> None:
    first, second = seed_means(settings(), "bleu")
    assert first.values == {"train.optimizer.learning_rate": "1e-3"}
    assert (first.mean, first.deviation) == (mean([30, 31, 32.5]), stdev([30, 31, 32.5]))
    assert (first.difference, first.interval, first.minutes) == (None, None, 4.0)
    differences = [1.0, 0.5, 2.0]
    assert second.difference == pytest.approx(mean(differences))
    # Paired, the interval is narrower than the deviations between seeds suggest.
    assert second.interval == pytest.approx(4.303 * stdev(differences) / math.sqrt(3))


def test_only_finished_runs_and_shared_seeds_count() -> None:
    more = [*settings()[:5], setting("3e-4", "3", 99.0, "begun"), setting("1e-5", "9", 20.0)]
    _, second, third = seed_means(more, "bleu")
    assert second.seeds == ("1", "2")
    assert second.difference == pytest.approx(0.75)
    assert (third.difference, third.interval, third.deviation) == (None, None, None)


def test_a_sweep_without_seeds_has_no_means() -> None:
    alone = [one for one in settings() if one.values["seed"] == "1"]
    assert seed_means(alone, "bleu") == []
    sweep = Sweep(metric="bleu", settings=tuple(alone))
    assert "mean" not in "\n".join(sweep.lines())
    assert sweep.as_json()["seed_means"] == []


def test_the_table_follows_that_of_runs() -> None:
    lines = Sweep(metric="bleu", settings=tuple(settings())).lines()
    blank = lines.index("")
    head, one, two = lines[blank + 1 :]
    assert head.split()[:7] == ["bleu,", "mean", "deviation", "from", "the", "first", "min"]
    assert head.split()[7:] == ["seeds", "learning_rate"]
    assert one.split() == ["31.17", "1.26", "4.0", "3", "1e-3"]
    assert two.split() == ["32.33", "1.89", "+1.17", "±", "1.90", "4.0", "3", "3e-4"]
    assert not any(
        "mean" in line
        for line in Sweep(metric="bleu", settings=tuple(settings())).lines(is_brief=True)
    )


def test_quantiles_are_students() -> None:
    """By numerical integration of the density."""
    for freedom in (1, 2, 5, 30):
        end, steps = QUANTILES[freedom - 1], 200_000
        norm = math.gamma((freedom + 1) / 2) / (
            math.sqrt(freedom * math.pi) * math.gamma(freedom / 2)
        )
        xs = ((i + 0.5) * end / steps for i in range(steps))
        area = sum((1 + x * x / freedom) ** (-(freedom + 1) / 2) for x in xs) * norm * end / steps
        assert area == pytest.approx(0.475, abs=1e-4)
    assert half_interval([3.0]) is None
    assert half_interval([2.0, 2.0]) == 0.0

"""`s2s bench --workers`: several processes find the same outputs, with results of their own."""

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
import torch

from s2s import pipeline
from s2s.bench import matmul as products
from s2s.bench.decoding import Decoding, SearchSetup
from s2s.bench.measure import Amounts, Plan, measure
from s2s.bench.startup import Program
from s2s.bench.tables import tables
from s2s.bench.training import GroupTraining, Training, training_batches
from s2s.bench.workload import random_workload, run_workload
from s2s.errors import UsageError
from s2s.inference.process_pool import equal_shares
from s2s.recipe.load import load_recipe
from s2s.recipe.model import Dropout
from s2s.recipe.tokenizer import CharacterTokenizer
from s2s.recipe.train import CosineSchedule, Optimizer
from s2s.run.directory import Run
from s2s.search.hypothesis import Hypothesis
from s2s_cli.main import run as command_line
from tests.bench.test_bench import RECIPE
from tests.captions import write_captions

CPU = torch.device("cpu")
NO_DROPOUT = Dropout(embedding=0, encoder=0, decoder=0, readout=0)
PLAN = Plan(
    only=("training", "decoding"),
    repeats=1,
    workers=2,
    device="cpu",
    amounts=Amounts(updates=2, sentences=15, square=24),
    program=Program(start=(), commands=()),
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(products, "PRECISIONS", ("fp32",))


def silent(stage: str, done: int, total: int | None) -> None:
    """No progress."""


Found = dict[SearchSetup, list[Hypothesis]]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    """The outputs of the last search in each setup."""
    kept: Found = {}
    search = Decoding.search

    def keep(self: Decoding, setup: SearchSetup) -> list[Hypothesis]:
        kept[setup] = search(self, setup)
        return kept[setup]

    monkeypatch.setattr(Decoding, "search", keep)
    return kept


def check_same(found: Found) -> None:
    """A setup has the same outputs for any number of processes."""
    several = [setup for setup in found if setup.processes > 1]
    assert len(several) * 2 == len(found)
    for setup in several:
        alone = found[setup._replace(processes=1)]
        assert [one.tokens for one in found[setup]] == [one.tokens for one in alone]
        assert sum(len(one.tokens) for one in alone) > 0


def test_several_processes_find_what_one_finds(found: Found) -> None:
    """All setups search the same number of long sentences. Results have their own rows."""
    recipe = dataclasses.replace(RECIPE, tokenizer=CharacterTokenizer(kind="char"))
    report = measure(recipe, PLAN, silent)
    check_same(found)
    assert report.is_complete
    setups = [(one.search, one.precision, one.processes) for one in report.decoding]
    alone = [setup for setup in setups if setup[2] == 1]
    assert setups == [*alone, *((name, precision, 2) for name, precision, _ in alone)]
    amounts = {(one.sentences, one.tokens, one.precision) for one in report.decoding}
    assert 1 < report.decoding[0].sentences < PLAN.amounts.sentences
    assert len(amounts) == len({precision for _, precision, _ in setups})
    assert all((one.share is None) == (one.processes > 1) for one in report.decoding)
    (table,) = (table for table in tables(report) if table.title == "Decoding")
    column = table.header.index("processes")
    assert [row[column] for row in table.rows] == [str(processes) for *_, processes in setups]
    (table,) = (table for table in tables(report) if table.title == "Training")
    assert table.header == ("", "value", "2 processes")
    assert all(len(row) == 3 for row in table.rows)
    machine = dataclasses.replace(report.machine, cores=2, threads=1, others=1.0)
    assert machine.processes == 2 and machine.warning is not None


def test_they_do_with_features_of_a_run(
    found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_captions(tmp_path)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(Path("recipe.yaml"), ["train.epochs=2"])
    pipeline.train(recipe, runs=tmp_path / "runs", device="cpu")
    decoding = Decoding(run_workload(Run(tmp_path / "runs" / "shapes"), CPU), 11, ["fp32"], 2)
    with closing(decoding):
        for turn in decoding.turns:
            turn.run()
        check_same(found)
        assert decoding.pool is not None
    assert not any(process.is_alive() for process in decoding.pool.processes)
    assert {len(one) for one in found.values()} == {11}


def test_without_workers_there_is_no_such_column() -> None:
    report = measure(RECIPE, dataclasses.replace(PLAN, workers=1), silent)
    (table,) = (table for table in tables(report) if table.title == "Decoding")
    assert "processes" not in table.header
    assert report.team_training is None
    assert {one.processes for one in report.decoding} == {1}


def flat(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All in one new vector."""
    return torch.cat([tensors[name].detach().flatten() for name in sorted(tensors)])


def test_several_processes_train_what_one_trains() -> None:
    """Without dropout: the same weights after as many updates, up to rounding."""
    model = dataclasses.replace(RECIPE.model, dropout=NO_DROPOUT)
    # A large epsilon, lest what rounding makes of a gradient of zero becomes a whole step.
    train = dataclasses.replace(
        RECIPE.train,
        schedule=CosineSchedule(kind="cosine", warmup=1),
        optimizer=Optimizer(learning_rate=1e-2, epsilon=1e-3),
    )
    recipe = dataclasses.replace(RECIPE, model=model, train=train)
    workload = random_workload(recipe, CPU)
    alone = Training(workload, training_batches(workload, 2))
    group = GroupTraining(workload, 2, 2)
    with closing(group):
        taken = {turn.name: [turn.run(), turn.run()] for turn in (*alone.turns, *group.turns)}
        assert alone.updater is not None and group.training is not None
        assert group.training.updater is not None
        begun = flat(dict(workload.model.named_parameters()))
        one, found = (
            flat(updater.state.parameters) for updater in (alone.updater, group.training.updater)
        )
    assert (one - begun).norm() > 0.1
    assert (found - one).norm() < 1e-4 * (one - begun).norm()
    results, expected = group.results(taken), alone.results(taken, {})
    assert results is not None and expected is not None
    assert (results.processes, results.peak_memory) == (2, None)
    assert results.target_tokens == expected.target_tokens
    assert results.operations_per_token == expected.operations_per_token


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_shares_are_adjacent_and_about_equal(most: int) -> None:
    sizes = [3, 1, 4, 1, 5, 9, 2]
    shares = equal_shares(sizes, most)
    assert len(shares) <= most
    assert [place for start, end in shares for place in range(start, end)] == list(range(7))
    assert max(sum(sizes[start:end]) for start, end in shares) <= sum(sizes) / most + max(sizes)


def test_they_share_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.bench.measure.choose_device", lambda name: torch.device("cuda"))
    with pytest.raises(UsageError, match=r"^--workers share the cores of a CPU, found --device"):
        measure(RECIPE, PLAN, silent)


def test_they_train_and_decode(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["bench", "--workers", "2", "--only", "matmul,prep"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (
        "",
        "s2s: error: --workers: is for training and decoding; add one of them to --only, or leave "
        "it out\n",
    )

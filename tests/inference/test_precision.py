"""Precisions that are slow or have no kernel on a machine, and outputs that do not depend on it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2s.bench import doctor as contract
from s2s.inference import load
from s2s.inference.translator_factory import TranslatorFactory
from s2s.nn.device import choose_precision
from s2s.nn.kernels import adopt, choices, measured, runs_bf16_lstm
from s2s.nn.weighted_sum import weighted_sum
from s2s.pipeline.training_process import resolved_precision
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s.training.distributed.process_group import SINGLE_PROCESS
from tests.commands import Call, call, write_example

__all__ = ["call"]

pytestmark = [pytest.mark.kernels, pytest.mark.usefixtures("one_thread")]

FAST = {"fp32": 1e11, "rounded": 9e10, "bf16": 3e11, "int8": 8e11}
SLOW = {"fp32": 1e11, "rounded": 9e10, "bf16": 2e10, "int8": 6e10}
NO_INT8 = {"fp32": 1e11, "rounded": 9e10, "bf16": 2e10}

OVERRIDES = ("--set", "train.epochs=1", "--set")

Machine = Callable[[dict[str, float]], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Sets the measured speeds of kernels."""

    def made(speeds: dict[str, float]) -> None:
        monkeypatch.setattr("s2s.nn.kernels.measured", lambda: speeds)

    monkeypatch.setattr("s2s.nn.kernels.runs_bf16_lstm", lambda: True)
    load._report_once.cache_clear()
    yield made
    load._report_once.cache_clear()


@pytest.fixture
def run(random_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A random run in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_example()
    return random_run("random")


@pytest.mark.usefixtures("run")
def test_a_fast_precision_is_used_without_a_word(call: Call, machine: Machine) -> None:
    machine(FAST)
    status, _, err = call("translate", "--precision", "int8", "--input", "test.x")
    assert status == 0
    assert "precision" not in err


@pytest.mark.usefixtures("run")
def test_a_slow_one_is_used_with_a_line(call: Call, machine: Machine) -> None:
    """Once for any number of models."""
    machine(SLOW)
    command = ("translate", "--run", "random", "--run", "random", "--input", "test.x")
    status, out, err = call(*command, "--precision", "bf16")
    assert status == 0
    assert out.count(b"\n") == 40
    (line,) = (line for line in err.splitlines() if "precision" in line)
    assert line == (
        "s2s: precision bf16 is slower than fp32 on this CPU (90 against 100 GFLOP/s); fp32, or "
        "auto, is faster"
    )


@pytest.mark.usefixtures("run")
def test_one_without_a_fast_kernel_is_refused(call: Call, machine: Machine) -> None:
    machine(NO_INT8)
    status, line = call.fault("translate", "--precision", "int8", "--input", "test.x")
    assert status == 2
    assert line == (
        "precision int8: this CPU, with this build of PyTorch, has no fast kernel for it; use fp32 "
        "or bf16"
    )


@pytest.mark.parametrize(("speeds", "chosen"), [(FAST, "int8"), (NO_INT8, "fp32")])
@pytest.mark.usefixtures("run")
def test_auto_is_what_it_says(
    call: Call, machine: Machine, speeds: dict[str, float], chosen: str
) -> None:
    machine(speeds)
    status, out, err = call("translate", "--precision", "auto", "--input", "test.x")
    assert status == 0
    assert f"s2s: precision auto: {chosen} is the fastest here" in err.splitlines()
    assert call.output("translate", "--precision", chosen, "--input", "test.x") == out


def test_auto_is_one_precision_for_an_interrupted_output(
    run: Run, call: Call, machine: Machine
) -> None:
    """The note beside the output has the precision that it chose; another one is refused."""
    machine(FAST)
    command = ("translate", "--precision", "auto", "--input", "test.x", "--output", "out.txt")
    call.output(*command)
    whole = Path("out.txt").read_bytes()
    lines = whole.splitlines(keepends=True)
    Path("out.txt").write_bytes(b"".join(lines[:11]))
    machine(NO_INT8)
    status, _, _ = call(*command, "--resume")
    assert status == 0  # a complete output has no note, so nothing is known of it
    machine(FAST)
    Path("out.txt").write_bytes(b"".join(lines[:11]))
    call.output(*command, "--resume")
    assert Path("out.txt").read_bytes() == whole


def test_a_worker_chooses_kernels_as_its_command_does(
    run: Run, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever speeds they would measure while other workers start."""
    adopted: list[Mapping[str, float]] = []
    monkeypatch.setattr("s2s.nn.kernels.adopt", adopted.append)
    search = replace(run.recipe.search, precision="int8")
    how = TranslatorFactory(
        runs=(run,),
        search=search,
        device="cpu",
        checkpoint="best",
        tag=None,
        unknown=None,
        features=None,
        speeds=FAST,
    )
    machine(FAST)
    how()
    assert not adopted  # the command has measured them itself
    monkeypatch.setattr("multiprocessing.parent_process", object)
    how()
    assert adopted == [FAST]


def test_adopted_speeds_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.nn.kernels._adopted", {})
    measured.cache_clear()
    try:
        adopt(SLOW)
        assert measured() == SLOW
        assert choices() == {"rounded": True, "encoder": False}
    finally:
        measured.cache_clear()


def test_an_output_resumes_with_the_kernels_that_began_it(
    run: Run, call: Call, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other kernels would round the rest of the output differently."""
    command = ("translate", "--precision", "int8", "--input", "test.x", "--output", "out.txt")
    machine(FAST)
    with monkeypatch.context() as patch:
        patch.setattr("s2s.pipeline.translation.remove_note", lambda path: None)
        call.output(*command)
    whole = Path("out.txt").read_bytes()
    Path("out.txt").write_bytes(b"".join(whole.splitlines(keepends=True)[:11]))
    machine({**FAST, "bf16": 1.1e11})
    status, _, err = call(*command, "--resume")
    assert status == 2
    assert "out.txt: begun with something else (kernels.encoder: True -> False" in err
    machine(FAST)
    call.output(*command, "--resume")
    assert Path("out.txt").read_bytes() == whole


def test_training_keeps_the_precision_that_auto_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, machine: Machine
) -> None:
    """Another measurement, or another machine, must not change the weights."""
    monkeypatch.chdir(tmp_path)
    write_example()
    machine(NO_INT8)
    call.output("train", "recipe.yaml", *OVERRIDES, "train.precision=auto")
    run = Run.open(Path("runs/spell"))
    machine(FAST)
    assert resolved_precision(run, run.recipe, torch.device("cpu"), SINGLE_PROCESS) == "fp32"
    other = Run.create(load_recipe(overrides=["name=other", "train.precision=auto"]))
    assert resolved_precision(other, other.recipe, torch.device("cpu"), SINGLE_PROCESS) == "bf16"


def test_training_in_bf16_without_kernels_for_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, machine: Machine
) -> None:
    monkeypatch.chdir(tmp_path)
    write_example()
    machine(FAST)
    for place in ("s2s.nn.kernels", "s2s.nn.device"):
        monkeypatch.setattr(f"{place}.runs_bf16_lstm", lambda: False)
    status, line = call.fault("train", "recipe.yaml", *OVERRIDES, "train.precision=bf16")
    assert status == 2
    assert line == (
        "train.precision: bf16: on this CPU, PyTorch has no recurrent layers in bf16; use auto or "
        "fp32"
    )
    assert choose_precision("auto", torch.device("cpu")) == "fp32"


def test_training_in_a_slow_precision_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, machine: Machine
) -> None:
    if not runs_bf16_lstm():
        pytest.skip("it is refused here")
    monkeypatch.chdir(tmp_path)
    write_example()
    machine(SLOW)
    status, _, err = call("train", "recipe.yaml", *OVERRIDES, "train.precision=bf16")
    assert status == 0
    assert (
        err.count("precision bf16 is slower than fp32 on this CPU; fp32, or auto, is faster") == 1
    )


# ------------------------------------------------------------------------------------------- doctor


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest model alone."""
    monkeypatch.setattr(contract, "MODELS", contract.MODELS[:1])
    monkeypatch.setattr(contract, "SENTENCES", 20)


@pytest.mark.usefixtures("quick")
def test_the_promise_is_kept_here(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    status, out, _ = call("doctor", "--device", "cpu")
    lines = out.decode().splitlines()
    assert status == 0
    assert f"torch {torch.__version__}" in lines[1]
    assert "ONEDNN_MAX_CPU_ISA=ALL" in lines[3]
    rows = {line.split()[0]: line for line in lines if line[:4] in ("fp32", "bf16", "int8")}
    assert set(rows) == {"fp32", "bf16", "int8"}
    assert rows["fp32"].endswith("yes")
    assert all(row.endswith("yes") or "not used" in row for row in rows.values())


@pytest.mark.usefixtures("quick")
def test_a_broken_promise_is_reported_by_precision(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sees_places(weights_NJ: Tensor, vectors_BJD: Tensor) -> Tensor:
        found_ND = weighted_sum(weights_NJ, vectors_BJD)
        return found_ND * (1.0 + 1e-6 * torch.arange(len(found_ND)).unsqueeze(1))

    monkeypatch.setattr("s2s.nn.attention.weighted_sum", sees_places)
    status, out, err = call("doctor", "--device", "cpu")
    assert status == 1
    rows = [line for line in out.decode().splitlines() if line.startswith("fp32")]
    assert rows[0].endswith("no: greedy, luong; beam, luong")
    (line,) = (line for line in err.splitlines() if line.startswith("s2s: error: "))
    assert "outputs depend on the batch (fp32 greedy, luong; fp32 beam, luong" in line
    assert "please report" in line


@pytest.mark.usefixtures("quick")
def test_a_precision_without_a_kernel_is_no_broken_promise(call: Call, machine: Machine) -> None:
    machine(NO_INT8)
    status, out, _ = call("doctor", "--device", "cpu")
    assert status == 0
    (row,) = (line for line in out.decode().splitlines() if line.startswith("int8"))
    assert "not used: precision int8: this CPU" in row
    assert "auto        fp32 in training, fp32 in search" in out.decode()

"""Set-up that several test files share; heavy modules are imported by those who ask for it."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s2s.nn.threads import usable_cores
from s2s_cli.main import run as command_line

if TYPE_CHECKING:
    from s2s.run.directory import Run

if sys.platform == "win32":  # what tests write and read is the same everywhere
    Path.write_text = partialmethod(Path.write_text, encoding="utf-8", newline="\n")
    Path.read_text = partialmethod(Path.read_text, encoding="utf-8")

# Threads that wait sleep: where several processes share the cores, they would spin for each other.
# OpenMP reads this when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


KERNEL_FILES = [
    f"s2s.nn.fused.{name}_kernel"
    for name in ("additive", "attention", "cross_entropy", "lstm_cell")
]
"""Modules that import Triton."""


MOST_WORKERS = 8
"""Processes that test side by side: each imports PyTorch, and more would save little."""


SLOW_FILES = {
    "bench/test_workers.py",
    "cli/test_completion.py",
    "cli/test_ensemble.py",
    "cli/test_grouped.py",
    "cli/test_inputs.py",
    "cli/test_json.py",
    "cli/test_messages.py",
    "cli/test_runs.py",
    "cli/test_search_options.py",
    "cli/test_streams.py",
    "data/test_subword_sampling.py",
    "inference/test_line_ends.py",
    "inference/test_workers.py",
    "nn/test_threads.py",
    "pipeline/test_captions.py",
    "pipeline/test_export.py",
    "pipeline/test_initialization.py",
    "pipeline/test_sharing.py",
    "pipeline/test_translation_in_parts.py",
    "test_platforms.py",
    "training/distributed/test_processes.py",
}
"""Files most of whose tests start commands or processes, which takes seconds each: marked slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of SLOW_FILES; `-m "not slow"` leaves them out."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix() in SLOW_FILES:
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What `-n auto` is, unless the variable that pytest-xdist has for it says otherwise."""
    is_told = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    return None if is_told else min(MOST_WORKERS, usable_cores())


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Every test draws its own numbers, whatever ran before it, and leaves PyTorch's threads as
    they were; and no line of progress comes because the machine is slow."""
    torch = sys.modules.get("torch")
    threads = 0
    if torch is not None:
        torch.manual_seed(7)
        threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s2s.pipeline.progress.PLAIN_SECONDS", 1e9)
        yield
    if torch is not None:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Two OpenMP threads on a busy machine spin for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Path:
    """A folder with the `RECIPE` of the test's file, and its run, trained."""
    from s2s import pipeline
    from s2s.recipe.load import load_recipe

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("recipe.yaml").write_text(request.module.RECIPE)
        pipeline.train(load_recipe(), device="cpu")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Run":
    """A copy of that run, `toy`, in the current folder."""
    from s2s.run.directory import Run

    shutil.copytree(trained, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Run.open(Path("runs/toy"))


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A command: exit status, stdout, stderr."""

    def made(*arguments: str) -> tuple[int, str, str]:
        status = command_line(arguments)
        found = capfd.readouterr()
        return status, found.out, found.err

    return made


@pytest.fixture(scope="session")
def random_run() -> "Callable[..., Run]":
    """Makes a run of the current folder's recipe: its name, and changes of the recipe. It has
    tokenizers and a random model, whose step is the seed."""

    def made(name: str, *changes: str) -> "Run":
        import torch

        from s2s import pipeline
        from s2s.nn.model import Seq2Seq
        from s2s.recipe.load import load_recipe
        from s2s.run.directory import Run
        from s2s.text.tokenizer_pair import load_tokenizers

        recipe = load_recipe(overrides=[f"name={name}", *changes])
        pipeline.prepare(recipe)
        run = Run(Path("runs") / name)
        tokenizers = load_tokenizers(run.tokenizer_folder)
        torch.manual_seed(recipe.seed)
        model = Seq2Seq(recipe.model, tokenizers.source.size, tokenizers.target.size)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)
        weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
        run.write_checkpoint(recipe.seed, weights, score=0.0, is_best=True)
        return run

    return made


@pytest.fixture(scope="session")
def triton_interpreter() -> Iterator[None]:
    """Triton, with functions that its interpreter runs on a CPU; decided when they are defined."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        pytest.importorskip("triton", reason="Triton comes with PyTorch's builds for CUDA alone")
        for name in ("triton.experimental.gluon", *KERNEL_FILES):
            importlib.import_module(name)
        yield


@pytest.fixture(scope="session")
def verdicts() -> dict[tuple[object, ...], bool]:
    """Of trials of kernels, each of which is made once."""
    return {}


@pytest.fixture
def interpreted(
    triton_interpreter: None,
    verdicts: dict[tuple[object, ...], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A CPU that has the kernels written in Triton."""
    monkeypatch.setattr("s2s.nn.fused.choice.DEVICES", {"cpu"})
    monkeypatch.setattr("s2s.nn.fused.choice._verdicts", verdicts)

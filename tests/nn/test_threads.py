"""An OMP_NUM_THREADS that does not suit the machine causes one line on stderr and no failure."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from s2s.nn import control_groups, threads

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 100, held_out: 20}
tokenizer: {kind: character}
model: {embeddings: 8, encoder: {width: 6}, decoder: {kind: luong, width: 10}}
train: {batch_tokens: 300, max_updates: 1, precision: fp32}
search: {kind: greedy}
"""


def cores_with(files: dict[str, str], folder: Path, patch: pytest.MonkeyPatch) -> int:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    patch.setattr(control_groups, "ROOT", folder)
    patch.setattr(control_groups, "MEMBERSHIP", folder / "none")
    return threads.usable_cores()


def second(granted: str, period: str = "100000") -> dict[str, str]:
    return {"cpu.max": f"{granted} {period}\n"}


def first(granted: str, period: str = "100000") -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": f"{granted}\n", "cpu/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 6),
        (second("max"), 6),
        (second("300000"), 3),
        (second("120000", "40000"), 3),
        (second("1000"), 1),
        (second("900000"), 6),
        (first("-1"), 6),
        (first("250000"), 2),
        ({"cpu.max": "damaged"}, 6),
    ],
)
def test_cores_are_those_of_the_container(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control groups of both versions, on six cores."""
    several = list(range(6))
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: several, raising=False)
    assert cores_with(files, tmp_path, monkeypatch) == cores


def test_a_system_without_affinity_has_all_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil.Process, "cpu_affinity", raising=False)  # macOS
    assert cores_with({}, tmp_path, monkeypatch) == os.cpu_count()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(None, None), ("3", 3), (" 2 ", 2), ("4,2", 4), ("0", None), ("-1", None), ("many", None)],
)
def test_the_number_in_the_variable(
    text: str | None, wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if text is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", text)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    assert threads.requested_threads() == wanted
    assert (threads.thread_fault() is None) == (text is None or wanted is not None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("threads")
    (here / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    assert reported(here, "1", "train", "recipe.yaml", "--device", "cpu") == []
    return here


def reported(folder: Path, said: str, *command: str) -> list[str]:
    """Lines about threads on stderr of a command that succeeds."""
    done = subprocess.run(
        [sys.executable, "-c", "from s2s_cli.main import main; main()", *command],
        cwd=folder,
        # Waiting threads sleep, because other tests may run at the same time.
        env={**os.environ, "OMP_NUM_THREADS": said, "OMP_WAIT_POLICY": "passive"},
        input=b"March 3, 2024\n",
        capture_output=True,
        check=False,
    )
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 0, lines
    return [line for line in lines if line.startswith("s2s: OMP_NUM_THREADS")]


TRANSLATE = ("translate", "--device", "cpu")
BENCH = ("bench", "recipe.yaml", "--quick", "--repeats", "1", "--only", "training")


@pytest.mark.parametrize(
    "command",
    [
        ("train", "recipe.yaml", "--device", "cpu", "--restart", "--workers", "2"),
        TRANSLATE,
        (*TRANSLATE, "--workers", "2"),
        (*BENCH, "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_too_many_threads_are_reported_once(folder: Path, command: tuple[str, ...]) -> None:
    cores = threads.usable_cores()
    there = "1 core" if cores == 1 else f"{cores} cores"
    many = cores + 1
    assert reported(folder, str(many), *command) == [
        f"s2s: OMP_NUM_THREADS={many}, this machine has {there}: expect it to be slow; "
        f"use OMP_NUM_THREADS={cores} or less"
    ]


def test_an_invalid_number_is_reported_once(folder: Path) -> None:
    assert reported(folder, "many", *TRANSLATE) == [
        "s2s: OMP_NUM_THREADS=many: expected a number of threads, 1 or more; the variable is "
        "ignored"
    ]


@pytest.mark.parametrize(
    ("said", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
    ids=["nothing", "spins", "policy"],
)
def test_waiting_threads_sleep_soon_unless_the_environment_says_otherwise(
    said: dict[str, str], spins: str
) -> None:
    """As OpenMP itself reports it."""
    plain = {name: text for name, text in os.environ.items() if name not in threads.WAITING}
    program = "import sys; sys.argv[1:] = ['recipes', 'list']; from s2s_cli.main import main\n"
    program += "try: main()\nfinally: import torch"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**plain, **said, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        check=True,
        text=True,
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if found is None:
        pytest.skip("PyTorch's OpenMP is another one")
    assert found[1] == spins

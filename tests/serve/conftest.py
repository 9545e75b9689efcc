"""A small trained run, and a server of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from s2s import pipeline
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from tests.commands import write_example
from tests.serve.servers import Client, Gate, serving


@pytest.fixture(scope="session")
def spelling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run, `spell`, which reads digits backwards; beam of 3."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_example()
        pipeline.train(load_recipe(Path("recipe.yaml")), device="cpu")
    return folder


@pytest.fixture
def here(spelling: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the current one."""
    monkeypatch.chdir(spelling)
    return spelling


@pytest.fixture(scope="session")
def spell(spelling: Path) -> Run:
    return Run.open(spelling / "runs" / "spell")


@pytest.fixture(scope="session")
def client(spell: Run) -> Iterator[Client]:
    """A server of `spell` with the default settings."""
    with serving(spell) as found:
        yield found


@pytest.fixture
def gate(client: Client) -> Iterator[Gate]:
    found = Gate(client)
    yield found
    found.open()

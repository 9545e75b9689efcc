"""What tests of training share."""

from collections.abc import Iterator

import pytest
import torch

from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.store import Corpus
from tests.training.toys import small_recipe, write_task


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two OpenMP threads on a busy machine spin for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Training pairs of the toy task."""
    folder = tmp_path_factory.mktemp("corpus")
    prepare(small_recipe(write_task(folder)), folder / "run")
    return open_corpus(folder / "run", "train")

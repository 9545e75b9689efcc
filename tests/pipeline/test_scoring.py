"""Pairs of files in, a row of scores for each line out."""

import io
from pathlib import Path

import pytest
import torch

from s2s.errors import DataError
from s2s.inference.translator import LineTranslator
from s2s.nn.model import Seq2Seq
from s2s.pipeline import scoring as pipeline_score
from s2s.recipe.model import Model, StackedDecoder
from s2s.recipe.search import BeamSearch
from s2s.run.directory import Run
from tests.inference.test_translator import Letters


@pytest.fixture
def translator(monkeypatch: pytest.MonkeyPatch) -> LineTranslator:
    """A random model in the place of a run's."""
    torch.manual_seed(3)
    model = Seq2Seq(
        Model(embeddings=16, decoder=StackedDecoder(kind="stacked", width=24)), 300, 300
    )
    made = LineTranslator(
        scorer=model.eval(),
        source=Letters(),
        target=Letters(),
        search=BeamSearch(kind="beam", width=3, max_offset=3),
        device="cpu",
        longest=40,
        report=lambda note: None,
    )
    monkeypatch.setattr(pipeline_score, "load_ensemble", lambda *_, **__: made)
    # There is no run whose task could be read.
    monkeypatch.setattr(pipeline_score, "refuse_language_models", lambda *_: None)
    return made


def scored(folder: Path, source: str, target: str, batch_size: int = 3) -> list[list[str]]:
    (folder / "s").write_text(source)
    (folder / "t").write_text(target)
    output, run = io.BytesIO(), Run(folder)
    count = pipeline_score.score_pairs(
        run=run, source=folder / "s", target=folder / "t", output=output, batch_size=batch_size
    )
    rows = [row.split("\t") for row in output.getvalue().decode().splitlines()]
    assert len(rows) == count
    return rows


def test_a_row_for_a_line_whatever_the_batch_size(
    tmp_path: Path, translator: LineTranslator
) -> None:
    source = "ab\n\ncde\n  \nx y z\n"
    target = "b\n \nde\nf\n\n"
    rows = scored(tmp_path, source, target)
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row[2] for row in rows] == ["2", "0", "3", "2", "1"]
    assert rows[1][1] == "0.000000"
    assert all(float(row[1]) < -1.0 for i, row in enumerate(rows) if i != 1)
    for row, other in zip(rows, scored(tmp_path, source, target, 1), strict=True):
        assert float(row[1]) == pytest.approx(float(other[1]), abs=1e-4)
    assert scored(tmp_path, "", "") == []


@pytest.mark.parametrize(("source", "target"), [("a\nb\n", "a\n"), ("a\n", "a\nb\n")])
def test_files_of_unequal_length_are_refused(
    tmp_path: Path, translator: LineTranslator, source: str, target: str
) -> None:
    with pytest.raises(DataError, match="expected as many lines as"):
        scored(tmp_path, source, target)

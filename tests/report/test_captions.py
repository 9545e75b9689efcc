"""Reports on captions: regions of images in place of source tokens, several references."""

from pathlib import Path

import pytest

from s2s import pipeline
from s2s.recipe.load import load_recipe
from s2s.report.build_page import ReportOptions, report_page
from s2s.report.outputs import load_kept
from s2s.run.directory import Run
from tests.captions import REGIONS, write_captions
from tests.report.test_page import Page
from tests.training.toys import Listener


def test_a_report_on_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = write_captions(tmp_path)
    pipeline.train(load_recipe(), device="cpu", reporter=Listener())
    run = Run.open(Path("runs/shapes"))
    page = Page(report_page(run, ReportOptions(device="cpu"), print))
    (path,) = run.folder.glob("outputs/*.report.json")
    found = load_kept(path.read_bytes()).outputs
    assert (found.line_score, found.num_lines) == ("exact", len(ids))
    assert found.bins == ()  # all sources are as long as their images
    assert "by source length" not in page.text
    for sample in found.samples:
        assert sample.source == ids[sample.line - 1]
        assert len(sample.references) == 2
        (image,) = sample.images
        assert (image.id, image.first, image.count) == (sample.source, 0, REGIONS)
        assert len(sample.source_tokens) == REGIONS
        assert len(sample.attention) == len(sample.output_tokens)
    pictures = [span for span in page.all("span") if span.get("class") == "image"]
    assert {span["aria-label"] for span in pictures} <= set(ids)
    assert {span["data-columns"] for span in pictures} == {str(REGIONS)}
    shown = (*found.samples, *found.worst, *found.best)
    assert page.text.count("[5]") == len(pictures) == len(shown) == 30

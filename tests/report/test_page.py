"""The page of a report: what is on it, whatever the data hold; outputs that are kept."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2s import pipeline
from s2s.errors import RunError, UsageError
from s2s.inference.attention.maps import attention_maps
from s2s.inference.load import load_translator
from s2s.report import build_page
from s2s.report.build_page import ReportOptions, report_page, visible_block
from s2s.report.outputs import Outputs, load_kept
from s2s.report.translate_split import translate_split
from s2s.run.directory import Run
from tests.report.conftest import HOSTILE


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(content.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "line", "polyline", "circle", "path"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(run: Run, **options: Any) -> Page:
    return Page(report_page(run, ReportOptions(device="cpu", **options), print))


def kept(run: Run) -> Outputs:
    (path,) = run.folder.glob("outputs/*.report.json")
    return load_kept(path.read_bytes()).outputs


def test_hostile_text_is_text(hostile: Run) -> None:
    """The page has the elements of its template and no others, and shows the data letter by
    letter; what would turn the text around is shown by its code."""
    page = report(hostile)
    assert page.open == []
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert page.all("img") == page.all("b/onmouseover='window.harm") == []
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], name
        assert "style" not in attributes, name
        for key in ("src", "href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:,")), name
    for word in HOSTILE[:8]:
        assert word in page.text
    assert "<U+202E>gnitaehc" in page.text
    assert "\u202e" not in page.text
    assert HOSTILE[9] in page.text or "◌\u0301x" in page.text
    (policy,) = (m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_it_shows_what_is_known_of_the_run(hostile: Run) -> None:
    page = report(hostile)
    evaluated = pipeline.evaluate(run=hostile, device="cpu")
    for score in evaluated.scores.values:
        assert score.label in page.text
        assert score.formatted in page.text
    assert "bs:1000|seed:12345" in page.text
    environment = json.loads(hostile.environment_path.read_bytes())
    for value in (environment["platform"], environment["packages"]["sentencepiece"]):
        assert value in page.text
    assert "learning_rate: 0.01" in page.text
    data = json.loads((hostile.data_folder / "report.json").read_text())
    assert f"{data['splits']['train']['source']['tokens']:,}" in page.text
    titles = {svg["aria-label"] for svg in page.all("svg")}
    assert {
        "Loss (negative log-likelihood per token)",
        "BLEU on validation",
        "perplexity on validation",
        "Learning rate",
        "Norm of the gradient",
        "BLEU by source length",
    } <= titles


def test_scores_and_lines_are_those_of_evaluate(hostile: Run) -> None:
    report(hostile)
    found = kept(hostile)
    evaluated = pipeline.evaluate(run=hostile, device="cpu")
    assert evaluated.saved is not None
    outputs = evaluated.saved.read_text(encoding="utf-8").split("\n")
    assert [one.value for one in found.scores] == [one.value for one in evaluated.scores.values]
    assert (found.num_lines, found.num_in_split) == (60, 60)
    sources = Path("test.x").read_text(encoding="utf-8").split("\n")
    references = Path("test.y").read_text(encoding="utf-8").split("\n")
    lists = (found.best, found.worst, found.samples)
    assert [len(one) for one in lists] == [10, 10, 10]
    for sample in (sample for one in lists for sample in one):
        place = sample.line - 1
        assert sample.output == outputs[place]
        assert (sample.source, sample.references) == (sources[place], (references[place],))
    best, worst = ([one.score or 0.0 for one in lines] for lines in lists[:2])
    assert best == sorted(best, reverse=True) and worst == sorted(worst)
    assert min(best) >= max(worst)
    assert not {one.line for one in found.best} & {one.line for one in found.worst}


def test_the_attention_is_the_models(hostile: Run) -> None:
    page = report(hostile)
    translator = load_translator(hostile, device="cpu")
    found = kept(hostile)
    for sample in (*found.samples, *found.worst[:3]):
        (oracle,) = attention_maps(translator, [sample.source])
        assert (sample.source_tokens, sample.output_tokens) == (oracle.source, oracle.target)
        weights = np.zeros(oracle.weights.shape)
        for row, places in zip(weights, sample.attention, strict=True):
            row[list(places)] = [weight / 1000 for weight in places.values()]
        np.testing.assert_allclose(weights, oracle.weights, atol=6e-4)
    tokens = [span for span in page.all("span") if "data-w" in span]
    lines = (*found.samples, *found.worst, *found.best)
    assert len(tokens) == sum(len(one.output_tokens) for one in lines)
    first = " ".join(f"{place}:{weight}" for place, weight in lines[0].attention[0].items())
    assert (tokens[0]["data-w"] or "").strip() == first


def test_a_second_report_needs_no_model(hostile: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: Any) -> Outputs:
        calls.append(arguments[1])
        return translate_split(*arguments)

    monkeypatch.setattr(build_page, "translate_split", counted)
    first = report(hostile)
    again = report(hostile)
    assert (len(calls), again.text.count("μ")) == (1, first.text.count("μ"))
    for changed in ({"limit": 40}, {"num_samples": 3, "limit": 40}, {"split": "validation"}):
        report(hostile, **changed)
        report(hostile, **changed)
    assert len(calls) == 4
    report(hostile, split="validation", fresh=True)
    assert len(calls) == 5

    weights = (
        hostile.folder / "checkpoints" / str(hostile.checkpoints().best) / "weights.safetensors"
    )
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # another model under the same name
    weights.write_bytes(content)
    report(hostile, split="validation")
    assert len(calls) == 6
    (path,) = hostile.folder.glob("outputs/validation*.report.json")
    path.write_bytes(path.read_bytes()[:100])
    report(hostile, split="validation")
    assert len(calls) == 7


def test_a_limit_is_stated(hostile: Run) -> None:
    page = report(hostile, limit=25)
    assert "only the first 25 of 60 lines" in page.text
    assert kept(hostile).num_lines == 25
    without = report(hostile, limit=0)
    assert "Without outputs, as requested." in without.text
    assert "BLEU on validation" in {svg["aria-label"] for svg in without.all("svg")}


def test_a_run_that_cannot_be_written_to(hostile: Run) -> None:
    """A file in place of the folder makes writing fail for every user, root too."""
    (hostile.folder / "outputs").write_text("")
    before = {path: path.stat().st_mtime_ns for path in hostile.folder.rglob("*")}
    notes: list[str] = []
    page = Page(report_page(hostile, ReportOptions(device="cpu"), notes.append))
    assert "bs:1000" in page.text
    (note,) = notes
    assert "cannot write there" in note and "the next report translates again" in note
    assert {path: path.stat().st_mtime_ns for path in hostile.folder.rglob("*")} == before


def test_a_report_leaves_the_log_alone(hostile: Run) -> None:
    before = hostile.metrics_path.read_bytes()
    report(hostile)
    assert hostile.metrics_path.read_bytes() == before


def test_a_run_at_every_stage(hostile: Run) -> None:
    """Prepared, without data, without a split, without checkpoints."""
    (hostile.data_folder / "test.arrow").unlink()
    assert "Validation split: 30 lines" in report(hostile).text
    with pytest.raises(UsageError, match="has no test split, or data/ was deleted"):
        report(hostile, split="test")
    (hostile.data_folder / "validation.arrow").unlink()
    assert "data/ has neither a test nor a validation split" in report(hostile).text
    (hostile.data_folder / "report.json").write_text("{")
    assert "report.json cannot be read" in report(hostile).text
    shutil.rmtree(hostile.data_folder)
    assert "data/ was deleted" in report(hostile).text
    (hostile.folder / "checkpoints.json").unlink()
    hostile.metrics_path.unlink()
    hostile.environment_path.unlink()
    page = report(hostile)
    assert "No checkpoint yet" in page.text
    assert "No update of training is in the log yet." in page.text
    assert page.open == []


def test_a_lost_checkpoint_is_an_error_with_a_name(hostile: Run) -> None:
    shutil.rmtree(hostile.folder / "checkpoints")
    with pytest.raises(RunError, match=r"checkpoints: no checkpoint \d+; there: none"):
        report(hostile)
    assert "checkpoints/" in report(hostile, limit=0).text


def test_strange_logs_do_no_harm(hostile: Run) -> None:
    with hostile.metrics_path.open("a", encoding="utf-8") as file:
        for event in (
            {"event": "evaluation", "split": "</td><script>", "what": ["x"], "scores": {"<b>": 3}},
            {
                "event": "evaluation",
                "update": "<i>",
                "what": "a, <u>",
                "scores": {"<s>": {"value": 1}},
            },
            {
                "event": "validation",
                "update": 1,
                "scores": {"<s>": {"value": 2, "signature": "'\">"}},
            },
            {"event": "gradients", "update": 1, "norms": {"<p>": 1.0, "x": "y"}},
            {"event": "start", "update": 1, "memory": {"</dd>": ["<li>"]}},
        ):
            file.write(json.dumps(event) + "\n")
    page = report(hostile)
    assert page.open == []
    assert len(page.all("script")) == 1
    for text in ("<i>", "<u>", "<s>", "<li>"):
        assert text in page.text


def test_a_model_without_attention_has_text_alone(hostile: Run) -> None:
    """The recipe decides, before the model is asked for weights that it does not have."""
    from s2s.recipe.model import NoAttention

    recipe = hostile.recipe
    none = replace(
        recipe, name="none", model=replace(recipe.model, attention=NoAttention(kind="none"))
    )
    pipeline.train(replace(none, train=replace(none.train, epochs=1)), device="cpu")
    page = report(Run.open(Path("runs/none")))
    assert not [span for span in page.all("span") if "data-w" in span]
    assert "Point at a token" not in page.text
    assert HOSTILE[0] in page.text


def test_a_recipe_is_shown_without_invisible_letters() -> None:
    text = "a: \u202eb\n  c: é\u0301 — 'x'\n"
    assert visible_block(text) == "a: <U+202E>b\n  c: é\u0301 — 'x'"

"""What a run's output is worth: its test set, translated and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.errors import RunError
from s2s.files import atomic_write
from s2s.metrics import Scores, score
from s2s.recipe import BeamSearch, ExhaustiveSearch, SampleSearch, Search

if TYPE_CHECKING:
    from s2s.metrics.corpus import MetricName
    from s2s.run import Run


@dataclass(frozen=True)
class Evaluation:
    """Scores, and what was scored."""

    scores: Scores
    what: str
    """One line: the split, the checkpoint, the search."""
    saved: Path | None = None
    """Where the hypotheses are."""

    def lines(self) -> list[str]:
        """For a reader: a line per score; what was scored goes to stderr."""
        return self.scores.lines()

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        where = {} if self.saved is None else {"hypotheses": str(self.saved)}
        return {"what": self.what, **where, "scores": self.scores.as_json()}


def describe(search: Search) -> str:
    """A search in a word, as part of a file's name."""
    if isinstance(search, BeamSearch):
        gnmt = "-gnmt" if search.length_normalization == "gnmt" else ""
        coverage = f"-coverage{search.coverage_penalty:g}" if search.coverage_penalty else ""
        return f"beam{search.width}-penalty{search.length_penalty:g}{gnmt}{coverage}"
    if isinstance(search, SampleSearch):
        return f"sample-temperature{search.temperature:g}-seed{search.seed}"
    if isinstance(search, ExhaustiveSearch):
        return f"exhaustive-nodes{search.nodes}"
    return search.kind


def evaluate_lines(
    run: Run,
    translate: Callable[[list[str]], list[str]],
    texts: tuple[Sequence[str], Sequence[str]],
    what: tuple[str, int, Search],
    options: dict[str, Any],
) -> Evaluation:
    """Translate sources, save the hypotheses in the run, score them against the references.

    `texts` are sources and references, `what` the split, the update and the search; `options` go
    to the metrics.
    """
    split, step, search = what
    hypotheses = translate(list(texts[0]))
    folder = run.folder / "outputs"
    saved = folder / f"{split}.update{step}.{describe(search)}.txt"
    try:
        folder.mkdir(exist_ok=True)
        atomic_write(saved, "".join(f"{line}\n" for line in hypotheses))
    except OSError as error:
        raise RunError(f"{saved}: cannot write there: {error.strerror}") from error
    names: list[MetricName] = list(dict.fromkeys((*run.recipe.metrics, "exact")))
    scores = score(names, hypotheses, [list(texts[1])], **options)
    described = f"{run.folder}: {split}, {len(hypotheses):,} lines, update {step:,}, "
    result = Evaluation(scores, described + describe(search), saved)
    run.append_event({"event": "evaluation", "update": step, "split": split, **result.as_json()})
    return result

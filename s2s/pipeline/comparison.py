"""Compares runs and files of outputs on the same lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.errors import UsageError
from s2s.inference.load import load_ensemble
from s2s.pipeline.evaluation import open_texts, translate_lines
from s2s.pipeline.task_checks import refuse_language_models
from s2s.run.model_file import SUFFIX
from s2s.text.lines import read_lines

if TYPE_CHECKING:
    from s2s.data.sources.split import SplitName
    from s2s.metrics.comparison import Comparison, Contest
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


@dataclass(frozen=True)
class RunSystem:
    """A run, or an ensemble of runs, that translates a split of its first run's data."""

    run: Run
    search: Search
    others: tuple[Run, ...] = ()
    """Runs whose models are averaged with that of `run`."""

    @property
    def name(self) -> str:
        """The folders of all its runs."""
        return "+".join(str(run.folder) for run in (self.run, *self.others))


@dataclass(frozen=True)
class Texts:
    """The sources and references of a comparison."""

    sources: Sequence[str] | None
    references: Sequence[Sequence[str | None]]


def compare_systems(
    *,
    systems: Sequence[Path | RunSystem],
    contest: Contest,
    references: Sequence[Path] = (),
    source: Path | None = None,
    split: SplitName = "test",
    batch_size: int = 1024,
    device: str = "auto",
    checkpoint: Which = "best",
) -> tuple[Comparison, list[str]]:
    """The comparison, and its lines for a reader.

    Runs translate the split of the first run, whose references count where no files of them are
    given. Raises UsageError for files without references, for runs whose splits differ and for
    ensembles whose tokenizers do, and what `metrics.comparison.compare` raises.
    """
    from s2s.metrics.comparison import System, compare
    from s2s.metrics.comparison_text import side_by_side, table

    runs = [system for system in systems if not isinstance(system, Path)]
    refuse_language_models(
        (one for system in runs for one in (system.run, *system.others)),
        "has no outputs to compare; 's2s evaluate' prints its perplexity",
    )
    if not runs and not references:
        raise UsageError("--reference: expected files of references; only a run has its own")
    texts = _texts(runs, split)
    if references:
        texts = Texts(texts.sources, [list(read_lines(path)) for path in references])
    if source is not None:
        texts = Texts(list(read_lines(source)), texts.references)
    outputs = []
    for system in systems:
        if isinstance(system, Path):
            if system.suffix == SUFFIX:
                raise UsageError(
                    f"{system}: an exported model, which has no data; 's2s translate' its sources, "
                    "and compare the output"
                )
            outputs.append(System(str(system), list(read_lines(system))))
            continue
        translator = load_ensemble(
            (system.run, *system.others),
            search=system.search,
            device=device,
            checkpoint=checkpoint,
        )
        sources = open_texts(system.run, split)[0]
        lines = translate_lines(translator, sources, batch_size, f"{system.name}: {split}")
        outputs.append(System(system.name, lines))
    if texts.sources is not None and len(texts.sources) != len(outputs[0].lines):
        raise UsageError(
            f"{source or runs[0].run.folder}: expected {len(outputs[0].lines):,} lines of source, "
            f"as in {outputs[0].name}, found {len(texts.sources):,}"
        )
    found = compare(outputs, texts.references, contest)
    sides = (texts.sources, texts.references)
    return found, [*table(found), *side_by_side(found, outputs, sides)]


def _texts(runs: Sequence[RunSystem], split: SplitName) -> Texts:
    """Sources and references of the first run; the others must translate the same."""
    if not runs:
        return Texts(None, [])
    first, *others = (system.run for system in runs)
    sources, references = open_texts(first, split)
    for other in others:
        if open_texts(other, split)[0] != sources:
            raise UsageError(
                f"{first.folder} and {other.folder}: expected the same sources in {split}, found "
                "others; 's2s translate' writes outputs of one file, which can be compared"
            )
    return Texts(sources, references)

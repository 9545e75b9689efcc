"""Translates and scores a split of a run's data; scores files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from s2s.errors import RunNotWritable, UsageError
from s2s.files import atomic_write, remove_abandoned
from s2s.messages import note
from s2s.metrics.confusion import Confusion, confusion
from s2s.metrics.scores import Score, Scores
from s2s.pipeline.output_names import ModelName, describe
from s2s.pipeline.progress import progress
from s2s.pipeline.task_checks import check_glossary, check_label_metrics
from s2s.recipe.search import Search
from s2s.run.directory import Run

if TYPE_CHECKING:
    from s2s.data.sources.split import SplitName
    from s2s.inference.fusion import Fusion
    from s2s.inference.glossary import Glossary
    from s2s.inference.translator import LineTranslator
    from s2s.metrics.corpus import Request
    from s2s.run.checkpoints import Which


@dataclass(frozen=True)
class Evaluation:
    """Scores, and a description of the scored outputs."""

    scores: Scores
    what: str
    """One line: the split, the checkpoint, the search."""
    saved: Path | None = None
    """File of the hypotheses; None where they could not be saved, or are of no run."""
    confusion: Confusion | None = None
    """The confusion matrix, where it was requested."""

    def lines(self) -> list[str]:
        """A line per score for a reader, and the confusion matrix; the description goes to
        stderr."""
        matrix = [] if self.confusion is None else self.confusion.lines()
        return [*self.scores.lines(), *matrix]

    def __str__(self) -> str:
        """A line per score, with its signature."""
        return "\n".join(self.lines())

    def __getitem__(self, name: str) -> Score:
        """The score of this name, such as `bleu`; raises KeyError."""
        return self.scores[name]

    def notes(self) -> list[str]:
        """Lines for stderr: the description, and the number of blank lines."""
        blank = self.scores.blank_hypotheses, self.scores.blank_references
        saved = "" if self.saved is None else f"; saved as {self.saved}"
        notes = [f"{self.what}{saved}"]
        if any(blank):
            notes.append(
                f"{blank[0]:,} outputs and the references of {blank[1]:,} lines are blank; "
                "docs/metrics.md says how each metric counts them"
            )
        return notes

    def as_json(self) -> dict[str, Any]:
        """The scores in JSON."""
        where = {} if self.saved is None else {"hypotheses": str(self.saved)}
        blank = {
            "blank_hypotheses": self.scores.blank_hypotheses,
            "blank_references": self.scores.blank_references,
        }
        matrix = {} if self.confusion is None else {"confusion": self.confusion.as_json()}
        return {"what": self.what, **where, "scores": self.scores.as_json(), **matrix, **blank}


def evaluate_lines(
    run: Run,
    translator: LineTranslator,
    texts: tuple[Sequence[str], Sequence[str], Sequence[Sequence[str | None]]],
    what: tuple[str, ModelName],
    request: Request,
) -> Evaluation:
    """Score a model's output and save it in its run.

    A run that cannot be written to is scored all the same, with a warning. `texts` are sources,
    outputs and sets of references, `what` the split and the model.
    """
    from s2s.data.preparation.prepare import open_corpus
    from s2s.data.training_targets import TrainingTargets
    from s2s.inference.scoring import score_run  # imports torch

    split, model = what
    hypotheses = texts[1]
    described = describe(translator.search) + model.in_search_name
    saved = _save(run, f"{split}.{model.in_file_name}.{described}.txt", hypotheses)
    trained = TrainingTargets(
        lambda: open_corpus(run.folder, "train"),
        translator.target,
        lowercase=request.scoring.lowercase,
    )
    scores = score_run(translator, texts, request, trained)
    where = f"{run.place}: {split}, {len(hypotheses):,} lines, {model}, {described}"
    result = Evaluation(scores, where, saved, _confusion(request, hypotheses, texts[2]))
    event = {"event": "evaluation", **model.as_json(), "split": split, **result.as_json()}
    if saved is not None:
        try:
            run.append_event(event)
        except RunNotWritable as error:
            note(f"warning: the scores cannot be kept: {error}")
    return result


def _save(run: Run, name: str, hypotheses: Sequence[str]) -> Path | None:
    """Write the hypotheses into a file of the run; None, with a warning, where that is impossible:
    the scores are what was asked for."""
    path = run.folder / "outputs" / name
    try:
        path.parent.mkdir(exist_ok=True)
        remove_abandoned(path.parent)
        atomic_write(path, "".join(f"{line}\n" for line in hypotheses))
    except OSError as error:
        note(f"warning: {run.folder}: the outputs cannot be kept there: {error.strerror}")
        return None
    return path


def open_texts(run: Run, split: SplitName) -> tuple[list[str], list[list[str | None]]]:
    """Sources and sets of references of a split. Raises UsageError where the recipe has none."""
    from s2s.data.preparation.prepare import open_corpus

    if run.is_exported:
        raise UsageError(
            f"{run.place}: an exported model, which has no data; 's2s translate' its sources, and "
            "score the output against files of references"
        )
    if not (run.data_folder / f"{split}.arrow").exists():
        raise UsageError(f"{run.place}: its recipe has no {split} split, or data/ was deleted")
    corpus = open_corpus(run.folder, split)
    sources, references = corpus.source_texts, corpus.references
    assert sources is not None and references is not None, "only train comes without texts"
    return sources, references


def translate_lines(
    translator: LineTranslator,
    sources: list[str],
    batch_size: int,
    stage: str,
    glossary: Glossary | None = None,
) -> list[str]:
    """One translation per line; the line of progress names the stage.

    Unknown tokens of the sources, and how many terms of the glossary they have, are reported at the
    end.
    """
    from s2s.inference.constrained_translator import ConstrainedTranslator

    translator = translator.counting()
    constrained = ConstrainedTranslator(translator, None, glossary) if glossary else None
    respond = constrained or translator
    found: list[str] = []
    with progress() as callback:
        for start in range(0, len(sources), batch_size):
            found += respond(sources[start : start + batch_size], start)
            callback(stage, len(found), len(sources))
    if constrained is not None:
        constrained.report_terms()
    translator.report_unknown()
    return found


def evaluate(
    *,
    run: Run,
    others: tuple[Run, ...] = (),
    split: SplitName = "test",
    search: Search | None = None,
    batch_size: int = 1024,
    device: str = "auto",
    checkpoint: Which = "best",
    request: Request | None = None,
    fusion: Fusion | None = None,
    glossary: Glossary | None = None,
) -> Evaluation:
    """Translate a split of a run's data, save the hypotheses, score them.

    With `others`, the runs' models are averaged; data and folder are the first's. Search adds the
    language model of `fusion`; outputs have the terms of the `glossary`. Without a `request`, the
    metrics are those of the recipe. Raises UsageError where the recipe has no such split, or a
    metric is not for its model.
    """
    from s2s.inference.fusion import check_fusion
    from s2s.inference.load import load_ensemble

    if fusion is not None:
        check_fusion((run, *others), fusion, search or run.recipe.search)
    if glossary is not None:
        check_glossary((run, *others), "--glossary")
    if run.recipe.task == "lm":
        return _evaluate_language_model(
            (run, *others), split=split, device=device, checkpoint=checkpoint, request=request
        )

    def loaded() -> tuple[LineTranslator, ModelName]:
        runs = (run, *others)
        translator = load_ensemble(
            runs, search=search, device=device, checkpoint=checkpoint, fusion=fusion
        )
        members = tuple((one.name, one.resolve_checkpoint(checkpoint)) for one in runs)
        return translator, ModelName(
            members=members,
            lm=None if fusion is None else fusion.as_named(),
            glossary=None if glossary is None else glossary.digest(),
        )

    return evaluate_translator(
        run, loaded, split=split, batch_size=batch_size, request=request, glossary=glossary
    )


def _evaluate_language_model(
    runs: tuple[Run, ...],
    *,
    split: SplitName,
    device: str,
    checkpoint: Which,
    request: Request | None,
) -> Evaluation:
    """The perplexity of a split under a language model."""
    from s2s.data.preparation.prepare import open_corpus
    from s2s.inference.load import load_translator
    from s2s.nn.inference_model import InferenceModel
    from s2s.recipe.rules import LANGUAGE_MODEL_METRICS
    from s2s.tasks.language_model.validation import validate
    from s2s.text.tokenizer_pair import load_tokenizers

    run = runs[0]
    metrics = run.recipe.metrics if request is None else request.metrics
    if other := [name for name in metrics if name not in LANGUAGE_MODEL_METRICS]:
        raise UsageError(
            f"{run.place}: '{other[0]}' compares outputs with references, and a language model "
            f"(task: lm) has neither; expected {' or '.join(LANGUAGE_MODEL_METRICS)}"
        )
    if request is not None and request.confusion:
        raise UsageError("--confusion: expected a run of labels, found a language model (task: lm)")
    if len(runs) > 1:
        raise UsageError("--run: expected one language model, found several")
    open_texts(run, split)  # says where the data have no such split
    scorer = load_translator(run, device=device, checkpoint=checkpoint).scorer
    assert isinstance(scorer, InferenceModel)
    corpus = open_corpus(run.folder, split)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    wanted = replace(run.recipe, metrics=tuple(metrics))
    found = validate(corpus, tokenizers, wanted, scorer.model)
    which = run.resolve_checkpoint(checkpoint)
    how = "each sentence by itself" if run.recipe.train.stream is None else "one stream"
    what = f"{run.place}: {split}, {len(corpus):,} lines, checkpoint {which}, {how}"
    return Evaluation(found.scores, what)


def evaluate_translator(
    run: Run,
    load: Callable[[], tuple[LineTranslator, ModelName]],
    *,
    split: SplitName = "test",
    batch_size: int = 1024,
    request: Request | None = None,
    glossary: Glossary | None = None,
) -> Evaluation:
    """`evaluate` with the translator and the name of its model that `load` returns, which is
    called after the request is checked."""
    from s2s.metrics.corpus import Request
    from s2s.recipe.recipe import COPIED_BY_COPYING
    from s2s.search.strategies.build import build_constrained_strategy

    request = request or Request(metrics=run.recipe.metrics, scoring=run.recipe.scoring)
    check_label_metrics(run, request.metrics)
    if "copied" in request.metrics and run.recipe.model.copy != "none":
        raise UsageError(COPIED_BY_COPYING)
    sources, references = open_texts(run, split)
    translator, model = load()
    if glossary is not None:
        build_constrained_strategy(translator.search)  # reports a mistake early
    stage = f"translating {split}"
    hypotheses = translate_lines(translator, sources, batch_size, stage, glossary)
    texts = (sources, hypotheses, references)
    return evaluate_lines(run, translator, texts, (split, model), request)


def score_files(
    *, references: list[Path], hypotheses: BinaryIO, request: Request, name: str = "stdin"
) -> Evaluation:
    """Score any translation, one a line, against reference files; `name` is where it comes from.

    Raises DataError for text that is not UTF-8 or sides of unequal length, UsageError for what only
    a run has.
    """
    from s2s.metrics.corpus import score
    from s2s.pipeline.evaluation import Evaluation
    from s2s.recipe.metrics import only_of_runs, text_metrics
    from s2s.text.lines import decode_lines, read_lines

    for metric in request.metrics:
        if reason := only_of_runs(metric):
            raise UsageError(f"{metric}: expected a run; {reason}")
    said = list(decode_lines(hypotheses, "<stdin>" if name == "stdin" else name))
    wanted = [list(read_lines(path)) for path in references]
    names = text_metrics(request.metrics)
    scores = score(names, said, wanted, scoring=request.scoring, confidence=request.confidence)
    where = f"{name}, {len(said):,} lines"
    return Evaluation(scores, where, confusion=_confusion(request, said, wanted))


def _confusion(
    request: Request, outputs: Sequence[str], references: Sequence[Sequence[str | None]]
) -> Confusion | None:
    """The matrix of the first references, if the request has one."""
    if not request.confusion:
        return None
    return confusion(outputs, [one or "" for one in references[0]], request.metrics)

"""A trained model in Python: translations, scores and attention of lines in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from s2s.errors import UsageError
from s2s.messages import silenced
from s2s.pipeline.lines import numbered_batches, read_lines, read_pairs
from s2s.pipeline.options import (
    SearchOptions,
    TranslateOptions,
    check_names,
    choose_glossary,
    choose_search,
)
from s2s.pipeline.progress import progress
from s2s.recipe.metrics import METRICS
from s2s.recipe.suggestions import close_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s2s.data.sources.split import SplitName
    from s2s.inference.attention.display import Attention
    from s2s.inference.fusion import Fusion
    from s2s.inference.load import FilesOfFeatures
    from s2s.inference.nbest import Output
    from s2s.inference.pair_scores import PairScore
    from s2s.inference.translator import LineTranslator
    from s2s.inference.translators import Translators
    from s2s.metrics.corpus import Request
    from s2s.nn.model import Seq2Seq
    from s2s.pipeline.evaluation import Evaluation
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


class TrainedModel:
    """The model of a run, or an ensemble of the models of several.

    `load` makes one. Weights are read when they are first needed, then kept.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        checkpoint: Which = "best",
        device: str = "auto",
        features: FilesOfFeatures | None = None,
        quiet: bool = False,
        fusion: Fusion | None = None,
    ) -> None:
        self.runs = tuple(runs)
        """All runs; several are an ensemble."""
        self.recipe: Recipe = self.runs[0].recipe
        """The recipe of the first run, as it is now."""
        self.quiet = quiet
        """Whether notes and progress are silenced."""
        self.fusion = fusion
        """The language model that search adds, and its weight; None without one."""
        self._checkpoint = checkpoint
        self._device = device
        self._features = features

    def __repr__(self) -> str:
        """Runs, checkpoints, size and device."""
        members = zip(self.runs, self.checkpoints, strict=True)
        listed = " + ".join(f"{run.place} (checkpoint {which})" for run, which in members)
        return f"TrainedModel({listed}, {self.num_parameters:,} parameters, {self.device})"

    # -------------------------------------------------------------------------------- properties

    @property
    def run(self) -> Run:
        """The first run: its folder, checkpoints and events."""
        return self.runs[0]

    @property
    def checkpoints(self) -> tuple[Which, ...]:
        """The update or name of the checkpoint that was read of each run."""
        return self._loaded[1]

    @property
    def models(self) -> tuple[Seq2Seq, ...]:
        """The PyTorch modules, in fp32 and evaluation mode."""
        return self._translators.models

    @property
    def num_parameters(self) -> int:
        """The number of parameters of all models."""
        return sum(parameter.numel() for model in self.models for parameter in model.parameters())

    @property
    def device(self) -> str:
        """The device of the models: `cpu`, `cuda:0`."""
        return self._translators.base.device

    def tokenize(self, line: str, side: Literal["source", "target"] = "source") -> list[str]:
        """The tokens of a line, as the tokenizer of that side writes them."""
        if side not in ("source", "target"):
            raise UsageError(f"side: expected source or target, found {side!r}")
        base = self._translators.base
        tokenizer = base.source if side == "source" else base.target
        (text,) = read_lines(line, "line")
        return tokenizer.pieces(tokenizer.encode([text])[0])

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The events of the run's log, or those of a kind: `update`, `validation`, `evaluation`.

        They are the objects of `metrics.jsonl`; `pandas.DataFrame(model.events("validation"))` is a
        table.
        """
        return [e for e in self.run.read_events() if kind is None or e.get("event") == kind]

    # -------------------------------------------------------------------------------------- work

    # A string is an iterable of strings too: the first overload that fits counts.
    @overload
    def translate(  # type: ignore[overload-overlap]
        self, lines: str, *, n_best: None = None, **options: Unpack[TranslateOptions]
    ) -> str: ...

    @overload
    def translate(
        self, lines: Iterable[str], *, n_best: None = None, **options: Unpack[TranslateOptions]
    ) -> list[str]: ...

    @overload
    def translate(  # type: ignore[overload-overlap]
        self, lines: str, *, n_best: int, **options: Unpack[TranslateOptions]
    ) -> list[Output]: ...

    @overload
    def translate(
        self, lines: Iterable[str], *, n_best: int, **options: Unpack[TranslateOptions]
    ) -> list[list[Output]]: ...

    def translate(
        self,
        lines: str | Iterable[str],
        *,
        n_best: int | None = None,
        **options: Unpack[TranslateOptions],
    ) -> str | list[str] | list[Output] | list[list[Output]]:
        """The translation of a line, or those of several, as `s2s translate` prints them.

        With `n_best`, the list of the best outputs of each line with their scores; samples are all
        listed. Options are those of `s2s translate`: `beam=8`, `search="greedy"`,
        `length_penalty=0.6`, `samples=5`, `temperature=0.8`, `precision="int8"`, `shortlist=4`,
        and `batch_size`, `tag`, `constraints`, `glossary`, `replace_unknown`. What is not given is
        as in the recipe.

        Raises UsageError for options that do not exist, do not go together or are out of range,
        and for lines that are not text.
        """
        check_names(options, TranslateOptions)
        if n_best is None and (options.get("samples") or 1) > 1:
            raise UsageError(f"samples: add n_best={options['samples']}, which returns them all")
        texts = read_lines(lines, "lines")
        with self._silenced():
            found = self._outputs(texts, 1 if n_best is None else n_best, options)
        listed = [outputs[0].text for outputs in found] if n_best is None else found
        return listed[0] if isinstance(lines, str) else listed

    @overload
    def score(self, pairs: tuple[str, str], *, batch_size: int = 1024) -> PairScore: ...

    @overload
    def score(
        self, pairs: Iterable[tuple[str, str]], *, batch_size: int = 1024
    ) -> list[PairScore]: ...

    def score(
        self, pairs: tuple[str, str] | Iterable[tuple[str, str]], *, batch_size: int = 1024
    ) -> PairScore | list[PairScore]:
        """Log-probabilities of given translations, as `s2s score` prints them; with a language
        model the weighted sums by which search chooses.

        A pair is a source and its translation; `zip(sources, translations)` makes pairs of two
        lists. Raises UsageError for anything else, DataError for a line whose image features are
        missing.
        """
        is_single = isinstance(pairs, tuple) and len(pairs) == 2 and isinstance(pairs[0], str)
        texts = read_pairs([pairs] if is_single else pairs)
        from s2s.inference.pair_scores import score_lines

        found: list[PairScore] = []
        with self._silenced(), progress() as callback:
            for first, batch in numbered_batches(texts, batch_size):
                found += score_lines(self._translators.base, batch, ("pairs", first))
                callback("scoring", len(found), len(texts))
        return found[0] if is_single else found

    @overload
    def attention(  # type: ignore[overload-overlap]
        self,
        lines: str,
        *,
        grid: tuple[int, int] | None = None,
        batch_size: int = 256,
        **options: Unpack[SearchOptions],
    ) -> Attention: ...

    @overload
    def attention(
        self,
        lines: Iterable[str],
        *,
        grid: tuple[int, int] | None = None,
        batch_size: int = 256,
        **options: Unpack[SearchOptions],
    ) -> list[Attention]: ...

    def attention(
        self,
        lines: str | Iterable[str],
        *,
        grid: tuple[int, int] | None = None,
        batch_size: int = 256,
        **options: Unpack[SearchOptions],
    ) -> Attention | list[Attention]:
        """The translation of a line, or those of several, with attention weights.

        `grid` has the rows and columns of image regions, a square by default. Raises UsageError for
        a model without attention, and as `translate` does.
        """
        check_names(options, SearchOptions)
        texts = read_lines(lines, "lines")
        from s2s.inference.attention.display import Attention
        from s2s.inference.attention.maps import attention_maps
        from s2s.inference.attention.regions import Grid, region_maps

        chosen = None if grid is None else Grid(*grid)
        found: list[Attention] = []
        with self._silenced(), progress() as callback:
            translator = self._translator(options)
            for first, batch in numbered_batches(texts, batch_size):
                maps = attention_maps(translator, batch, first)
                found += [Attention(one, chosen) for one in maps]
                callback("translating", len(found), len(texts))
        for one in found if chosen is not None else ():
            region_maps(one.map, chosen)  # raises for a grid that does not fit
        return found[0] if isinstance(lines, str) else found

    def evaluate(
        self,
        split: SplitName = "test",
        *,
        metrics: Sequence[str] | None = None,
        confidence: bool = False,
        scoring: Mapping[str, Any] | None = None,
        batch_size: int = 1024,
        **options: Unpack[SearchOptions],
    ) -> Evaluation:
        """Translate a split of the run's data and score it, as `s2s evaluate` does.

        `metrics` and `scoring`, fields of that section, are the recipe's if None. `confidence` adds
        95 % intervals. Hypotheses are saved in the run. Raises UsageError where the recipe has no
        such split, or for an unknown metric; RecipeError for unknown fields of `scoring`.
        """
        check_names(options, SearchOptions)
        request = self._request(metrics, scoring, confidence)
        from s2s.pipeline.evaluation import evaluate_translator
        from s2s.pipeline.output_names import ModelName

        def loaded() -> tuple[LineTranslator, ModelName]:
            names = (run.name for run in self.runs)
            members = tuple(zip(names, self.checkpoints, strict=True))
            lm = None if self.fusion is None else self.fusion.as_named()
            return self._translator(options), ModelName(members=members, lm=lm)

        if split not in ("test", "validation"):
            raise UsageError(f"split: expected test or validation, found {split!r}")
        with self._silenced():
            return evaluate_translator(
                self.run, loaded, split=split, batch_size=batch_size, request=request
            )

    # ------------------------------------------------------------------------------------ inside

    @cached_property
    def _loaded(self) -> tuple[Translators, tuple[Which, ...]]:
        from s2s.inference.translators import Translators

        with self._silenced():
            translators = Translators.load(
                self.runs,
                search=self.recipe.search,
                device=self._device,
                checkpoint=self._checkpoint,
                features=self._features,
                fusion=self.fusion,
            )
        return translators, tuple(run.resolve_checkpoint(self._checkpoint) for run in self.runs)

    @property
    def _translators(self) -> Translators:
        return self._loaded[0]

    def _silenced(self) -> AbstractContextManager[None]:
        return silenced(self.quiet)

    def _translator(self, options: Mapping[str, Any]) -> LineTranslator:
        """The translator with the search of the recipe and of options."""
        return self._translators.with_search(choose_search(self.recipe.search, options))

    def _outputs(
        self, lines: list[str], keep: int, options: TranslateOptions
    ) -> list[list[Output]]:
        """The best outputs of every line."""
        from s2s.inference.constrained_translator import ConstrainedTranslator
        from s2s.inference.line_constraints import GivenConstraints
        from s2s.search.strategies.build import build_constrained_strategy, build_strategy

        constraints = options.get("constraints")
        given = None if constraints is None else GivenConstraints(constraints)
        if given is not None and not given.for_all and len(given.constraints) != len(lines):
            what = f"{len(lines):,} lines, found {len(given.constraints):,}"
            raise UsageError(f"constraints: expected one for each of {what}")
        chosen = {name: options[name] for name in SearchOptions.__annotations__ if name in options}  # type: ignore[literal-required]
        search = choose_search(self.recipe.search, chosen)
        build_strategy(search, keep)  # reports a mistake before the weights are read
        glossary = choose_glossary(self.runs, options)
        if glossary is not None or (given is not None and given.has_terms):
            build_constrained_strategy(search)
        translator = self._with_texts(search, options)
        constrained: ConstrainedTranslator | None = None
        if given is not None or glossary is not None:
            constrained = ConstrainedTranslator(translator, given, glossary)
        found: list[list[Output]] = []
        with progress() as callback:
            for first, batch in numbered_batches(lines, options.get("batch_size", 8192)):
                found += (constrained or translator).outputs(batch, first, keep)
                callback("translating", len(found), len(lines))
        if constrained is not None:
            constrained.report_terms()
        return found

    def _with_texts(self, search: Search, options: TranslateOptions) -> LineTranslator:
        """The translator with a search, a tag and a replacer of unknown tokens."""
        from s2s.inference.replace_unknown import UnknownReplacer
        from s2s.pipeline.task_checks import check_replacement
        from s2s.text.tags import check_tag

        translator = self._translators.with_search(search)
        tag, unknown = options.get("tag"), options.get("replace_unknown", False)
        if tag is not None:
            check_tag(translator.source, tag, "tag")
            translator = replace(translator, tag=tag)
        if unknown is not False:
            check_replacement(self.runs, "replace_unknown", search)
            words = {} if unknown is True else unknown
            replacer = UnknownReplacer(translator.source, translator.target, words)
            translator = replace(translator, replacer=replacer)
        return translator

    def _request(
        self, metrics: Sequence[str] | None, scoring: Mapping[str, Any] | None, confidence: bool
    ) -> Request:
        """What to compute; raises UsageError for an unknown metric."""
        from s2s.metrics.corpus import Request
        from s2s.recipe.load import override_recipe

        recipe = self.recipe
        if scoring:
            recipe = override_recipe(
                recipe, {f"scoring.{name}": value for name, value in scoring.items()}
            )
        names = [metrics] if isinstance(metrics, str) else metrics
        for name in names or ():
            if name not in METRICS:
                near = close_to(name, tuple(METRICS)) or f"; there are {', '.join(METRICS)}"
                raise UsageError(f"metrics: {name}: no such metric{near}")
        chosen: Any = recipe.metrics if names is None else tuple(names)
        return Request(metrics=chosen, scoring=recipe.scoring, confidence=confidence)

"""The models of a server, by name."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from s2s.errors import UsageError
from s2s.inference.fusion import Fusion
from s2s.inference.glossary import Glossary
from s2s.inference.load import load_ensemble
from s2s.inference.translator import LineTranslator
from s2s.pipeline.task_checks import check_glossary
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import Search
from s2s.run.checkpoints import Which
from s2s.run.directory import Run
from s2s.search.strategies.build import build_constrained_strategy
from s2s.serve.batches import BatchTranslator
from s2s.serve.faults import Refused
from s2s.serve.settings import Settings
from s2s.serve.worker import Worker

LOADING_SECONDS = 3600.0
"""A model that takes longer to load hangs."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run to serve, and how."""

    name: str
    """What requests call it."""
    run: Run
    search: Search
    """The search of requests that choose none."""
    device: str = "auto"
    checkpoint: Which = "best"
    fusion: Fusion | None = None
    """A language model that search adds."""
    glossary: Glossary | None = None
    """Terms whose translations outputs have."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model and its worker."""

    source: Source
    recipe: Recipe
    """That of the run, read once."""
    checkpoint: Which
    """The checkpoint that is loaded."""
    translator: LineTranslator
    """For what needs no computation: the worker's thread alone may run the model."""
    worker: Worker

    @property
    def name(self) -> str:
        """What requests call it."""
        return self.source.name

    @property
    def search(self) -> Search:
        """The search of requests that choose none."""
        return self.translator.search

    def described(self) -> dict[str, Any]:
        """What a client may want to know."""
        recipe = self.recipe
        tags = getattr(self.translator.source, "tags", ())
        return {
            "name": self.name,
            "task": recipe.task,
            "search": self.search,
            "tags": list(tags),
            "has_attention": recipe.model.attention.kind != "none",
            "has_image_features": self.translator.features is not None,
            "copies": self.translator.extended_vocabulary is not None,
            "checkpoint": str(self.checkpoint),
        }


class Models:
    """The models of a server; the first one is the default."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.by_name = {model.name: model for model in models}
        self.default = models[0]

    def __getitem__(self, name: str | None) -> Model:
        """The model of this name, the default if None; raises Refused with the names there are."""
        if name is None:
            return self.default
        if name not in self.by_name:
            near = difflib.get_close_matches(name, self.by_name, n=1)
            advice = f" (did you mean '{near[0]}'?)" if near else ""
            known = ", ".join(self.by_name)
            raise Refused(404, f"model: unknown name '{name}'{advice}; there are {known}")
        return self.by_name[name]

    def __iter__(self) -> Any:
        return iter(self.by_name.values())

    @property
    def are_ready(self) -> bool:
        """Whether every model takes jobs."""
        return all(model.worker.is_ready for model in self)

    @property
    def are_stopped(self) -> bool:
        """Whether no model computes any more."""
        return all(model.worker.is_stopped for model in self)

    def stop(self, seconds: float) -> None:
        """Finish what waits, at most for so long."""
        end = monotonic() + seconds
        for model in self:
            model.worker.stop(max(0.0, end - monotonic()))


def check_names(sources: Sequence[Source]) -> None:
    """Raises UsageError for two runs of one name."""
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two runs are called {name}; NAME=RUN gives one of them another name")


Observe = Callable[[str, int, int, float], None]
"""Is told model, requests, pieces and seconds of each batch, in the model's thread."""


def load_models(sources: Sequence[Source], settings: Settings, observe: Observe) -> Models:
    """The models of runs, each loaded in its own thread, one after the other.

    Raises UsageError and RunError as loading does.
    """
    import torch

    threads = torch.get_num_threads()
    return Models([_load(source, settings, observe, threads) for source in sources])


def _load(source: Source, settings: Settings, observe: Observe, threads: int) -> Model:
    def load() -> BatchTranslator:
        import torch

        # A smaller model before may have lowered the number. Reading it makes it that of this
        # thread, for good.
        torch.set_num_threads(threads)
        base = load_ensemble(
            [source.run],
            search=source.search,
            device=source.device,
            checkpoint=source.checkpoint,
            shortlists=False,
            fusion=source.fusion,
        )
        torch.get_num_threads()
        translator = BatchTranslator(source.run, base, settings.batch, source.glossary)
        translator.warm_up()
        return translator

    if source.glossary is not None:
        check_glossary([source.run], "--glossary")
        build_constrained_strategy(source.search)  # reports a mistake early
    recipe = source.run.recipe
    checkpoint = source.run.resolve_checkpoint(source.checkpoint)
    worker = Worker(
        source.name,
        load,
        queue=settings.queue,
        observe=lambda requests, pieces, seconds: observe(source.name, requests, pieces, seconds),
    )
    worker.start()
    found = worker.loaded.result(LOADING_SECONDS)
    return Model(
        source=source,
        recipe=recipe,
        checkpoint=checkpoint,
        translator=found.searching,
        worker=worker,
    )

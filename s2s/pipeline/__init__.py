"""The public API: prepare, train, translate, evaluate. What the commands call, and a notebook may.

    from pathlib import Path
    from s2s import pipeline
    from s2s.recipe.load import load_recipe

    pipeline.train(load_recipe(Path("recipe.yaml")))

Each name is imported when it is first used: some of them need PyTorch, which takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2s.inference.load import load_ensemble, load_translator
    from s2s.pipeline.averaging import average
    from s2s.pipeline.comparison import compare_systems
    from s2s.pipeline.evaluation import evaluate, score_files
    from s2s.pipeline.exporting import export
    from s2s.pipeline.gradients import inspect_gradients
    from s2s.pipeline.image_features import extract_features
    from s2s.pipeline.initialization import initialize
    from s2s.pipeline.preparation import prepare
    from s2s.pipeline.rerank_tuning import tune_rerank
    from s2s.pipeline.scoring import score_pairs
    from s2s.pipeline.sharing import pull, push
    from s2s.pipeline.shortlist import learn_shortlist
    from s2s.pipeline.sweeping import sweep
    from s2s.pipeline.training import train
    from s2s.pipeline.translation import translate, translate_files
    from s2s.pipeline.tuning import tune_search

__all__ = [
    "average",
    "compare_systems",
    "evaluate",
    "export",
    "extract_features",
    "initialize",
    "inspect_gradients",
    "learn_shortlist",
    "load_ensemble",
    "load_translator",
    "prepare",
    "pull",
    "push",
    "score_files",
    "score_pairs",
    "sweep",
    "train",
    "translate",
    "translate_files",
    "tune_rerank",
    "tune_search",
]

_MODULES = {
    "average": "s2s.pipeline.averaging",
    "compare_systems": "s2s.pipeline.comparison",
    "evaluate": "s2s.pipeline.evaluation",
    "export": "s2s.pipeline.exporting",
    "extract_features": "s2s.pipeline.image_features",
    "initialize": "s2s.pipeline.initialization",
    "inspect_gradients": "s2s.pipeline.gradients",
    "learn_shortlist": "s2s.pipeline.shortlist",
    "load_ensemble": "s2s.inference.load",
    "load_translator": "s2s.inference.load",
    "prepare": "s2s.pipeline.preparation",
    "pull": "s2s.pipeline.sharing",
    "push": "s2s.pipeline.sharing",
    "score_files": "s2s.pipeline.evaluation",
    "score_pairs": "s2s.pipeline.scoring",
    "sweep": "s2s.pipeline.sweeping",
    "train": "s2s.pipeline.training",
    "translate": "s2s.pipeline.translation",
    "translate_files": "s2s.pipeline.translation",
    "tune_rerank": "s2s.pipeline.rerank_tuning",
    "tune_search": "s2s.pipeline.tuning",
}


def __getattr__(name: str) -> Any:
    """The public function of this name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""s2s: train and use attentive LSTM sequence-to-sequence models, described by one YAML recipe.

    import s2s

    model = s2s.train("recipe.yaml")        # or s2s.load("runs/quickstart")
    model.translate("de: March 3, 2024")
    model.attention("de: March 3, 2024")    # a heat map in a notebook
    s2s.evaluate(model)["bleu"].value

Each name is imported when it is first used: some need PyTorch, which takes seconds. No name is that
of a package of s2s, whose import would replace it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from s2s.version import __version__

if TYPE_CHECKING:
    from s2s.errors import (
        DataError,
        Interrupted,
        RecipeError,
        RunError,
        S2sError,
        TrainingError,
        UsageError,
    )
    from s2s.inference.attention.display import Attention
    from s2s.inference.line_constraints import LineConstraints
    from s2s.inference.nbest import Output
    from s2s.inference.pair_scores import PairScore
    from s2s.metrics.scores import Score
    from s2s.pipeline.evaluation import Evaluation
    from s2s.pipeline.loading import load
    from s2s.pipeline.python_api import evaluate, prepare, train
    from s2s.pipeline.trained_model import TrainedModel
    from s2s.recipe.load import load_recipe, shipped_recipes
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.shipped import copy_recipe
    from s2s.run.directory import Run

__all__ = [
    "Attention",
    "DataError",
    "Evaluation",
    "Interrupted",
    "LineConstraints",
    "Output",
    "PairScore",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "S2sError",
    "Score",
    "TrainedModel",
    "TrainingError",
    "UsageError",
    "__version__",
    "copy_recipe",
    "evaluate",
    "load",
    "load_recipe",
    "prepare",
    "shipped_recipes",
    "train",
]

_MODULES = {
    "Attention": "s2s.inference.attention.display",
    "DataError": "s2s.errors",
    "Evaluation": "s2s.pipeline.evaluation",
    "Interrupted": "s2s.errors",
    "LineConstraints": "s2s.inference.line_constraints",
    "Output": "s2s.inference.nbest",
    "PairScore": "s2s.inference.pair_scores",
    "Recipe": "s2s.recipe.recipe",
    "RecipeError": "s2s.errors",
    "Run": "s2s.run.directory",
    "RunError": "s2s.errors",
    "S2sError": "s2s.errors",
    "Score": "s2s.metrics.scores",
    "TrainedModel": "s2s.pipeline.trained_model",
    "TrainingError": "s2s.errors",
    "UsageError": "s2s.errors",
    "copy_recipe": "s2s.recipe.shipped",
    "evaluate": "s2s.pipeline.python_api",
    "load": "s2s.pipeline.loading",
    "load_recipe": "s2s.recipe.load",
    "prepare": "s2s.pipeline.python_api",
    "shipped_recipes": "s2s.recipe.load",
    "train": "s2s.pipeline.python_api",
}


def __getattr__(name: str) -> Any:
    """The public object of this name, which is kept for the next time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})

"""The one table of tasks."""

from collections.abc import Callable

from s2s.recipe.recipe import Recipe
from s2s.tasks.base import Task
from s2s.tasks.labels.task import LabelTask
from s2s.tasks.language_model.task import LanguageModelTask
from s2s.tasks.seq2seq.task import Seq2SeqTask
from s2s.text.tokenizer_pair import TokenizerPair

TASKS: dict[str, Callable[[Recipe, TokenizerPair], Task]] = {
    "translation": Seq2SeqTask,
    "captioning": Seq2SeqTask,
    "lm": LanguageModelTask,
    "classify": LabelTask,
    "tag": LabelTask,
}
"""The class of each task, by the recipe's `task`."""


def build_task(recipe: Recipe, tokenizers: TokenizerPair) -> Task:
    """The task of a recipe."""
    return TASKS[recipe.task](recipe, tokenizers)

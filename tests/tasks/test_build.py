"""The table of tasks."""

from typing import get_args, get_type_hints

from s2s.recipe.recipe import Recipe
from s2s.tasks.build import TASKS


def test_every_task_of_a_recipe_is_in_the_table() -> None:
    assert set(TASKS) == set(get_args(get_type_hints(Recipe)["task"]))

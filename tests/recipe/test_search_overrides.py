"""Values from the command line in a recipe's search section, and the options that give them."""

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

from s2s.errors import UsageError
from s2s.recipe.choices import SearchKind, UtilityName
from s2s.recipe.search import BeamSearch, GreedySearch, SampleSearch, Search
from s2s.recipe.search_overrides import KINDS, option, override
from s2s_cli.options.grouped import option_name
from s2s_cli.options.search import AllSearchOptions, UtilityChoice

GREEDY = GreedySearch(kind="greedy", max_ratio=3.0, max_offset=7)
BEAM = BeamSearch(kind="beam", width=4, length_penalty=0.5, max_ratio=3.0, max_offset=7)
SAMPLE = SampleSearch(kind="sample", samples=3, top_p=0.9, max_ratio=3.0, max_offset=7)


def chosen(search: Search, **choices: Any) -> Search:
    return override(search, choices)


@pytest.mark.parametrize("search", [GREEDY, BEAM, SAMPLE])
def test_nothing_asked_nothing_changed(search: Search) -> None:
    assert chosen(search) == search
    assert chosen(search, kind=search.kind) == search


def test_choices_replace_those_of_the_recipe_and_lengths_stay() -> None:
    assert chosen(BEAM, kind="greedy") == GREEDY
    assert chosen(BEAM, width=9).width == 9  # type: ignore[union-attr]
    wide = BeamSearch(kind="beam", width=9, max_ratio=3.0, max_offset=7)
    assert chosen(GREEDY, width=9) == chosen(GREEDY, kind="beam", width=9) == wide
    changed = chosen(BEAM, length_penalty=0.0)
    assert isinstance(changed, BeamSearch)
    assert (changed.width, changed.length_penalty) == (4, 0.0)
    assert chosen(GREEDY, max_ratio=1, max_offset=0) == GreedySearch(
        kind="greedy", max_ratio=1.0, max_offset=0
    )


def test_a_choice_that_one_kind_knows_asks_for_that_kind() -> None:
    drawn = SampleSearch(kind="sample", temperature=0.5, max_ratio=3.0, max_offset=7)
    assert chosen(BEAM, temperature=0.5) == drawn
    assert chosen(SAMPLE, seed=3) == SampleSearch(
        kind="sample", samples=3, top_p=0.9, seed=3, max_ratio=3.0, max_offset=7
    )


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"kind": "greedy", "width": 3}, "greedy search does not use --beam; leave it out"),
        ({"kind": "greedy", "length_penalty": 1.0}, "does not use --length-penalty"),
        (
            {"kind": "beam", "top_k": 3},
            "not use --top-k; leave it out, or use --search sample",
        ),
        ({"width": 3, "top_p": 0.5}, "no search has all of --beam, --top-p"),
        ({"kind": "best"}, "--search: expected one of greedy, beam, sample.*found 'best'"),
        ({"width": 0}, "^--beam: expected at least 1, found 0$"),
        ({"width": 1001}, "^--beam: expected at most 1000, found 1001$"),
        ({"length_penalty": -1.0}, "^--length-penalty: expected at least 0, found -1.0$"),
        (
            {"length_penalty": float("nan")},
            "^--length-penalty: expected a finite number, found nan$",
        ),
        ({"length_penalty": float("inf")}, "^--length-penalty: expected a finite number"),
        ({"temperature": -0.1}, "^--temperature: expected at least 0"),
        ({"top_p": 0.0}, "^--top-p: expected more than 0"),
        ({"min_p": 1.0}, "^--min-p: expected less than 1"),
        ({"top_k": 0}, "^--top-k: expected at least 1"),
        ({"samples": 0}, "^--samples: expected at least 1"),
        ({"max_ratio": 0.0}, "^--max-ratio: expected more than 0"),
    ],
)
def test_contradictions_and_nonsense_are_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(BEAM, **choices)


def test_every_kind_of_search_is_a_choice() -> None:
    assert get_args(SearchKind) == tuple(KINDS)


@pytest.mark.parametrize("field", fields(AllSearchOptions), ids=lambda field: field.name)
def test_an_option_has_the_name_and_the_type_of_its_field(field: Any) -> None:
    """What a new field needs beside its line in the recipe is its help text, and only if it is to
    be an option."""
    assert option_name(field.name, field.type) == option(field.name)
    hints = [get_type_hints(section).get(field.name) for section in KINDS.values()]
    own = set(get_args(get_type_hints(AllSearchOptions)[field.name]))
    if field.name == "kind":
        return
    if field.name == "utility":  # typer has no lists of Literal
        assert tuple(one.value for one in UtilityChoice) == get_args(UtilityName)
        return
    types = {part for hint in hints if hint for part in (get_args(hint) or (hint,))}
    literals = {one for part in own for one in get_args(part)}
    assert types and types <= (literals or own)

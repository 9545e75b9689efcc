"""Settings of a sweep: values as in YAML, every combination once, names that tell them apart."""

import re
from itertools import product

import pytest
from ruamel.yaml import YAML

from s2s.errors import UsageError
from s2s.recipe.grid import LONGEST_NAME, Grid, read_grid
from s2s.recipe.load import recipe_schema


def values_of(text: str) -> list[str]:
    (axis,) = read_grid([f"a.b={text}"]).axes
    return list(axis.values)


LISTS = [
    ("1e-3,3e-4", ["1e-3", "3e-4"]),
    (" 1 , 2 ", ["1", "2"]),
    ("5", ["5"]),
    ("15 min,1.5 h", ["15 min", "1.5 h"]),
    ("null,0.9", ["null", "0.9"]),
    ("<2en>,<3>", ["<2en>", "<3>"]),
    ("[bleu,chrf],[chrf]", ["[bleu,chrf]", "[chrf]"]),
    ("[bleu, chrf]", ["[bleu, chrf]"]),
    ("{kind: luong, width: 3},{kind: bahdanau}", ["{kind: luong, width: 3}", "{kind: bahdanau}"]),
    ("[[a, b], [c]],[]", ["[[a, b], [c]]", "[]"]),
    ('"a,b",c', ['"a,b"', "c"]),
    ("'it''s','x]'", ["'it''s'", "'x]'"]),
    # no lists: the recipe reports what they are
    ("", [""]),
    ("a]b", ["a]b"]),
    ("{a", ["{a"]),
    ("1 # x, 2", ["1 # x, 2"]),
    ("a],[b", ["a],[b"]),
]


@pytest.mark.parametrize(("text", "expected"), LISTS)
def test_values_are_those_of_a_list_in_yaml(text: str, expected: list[str]) -> None:
    assert values_of(text) == expected


@pytest.mark.parametrize(("text", "expected"), LISTS[:12])
def test_each_value_alone_is_what_it_is_in_the_list(text: str, expected: list[str]) -> None:
    load = YAML(typ="safe", pure=True).load
    assert [load(value) for value in expected] == load(f"[{text}]")


def names(grid: Grid, *options: int) -> list[str]:
    return [setting.suffix for setting in grid.settings(*options)]


def test_every_combination_is_there_once_and_the_order_of_arguments_stays() -> None:
    grid = read_grid(["model.decoder.width=8,16", "train.epochs=5", "seed=1,2,3"])
    settings = grid.settings()
    assert len(settings) == len(grid) == 6
    found = [tuple(setting.values.items()) for setting in settings]
    assert found == [
        (("model.decoder.width", width), ("seed", seed))
        for width, seed in product(["8", "16"], "123")
    ]
    assert settings[4].overrides == ("model.decoder.width=16", "train.epochs=5", "seed=2")
    assert settings[4].suffix == "width-16-seed-2"


def test_more_random_settings_begin_with_the_fewer() -> None:
    grid = read_grid([f"a.x{place}=1,2,3,4,5,6,7" for place in range(12)])  # 7 ** 12
    many = names(grid, 40, 3)
    assert len(set(many)) == 40
    assert names(grid, 15, 3) == many[:15]
    assert names(grid, 15, 4) != many[:15]
    small = read_grid(["a=1,2,3", "b=1,2"])
    assert set(names(small, 5)) < set(names(small))
    assert names(small, 6) == names(small, 99) == names(small)


def test_random_draws_are_uniform() -> None:
    grid = read_grid(["a=1,2,3", "b=1,2"])
    first = [names(grid, 1, seed)[0] for seed in range(1200)]
    counts = [first.count(name) for name in names(grid)]
    assert sum(counts) == 1200
    chi_squared = sum((count - 200) ** 2 / 200 for count in counts)
    assert chi_squared < 20.5  # 5 degrees of freedom, p = 0.001


NAMED = [
    (["train.optimizer.learning_rate=1e-3,3e-4"], ["learning_rate-1e-3", "learning_rate-3e-4"]),
    (["model.encoder.width=4,5", "model.decoder.width=4"], ["width-4", "width-5"]),
    (["metrics=[bleu],[bleu, chrf]"], ["metrics-bleu", "metrics-bleu-chrf"]),
    (["train.clip_norm=null,0.5"], ["clip_norm-null", "clip_norm-0.5"]),
    (["search.length_penalty=-1,1"], ["length_penalty--1", "length_penalty-1"]),
    (["model.decoder={kind: luong},{kind: stacked}"],
     ["decoder-kind-luong", "decoder-kind-stacked"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), NAMED)
def test_names_say_the_values(given: list[str], expected: list[str]) -> None:
    assert names(read_grid(given)) == expected


def test_fields_with_one_last_key_are_told_apart() -> None:
    given = ["model.encoder.width=4,5", "model.decoder.width=4,5", "width=1,2"]
    assert names(read_grid(given))[0] == "encoder.width-4-decoder.width-4-width-1"
    given = ["a.b.width=1,2", "c.b.width=1,2"]
    assert names(read_grid(given))[3] == "a.b.width-2-c.b.width-2"


HARD = [
    ["x=[a],a,\"a\",'a'"],
    ["x=ä,ö,ü"],
    ["x=a/b,a:b,a b"],
    ["x=Ab,aB"],
    ["x=" + ",".join("y" * 60 + str(number) for number in range(5))],
    [f"section.field_with_a_long_name_{place}=value_one,value_two" for place in range(9)],
]


@pytest.mark.parametrize("given", HARD, ids=lambda given: given[0][:12])
def test_names_differ_are_short_and_stand_for_folders(given: list[str]) -> None:
    pattern = recipe_schema()["properties"]["name"]["anyOf"][0]["pattern"]
    found = names(read_grid(given))
    assert len({name.lower() for name in found}) == len(found)
    for name in found:
        assert len(name) <= LONGEST_NAME
        assert re.fullmatch(pattern, f"run-{name}"), name
    assert names(read_grid(given)) == found


def test_more_values_keep_the_names_of_others() -> None:
    assert set(names(read_grid(["a=1,2"]))) < set(names(read_grid(["a=3,2,1"])))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a"], "--set a: expected PATH=VALUE,VALUE,..., such as seed=1,2"),
        (["=1,2"], "--set =1,2: expected PATH=VALUE,VALUE,..., such as seed=1,2"),
        (["a=1,2", "b=1", "a=3"], "--set a: given twice; list all values once: A.B=X,Y"),
        (["a=1,2,1"], "--set a: the value 1 is listed twice"),
        (["name=a,b"], "--set name: expected one name; runs are named by their values"),
    ],
)
def test_faults(given: list[str], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_grid(given)
    assert str(caught.value) == expected

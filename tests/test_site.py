"""The documentation as a site: navigation, recipe reference, theory, tasks, messages.

`make docs` builds it, strictly; these tests build nothing.
"""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from s2s.recipe.load import load_recipe, plain_recipe, recipe_schema
from s2s.recipe.schema import TOP, Spot, spot_at
from s2s.tasks.defaults.choice import ALWAYS_CHOSEN, SOMETIMES_CHOSEN
from tests.house import ROOT
from tests.test_docs import anchors

DOCS = ROOT / "docs"
HOOKS = DOCS / "hooks"
FINE_TUNING = DOCS / "tasks" / "fine-tuning.md"
TASKS = sorted({*(DOCS / "tasks").glob("*.md")} - {FINE_TUNING})
CHOSEN = {*ALWAYS_CHOSEN, *SOMETIMES_CHOSEN}

HEAD = "task: translation\ndata: {kind: generated, corpus: dates}\n"
"""What a part of a recipe needs to be one."""


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def is_within(part: Any, whole: Any) -> bool:
    """Whether a recipe has all values of a part of one; a list has to be the same."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_within(part[key], whole[key]) for key in part)
    return bool(part == whole)


@cache
def hook(name: str) -> ModuleType:
    """A module of `docs/hooks/`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, HOOKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module


# Navigation


@cache
def config() -> dict[str, Any]:
    return dict(parsed(text_of(ROOT / "mkdocs.yml")))


def leaves(nav: Any) -> Iterator[str]:
    """The pages that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(item)


def generated() -> set[str]:
    """The pages that the hook writes."""
    for node in ast.parse(text_of(HOOKS / "site.py")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "GENERATED":
            return set(ast.literal_eval(node.value))
    raise AssertionError("docs/hooks/site.py: no GENERATED")


def test_every_page_is_in_the_navigation_once() -> None:
    named = sorted(leaves(config()["nav"]))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    # The hook adds the decisions; the page of a package index is none of the site.
    apart = {"pypi.md"} | {page for page in pages if page.startswith("decisions/")}
    assert named == sorted((pages - apart) | generated())


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert config()["theme"]["font"] is False
    assert config()["strict"] is True
    assert config()["plugins"] == ["search"]
    own = [*config().get("extra_css", ()), *config().get("extra_javascript", ())]
    assert [name for name in own if not (DOCS / name).is_file()] == []


# Recipe reference


@cache
def reference() -> dict[str, list[tuple[str, str, str]]]:
    """The rows of each section of the page: field, default, meaning."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for part in re.split(r"^#{2,3} ", hook("recipe_reference").tables(recipe_schema()), flags=re.M):
        heading, _, rest = part.partition("\n")
        rows = re.findall(r"^\| `(\w+)` \| .+? \| ([^|]+) \| (.*) \|$", rest, re.M)
        if rows:
            assert heading not in found
            found[heading] = rows
    return found


def section_types(spot: Spot = TOP) -> dict[type, tuple[str, ...]]:
    """The types of all sections of recipes, with their fields."""
    found: dict[type, tuple[str, ...]] = {}
    for section in spot.sections:
        here = Spot((section,))
        found[section] = here.names()
        for name in here.names():
            child = here.child(name)
            found |= section_types(child)
            if child.item is not None:
                found |= section_types(child.item)
    return found


def test_the_reference_has_every_field_of_every_section() -> None:
    listed = [tuple(name for name, _, _ in rows) for rows in reference().values()]
    assert sorted(listed) == sorted(section_types().values())
    assert len(listed) > 30


def test_no_field_lacks_a_description() -> None:
    missing = [
        f"{heading}: {name}"
        for heading, rows in reference().items()
        for name, _, meaning in rows
        if not meaning.strip()
    ]
    assert missing == []


def test_sections_have_descriptions() -> None:
    definitions = recipe_schema()["$defs"].values()
    assert [one for one in definitions if not one.get("description", "").strip()] == []


def test_the_reference_says_patterns_in_words() -> None:
    page = hook("recipe_reference").tables(recipe_schema())
    rows = re.findall(r"^\| `(name|tag|budget)` \| ([^|]+) \|", page, re.M)
    assert {"name", "tag", "budget"} == {name for name, _ in rows}
    for _, value in rows:
        assert re.search("letters|symbol|a time such as", value), value


def test_links_of_the_reference_lead_to_its_sections() -> None:
    page = hook("recipe_reference").tables(recipe_schema())
    heads = {hook("recipe_reference").slug(heading) for heading in reference()}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= heads


def test_slugs_are_those_of_github(tmp_path: Path) -> None:
    headings = ["Variants of the score (line 6)", "A: b, `c`", "Minutes to a score"]
    page = tmp_path / "page.md"
    page.write_text("".join(f"## {one}\n\n" for one in headings), encoding="utf-8")
    assert {hook("recipe_reference").slug(one) for one in headings} == anchors(page)


def test_the_reference_says_what_is_chosen_to_fit_the_data() -> None:
    marked = {
        f"{heading.partition(',')[0]}.{name}"
        for heading, rows in reference().items()
        for name, default, _ in rows
        if default.startswith(hook("recipe_reference").CHOSEN_TEXT)
    }
    marked = {path.removeprefix("The recipe.") for path in marked}
    shared = {"tokenizer.source.vocabulary", "tokenizer.target.vocabulary"}
    assert marked == CHOSEN - shared


def test_all_that_the_defaults_choose_is_listed_as_chosen() -> None:
    named = set()
    for path in (ROOT / "s2s" / "tasks" / "defaults").glob("*.py"):
        named |= set(re.findall(r'\bat\("([\w.]+)"\)', text_of(path)))
    assert len(named) > 15
    assert named <= CHOSEN
    for path in CHOSEN:
        *section, name = path.split(".")
        assert name in spot_at(tuple(section)).names(), path


# Theory and tasks


def recipe_parts(page: Path) -> list[str]:
    """Parts of recipes: blocks, and code such as `attention: {kind: dot}` in tables."""
    text = text_of(page)
    inline = re.findall(r"`((?:attention|decoder|encoder): \{[^`]*\})`", text)
    return [*blocks(text, "yaml"), *(f"model: {{{one}}}\n" for one in inline)]


def loaded(part: str, folder: Path) -> dict[str, Any]:
    """The recipe that a part of one makes."""
    path = folder / "recipe.yaml"
    path.write_text(part if "task:" in part else HEAD + part, encoding="utf-8")
    return plain_recipe(load_recipe(path))


def test_recipe_lines_of_the_theory_are_recipes(tmp_path: Path) -> None:
    parts = recipe_parts(DOCS / "theory.md")
    assert len(parts) > 20
    for part in parts:
        assert is_within(parsed(part), loaded(part, tmp_path)), part


@pytest.mark.parametrize("place", ["model.attention", "model.decoder", "search"])
def test_the_theory_has_every_kind(place: str) -> None:
    keys = tuple(place.split("."))
    found = set()
    for part in recipe_parts(DOCS / "theory.md"):
        section = parsed(part)
        for key in keys:
            section = section.get(key, {})
        found.add(section.get("kind"))
    assert set(spot_at(keys).kinds()) <= found


@pytest.mark.parametrize("page", TASKS, ids=lambda page: page.stem)
def test_recipe_lines_of_a_task_are_those_of_a_recipe_it_names(page: Path) -> None:
    names = re.findall(r"\]\(\.\./\.\./recipes/([\w-]+)\.yaml\)", text_of(page))
    recipes = [parsed(text_of(ROOT / "recipes" / f"{name}.yaml")) for name in names]
    parts = blocks(text_of(page), "yaml")
    assert names and parts
    for part in parts:
        assert any(is_within(parsed(part), recipe) for recipe in recipes), part


@pytest.mark.parametrize("page", TASKS, ids=lambda page: page.stem)
def test_figures_of_a_task_are_in_the_results(page: Path) -> None:
    prose = re.sub(r"^```.*?^```|^    .*?$|`[^`]+`", "", text_of(page), flags=re.M | re.S)
    results = text_of(DOCS / "results.md")
    figures = set(re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])", prose))
    assert {one for one in figures if one not in results} == set()


def test_the_recipes_of_fine_tuning_are_recipes(tmp_path: Path) -> None:
    parts = blocks(text_of(FINE_TUNING), "yaml")
    assert len(parts) == 3
    for part in parts:
        path = tmp_path / "recipe.yaml"
        path.write_text(part)
        assert load_recipe(path).train.init_from is not None


def test_every_recipe_has_a_task_page() -> None:
    named = {
        name for page in TASKS for name in re.findall(r"recipes/([\w-]+)\.yaml", text_of(page))
    }
    shipped = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    assert shipped - named == {"quickstart"}


# Messages


@cache
def literals() -> frozenset[str]:
    """All texts of the code, with … for their variable parts."""
    found = set()
    for top in ("s2s", "cli"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(text_of(path))):
                if isinstance(node, ast.JoinedStr):
                    parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                    found.add(re.sub("…+", "…", "".join(map(str, parts))))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return frozenset(found)


def questions() -> dict[str, str]:
    """The headings of the page of messages with what follows them."""
    parts = re.split(r"^### ", text_of(DOCS / "faq.md"), flags=re.M)[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def test_every_question_quotes_messages_of_the_code() -> None:
    assert 15 <= len(questions()) <= 30
    for heading, answer in questions().items():
        quoted = [line for block in blocks(answer, "text") for line in block.splitlines()]
        assert quoted, heading
        for line in quoted:
            assert len(line.replace("…", "").strip()) >= 10, line
            assert any(line in text for text in literals()), line


# The hook


def test_links_lead_to_pages_of_the_site() -> None:
    pytest.importorskip("mkdocs", reason="needs the docs extra: make docs installs it")
    relinked = hook_of_mkdocs().relinked
    assert relinked("[a](../recipes/scan.yaml)", "tasks.md") == "[a](shipped-recipes.md#scan)"
    nested = relinked("[a](../../recipes/scan.yaml) [b](../data.md#tags)", "tasks/x.md")
    assert nested == "[a](../shipped-recipes.md#scan) [b](../data.md#tags)"
    assert relinked("[`decisions/`](decisions)", "x.md") == "[`decisions/`](decisions/index.md)"
    assert relinked("[c](../CHANGELOG.md) [d](https://a.b/c)", "index.md") == (
        "[c](changelog.md) [d](https://a.b/c)"
    )
    assert "](quickstart.md)" in hook_of_mkdocs().home()


def test_lists_get_a_blank_line_outside_code() -> None:
    pytest.importorskip("mkdocs", reason="needs the docs extra: make docs installs it")
    spaced = hook_of_mkdocs().spaced
    assert spaced("Text:\n- a\n  b\n- c") == "Text:\n\n- a\n  b\n- c"
    assert spaced("```\nx\n- a\n```\n\n- b") == "```\nx\n- a\n```\n\n- b"


@pytest.mark.parametrize(
    ("html", "is_foreign"),
    [
        ('<script src="https://cdn.example/x.js">', True),
        ('<link rel="stylesheet" href="//fonts.example/css">', True),
        ('<img alt="" src="http://a.example/b.png">', True),
        ('<script src="assets/x.js"><a href="https://a.example">', False),
        ('<link rel="canonical" href="https://a.example/">', False),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(html: str, is_foreign: bool) -> None:
    pytest.importorskip("mkdocs", reason="needs the docs extra: make docs installs it")
    assert bool(hook_of_mkdocs().LOADED.search(html)) is is_foreign


def hook_of_mkdocs() -> ModuleType:
    """`docs/hooks/site.py`, which imports its neighbour by name, as MkDocs has it do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HOOKS))
        return hook("site")

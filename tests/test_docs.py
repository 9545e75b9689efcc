"""The documentation names files, modules, options, commands and links that exist."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from s2s.recipe.load import load_recipe
from tests.house import ROOT, entries, level_of, modules

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

FOLDERS = ("s2s", "cli", "tests", "benchmarks", "recipes", "docs")

FOREIGN = {
    # Docker, Podman
    *("--rm", "--user", "--userns"),
    # pip, torchrun, find
    *("--index-url", "--standalone", "--nproc-per-node", "--nnodes", "--no-python"),
    *("--rdzv-backend", "--rdzv-endpoint", "--rdzv-conf", "--local-addr"),
    # TensorBoard
    "--logdir",
    # Typer and Click
    *("--help", "--install-completion", "--show-completion"),
}
"""Options of other programs that the pages use."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code(text: str) -> list[str]:
    """Every span of code of a page, and every line of a code block."""
    fence, indented = r"^```.*?\n(.*?)^```", r"(?:^    .*\n)+"
    blocks = [*re.findall(fence, text, re.M | re.S), *re.findall(indented, text, re.M)]
    prose = re.sub(indented, "", re.sub(fence, "", text, flags=re.M | re.S), flags=re.M)
    spans = [" ".join(span.split()) for span in re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", prose)]
    return [*spans, *(line for block in blocks for line in block.splitlines())]


@cache
def defined(path: Path) -> frozenset[str]:
    """Names that a module defines or imports at its top, and the methods and fields of its
    classes as `Class.name`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        found |= set(_names(node))
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for inner in node.body for name in _names(inner)}
    return frozenset(found)


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
    elif isinstance(node, ast.ImportFrom | ast.Import | ast.If):
        for inner in ast.walk(node):
            if isinstance(inner, ast.alias):
                yield inner.asname or inner.name


def is_defined(name: str) -> bool:
    """Whether a dotted name is a module, or stands in one."""
    files = modules()
    if name in files or name == "s2s.recipes":
        return True
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if module in files:
            return ".".join(parts[cut:]) in defined(files[module])
    return False


@cache
def options() -> frozenset[str]:
    """Long options of s2s, the benchmarks and the scripts of the tests."""
    found = set(FOREIGN)
    for path in [*(ROOT / "cli").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"--[a-z][a-z0-9-]*", node.value))
            elif isinstance(node, ast.arg):
                found |= _derived(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found |= _derived(node.target.id)
    for name in ("gpu_check.py", "check_wheel.py"):
        script = (ROOT / "tests" / name).read_text(encoding="utf-8")
        found |= set(re.findall(r'"(--[a-z][a-z0-9-]*)"', script))
    return frozenset(found)


def _derived(name: str) -> set[str]:
    """The options that Typer makes of a parameter or field without a name for its option."""
    name = name.replace("_", "-")
    return {f"--{name}", f"--no-{name}"}


@cache
def commands() -> frozenset[str]:
    """Names of the commands of s2s, by the files of the command line."""
    hidden = {"main", "__init__"}
    return frozenset(
        path.stem.replace("_", "-")
        for path in (ROOT / "cli").glob("*.py")
        if path.stem not in hidden
    )


@cache
def anchors(page: Path) -> frozenset[str]:
    """What `#...` may name in a page: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return frozenset(
        re.sub(r"[^\w\- ]", "", head.lower().strip()).replace(" ", "-") for head in heads
    )


def prose(page: Path) -> str:
    """The page, without examples of files that do not exist yet: tests/test_extending.py."""
    text = page.read_text(encoding="utf-8")
    if page.name != "extending.md":
        return text
    return re.sub(r"^```python\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_exist(page: Path) -> None:
    text = prose(page)
    pattern = rf"(?<![\w./])(?:{'|'.join(FOLDERS)})/[\w./-]*\w\.(?:py|md|yaml|txt|png|json)\b"
    folders = rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*/)`"
    found = [*re.findall(pattern, text), *re.findall(folders, text)]
    assert [
        path for path in found if not any((top / path).exists() for top in (ROOT, page.parent))
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_dotted_names_exist(page: Path) -> None:
    found = {
        name
        for span in code(prose(page))
        for name in re.findall(r"(?<![\w./-])s2s(?:_cli)?\.[a-z_]\w*(?:\.\w+)*", span)
    }
    assert {name for name in found if not is_defined(name)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_exist(page: Path) -> None:
    found = {
        option
        for span in code(page.read_text(encoding="utf-8"))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span)
    }
    assert found - options() == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    found = {
        command
        for span in code(page.read_text(encoding="utf-8"))
        for command in re.findall(r"(?:^|[ |]|\./)s2s ([a-z][a-z-]*)(?![\w./])", span)
    }
    assert found - commands() == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_complete_recipes_load(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    for block in blocks:
        if re.search(r"^task:", block, re.M):
            recipe = tmp_path / "recipe.yaml"
            recipe.write_text(block, encoding="utf-8")
            load_recipe(recipe)


def test_benchmarks_import_names_that_exist() -> None:
    missing = []
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("s2s."):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                missing += [name for name in names if not is_defined(name)]
    assert missing == []


def test_the_architecture_has_every_entry_with_its_level() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M)
    levels = {
        place: int(level)
        for level, places in rows
        for place in re.findall(r"`(s2s/\w+(?:\.py|/))`", places)
    }
    for entry in entries():
        place = f"s2s/{entry}" if entry.endswith(".py") else f"s2s/{entry}/"
        assert levels.get(place) == level_of(f"s2s.{entry.removesuffix('.py')}") + 1, place


def test_the_checks_find_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A: b, `c`\n\n`s2s.nn.model`\n\n    s2s nonsense --no-such-option\n")
    spans = code(page.read_text(encoding="utf-8"))
    assert "s2s.nn.model" in spans
    assert "    s2s nonsense --no-such-option" in spans
    assert anchors(page) == {"a-b-c"}
    assert is_defined("s2s.nn.model")
    assert is_defined("s2s.nn.model.Seq2Seq.encode")
    assert not is_defined("s2s.nn.model.Nonsense")
    assert not is_defined("s2s.nonsense")
    assert "--no-such-option" not in options()
    assert {"--length-penalty", "--no-stem"} <= options()
    assert {"translate", "tune-search"} <= commands()

"""Modules import lower layers only, so that each can be read without the ones above it."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

LAYERS = {
    "s2s": 0,
    "s2s.errors": 0,
    "s2s.files": 0,
    "s2s.progress": 0,
    "s2s.recipe": 0,
    "s2s.recipe_io": 0,
    "s2s.threads": 0,
    "s2s.data": 1,
    "s2s.features": 1,
    "s2s.text": 1,
    "s2s.nn": 2,
    "s2s.search": 3,
    "s2s.metrics": 3,
    "s2s.run": 4,
    "s2s.tasks": 4,
    "s2s.translate": 4,
    "s2s.attention": 5,
    "s2s.evaluation": 5,
    "s2s.train": 5,
    "s2s.bench": 6,
    "s2s.pipeline": 6,
    "cli": 7,
}

# Within a layer these may see each other, in the direction given; nothing else may.
SIDEWAYS = {
    ("s2s.bench", "s2s.pipeline"),
    ("s2s.data", "s2s.text"),
    ("s2s.data", "s2s.features"),
    ("s2s.features", "s2s.text"),
}


def part_of(module: str) -> str:
    """The part of the architecture a module belongs to: `s2s.run_checkpoints` is of `s2s.run`."""
    names = module.split(".")
    part = ".".join(names[:2]) if names[0] == "s2s" else "cli"
    known = [name for name in LAYERS if part == name or part.startswith(f"{name}_")]
    assert known, f"{module}: a new part of the architecture; give it a layer here"
    return max(known, key=len)


def imports(path: Path, module: str) -> Iterator[str]:
    """Every module of the project that a file imports, at any depth of its code."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = package if node.level else node.module or ""
            if node.level and node.module:
                base = f"{package}.{node.module}"
            if is_ours(base):
                for alias in node.names:
                    yield f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in ("s2s", "cli", "s2s_cli")


def is_module(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def modules() -> Iterator[tuple[Path, str]]:
    for top in ("s2s", "cli"):
        for path in sorted((ROOT / top).rglob("*.py")):
            names = path.relative_to(ROOT).with_suffix("").parts
            yield path, ".".join(names[:-1] if names[-1] == "__init__" else names)


def may_import(importer: str, imported: str) -> bool:
    same_part = importer == imported
    lowest = LAYERS[importer] == LAYERS[imported] == 0  # types and errors, which know each other
    sideways = (importer, imported) in SIDEWAYS
    return same_part or lowest or sideways or LAYERS[imported] < LAYERS[importer]


def test_imports_point_downwards() -> None:
    breaches = [
        f"{module} imports {other}"
        for path, module in modules()
        for other in imports(path, module)
        if not may_import(part_of(module), part_of(other))
    ]
    assert breaches == []


def test_the_walk_sees_imports() -> None:
    found = dict.fromkeys(
        other
        for path, module in modules()
        if module == "cli.main"
        for other in imports(path, module)
    )
    assert {"s2s", "s2s.errors", "cli.train", "cli.options"} <= found.keys()
    assert not may_import("s2s.nn", "s2s.train")
    assert not may_import("s2s.search", "s2s.metrics")
    assert part_of("s2s.run_checkpoints") == "s2s.run"


def test_modules_and_files_keep_their_size() -> None:
    """500 lines at the very most; the recipe is one list of fields and documentation."""
    long = {
        module: lines
        for path, module in modules()
        if (lines := path.read_text(encoding="utf-8").count("\n")) > 500 and module != "s2s.recipe"
    }
    assert long == {}


def test_every_package_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "s2s").rglob("__init__.py")
    }
    assert listed == folders | {"s2s_cli", "s2s.recipes"}

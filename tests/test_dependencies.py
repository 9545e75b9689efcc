"""What the code imports is declared in pyproject.toml, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.house import ROOT

NAMES = {"PIL": ["pillow"], "mlflow": ["mlflow-skinny"], "pydantic_core": ["pydantic"]}
"""Distributions of modules that have another name; pydantic pins its core."""

TYPES = {"_typeshed"}
"""Modules for type checkers alone."""

OF_TORCH = {"triton"}
"""Modules that builds of PyTorch for CUDA bring along; imported only where they are there."""

OF_OTHER_TOOLKITS = {"onmt", "pyonmttok", "_pymarian"}
"""Modules that only the script for another toolkit imports, in the Python of that toolkit."""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """The top-level modules that s2s and the command line import, at any depth of a file."""
    found = set()
    for folder in ("s2s", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    found.add(node.module.partition(".")[0])
    others = TYPES | OF_TORCH | OF_OTHER_TOOLKITS
    return found - set(sys.stdlib_module_names) - others - {"s2s", "s2s_cli"}


def declared() -> tuple[set[str], set[str]]:
    """The distributions that s2s needs, and those of its optional parts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = {
        name: listed
        for name, listed in project["optional-dependencies"].items()
        if name not in ("dev", "browser", "docs", "notebook")
    }
    needed = {normalized(re.split(r"[\[<>=~!]", one)[0]) for one in project["dependencies"]}
    optional = {
        normalized(re.split(r"[\[<>=~!]", one)[0]) for part in parts.values() for one in part
    }
    return needed, optional


def test_everything_imported_is_declared() -> None:
    distributions = {**packages_distributions(), **NAMES}
    needed, optional = declared()
    for module in imported():
        owners = {normalized(name) for name in distributions.get(module, [module])}
        assert owners & (needed | optional), f"{module} of {owners} is not declared"


def test_everything_needed_is_imported() -> None:
    distributions = {**packages_distributions(), **NAMES}
    owners = {
        normalized(name) for module in imported() for name in distributions.get(module, [module])
    }
    assert declared()[0] <= owners

"""The graph of imports, file by file: what `make house` prints and `tests/test_layers.py` checks.

    .venv/bin/python tests/house.py

Every import counts, at any depth of a file and for types alone too: who reads a file has to know
what it names.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Graph = Mapping[str, set[str]]
"""The modules that each module imports."""

LEVELS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "s2s.errors s2s.files s2s.messages s2s.signals s2s.spaces s2s.special s2s.version",
        "s2s.recipe",
        "s2s.text s2s.metrics s2s.nn",
        "s2s.data",
        "s2s.search s2s.run",
        "s2s.inference s2s.training",
        "s2s.tasks",
        "s2s.pipeline",
        "s2s.bench s2s.report s2s.serve s2s",
        "s2s_cli",
        "s2s.__main__",
    )
)
"""The entries of `s2s/` and the command line, from the ground up: each imports lower levels and
itself alone."""


def modules() -> dict[str, Path]:
    """Every module of the library and the command line, with its file."""
    found = {}
    for top in ("s2s", "cli"):
        for path in sorted((ROOT / top).rglob("*.py")):
            names = list(path.relative_to(ROOT).with_suffix("").parts)
            names[0] = {"cli": "s2s_cli"}.get(names[0], names[0])
            found[".".join(names[:-1] if names[-1] == "__init__" else names)] = path
    return found


def graph(files: Mapping[str, Path]) -> Graph:
    """What each module imports of the others; a package's own file counts where names are taken
    from it."""
    return {
        module: {name for name in _imports(module, path, files) if name != module}
        for module, path in files.items()
    }


def _imports(module: str, path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            if base in files:
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield inner if inner in files else base


def entry_of(module: str) -> str:
    """The entry of `s2s/` that a module belongs to, or the command line."""
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "s2s" else names[0]


def level_of(module: str) -> int:
    """The place of a module's entry in `LEVELS`. Raises KeyError for a new one."""
    entry = entry_of(module)
    for level, entries in enumerate(LEVELS):
        if entry in entries:
            return level
    raise KeyError(f"{module}: a new entry of the house; give it a level in tests/house.py")


def upward(imports: Graph) -> list[str]:
    """Imports of another entry that is not lower."""
    return [
        f"{module} imports {other}"
        for module, others in sorted(imports.items())
        for other in sorted(others)
        if entry_of(module) != entry_of(other) and level_of(other) >= level_of(module)
    ]


def circle(imports: Graph) -> list[str]:
    """The modules of a circle; none where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def longest_chain(imports: Graph) -> list[str]:
    """The longest way down, module by module. The graph has no circle."""
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(imports).static_order():
        below = max((chains[other] for other in imports[module]), key=len, default=[])
        chains[module] = [module, *below]
    return max(chains.values(), key=len)


def functions(paths: Iterable[Path]) -> Iterator[tuple[int, str]]:
    """Lines and name of every function and method."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                place = path.relative_to(ROOT).as_posix()
                yield node.end_lineno - node.lineno + 1, f"{place}:{node.name}"


def entries() -> list[str]:
    """What lies in `s2s/`, but for the package's own file and the marker of its types.

    A folder that has nothing but compiled files is left over from a package that was renamed.
    """
    return sorted(
        path.name
        for path in (ROOT / "s2s").iterdir()
        if path.name not in {"__init__.py", "__pycache__", "py.typed"}
        and (path.is_file() or any(p.is_file() and p.suffix != ".pyc" for p in path.rglob("*")))
    )


def main() -> None:
    """Print the numbers of the graph."""
    files = modules()
    imports = graph(files)
    found = circle(imports)
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in files.items()}
    sizes = sorted(functions(files.values()))
    packages = [name for name in entries() if "." not in name]
    loose = [name for name in entries() if "." in name]
    print(f"entries of s2s/: {len(packages)} packages, {len(loose)} modules ({', '.join(loose)})")
    print(f"files: {len(files)}, imports between them: {sum(map(len, imports.values()))}")
    print(f"levels of s2s: {len(LEVELS) - 2}, and the command line above them")
    print(f"circles: {' -> '.join(found) if found else 'none'}")
    breaches = upward(imports)
    print(f"imports upwards: {len(breaches) or 'none'}", *breaches, sep="\n  ")
    if not found:
        chain = longest_chain(imports)
        print(f"longest chain of files: {len(chain)}:", *chain, sep="\n  ")
    longest = max(lines, key=lambda name: lines[name])
    print(f"longest file: {longest}, {lines[longest]} lines")
    print(f"longest function: {sizes[-1][1]}, {sizes[-1][0]} lines")
    middle, tenth = sizes[len(sizes) // 2][0], sizes[len(sizes) * 9 // 10][0]
    print(f"functions: {len(sizes)}, median {middle} lines, 90th percentile {tenth}")
    sys.exit(bool(found or breaches))


if __name__ == "__main__":
    main()

"""The house keeps its shape: imports point downwards, file by file, and nothing lies loose."""

import tomllib
from pathlib import Path

from tests.house import (
    LEVELS,
    ROOT,
    circle,
    entries,
    entry_of,
    functions,
    graph,
    level_of,
    longest_chain,
    modules,
    upward,
)
from tests.machines import TESTS as MACHINE_TESTS

ENTRIES = [
    *(
        "__main__.py",
        "bench",
        "data",
        "errors.py",
        "files.py",
        "inference",
        "messages.py",
        "metrics",
        "nn",
    ),
    *(
        "pipeline",
        "recipe",
        "report",
        "run",
        "search",
        "serve",
        "signals.py",
        "spaces.py",
        "special.py",
        "tasks",
        "text",
    ),
    *("training", "version.py"),
]


def test_no_file_imports_upwards() -> None:
    assert upward(graph(modules())) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle(graph(modules())) == []


def test_there_are_nine_levels_below_the_command_line() -> None:
    *levels, top, start = LEVELS
    assert len(levels) == 9
    assert (top, start) == ({"s2s_cli"}, {"s2s.__main__"})


def test_nothing_lies_loose() -> None:
    """Fourteen packages and seven modules that all of them stand on; docs/architecture.md."""
    assert entries() == ENTRIES
    assert {entry_of(name) for name in modules()} == set().union(*LEVELS)


def test_the_walk_sees_every_kind_of_import(tmp_path: Path) -> None:
    texts = {
        "s2s.nn": "",
        "s2s.nn.high": "from s2s.training import low\nfrom s2s.nn.side import a",
        "s2s.nn.side": "def f():\n    from s2s.nn.high import b",
        "s2s.training": "",
        "s2s.training.low": "if TYPE_CHECKING:\n    import s2s.pipeline",
        "s2s.pipeline": "",
        "s2s_cli": "",
        "s2s_cli.a": "from .b import c\nfrom . import d",
        "s2s_cli.b": "",
        "s2s_cli.d": "",
    }
    files = {}
    for name, text in texts.items():
        files[name] = tmp_path / f"{name}.py"
        files[name].write_text(text)
    found = graph(files)
    assert found["s2s_cli.a"] == {"s2s_cli.b", "s2s_cli.d"}
    assert upward(found) == [
        "s2s.nn.high imports s2s.training.low",
        "s2s.training.low imports s2s.pipeline",
    ]
    assert set(circle(found)) == {"s2s.nn.high", "s2s.nn.side"}
    del found["s2s.nn.side"]
    assert longest_chain({**found, "s2s.nn.side": set()})[0] == "s2s.nn.high"
    assert entry_of("s2s.data.features.npy") == "s2s.data"
    assert level_of("s2s.data.features.npy") > level_of("s2s.nn.model")


def test_files_and_functions_keep_their_size() -> None:
    """A file of 400 lines at the very most, a function of 60; a command has a line for each
    option."""
    files = modules()
    long = {name for name, path in files.items() if path.read_text("utf-8").count("\n") > 400}
    assert long == set()
    paths = [path for name, path in files.items() if entry_of(name) != "s2s_cli"]
    assert [name for lines, name in functions(paths) if lines > 60] == []


def test_tests_mirror_the_tree() -> None:
    """A folder of tests is a folder of the library, or the command line."""
    folders = {
        path.parent.relative_to(ROOT / "tests").as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    homes = {
        path.parent.relative_to(ROOT / "s2s").as_posix()
        for path in (ROOT / "s2s").rglob("__init__.py")
    }
    assert folders <= homes | {"cli"}


def test_every_package_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "s2s").rglob("__init__.py")
    }
    assert listed == folders | {"s2s_cli", "s2s_cli.options", "s2s.recipes"}


def test_the_files_for_other_processors_have_tests_for_them() -> None:
    for name in MACHINE_TESTS:
        assert "pytest.mark.kernels" in (ROOT / name).read_text(encoding="utf-8"), name

"""Help is quick because it loads nothing: no torch, no datasets, no numpy."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.walk import commands
from tests.commands import HANGS

COMMANDS = [list(words) for words in commands()]
HEAVY = ("torch", "datasets", "pyarrow", "numpy", "ruamel.yaml", "sacrebleu", "s2s.recipe.section")

PROBE = """
import contextlib, io, json, sys
from s2s_cli.main import run
found, before = [], set()
for command in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run([*command, "--help"])
    loaded = {name for name in json.loads(sys.argv[2]) if name in sys.modules}
    found.append([status, out.getvalue(), err.getvalue(), sorted(loaded - before)])
    before |= loaded
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, ...], list[Any]]:
    """Of each command, one after the other in a process of their own: exit status, stdout, stderr
    and what its help has loaded."""
    probe = [sys.executable, "-c", PROBE, json.dumps(COMMANDS), json.dumps(HEAVY)]
    done = subprocess.run(probe, capture_output=True, text=True, check=True, timeout=HANGS)
    return dict(zip(map(tuple, COMMANDS), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_loads_nothing_heavy(
    command: list[str], found: dict[tuple[str, ...], list[Any]]
) -> None:
    status, out, err, loaded = found[tuple(command)]
    assert (status, err, loaded) == (0, "", [])
    assert f"Usage: {' '.join(['s2s', *command])}" in out
    assert "Examples:" in out

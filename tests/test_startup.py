"""Help is quick because it loads nothing: no torch, no datasets, no numpy."""

import subprocess
import sys

import pytest

COMMANDS = [
    [],
    ["prep"],
    ["train"],
    ["translate"],
    ["bleu"],
    ["average"],
    ["tune-search"],
    ["shortlist"],
    ["features"],
    ["bench"],
    ["check"],
    ["recipes"],
    ["recipes", "list"],
    ["recipes", "show"],
    ["recipes", "copy"],
    ["recipes", "schema"],
]
HEAVY = ("torch", "datasets", "pyarrow", "numpy", "ruamel.yaml", "sacrebleu")

PROBE = """
import sys
from s2s_cli.main import run
status = run(sys.argv[1:])
print("LOADED", *(name for name in {heavy!r} if name in sys.modules))
sys.exit(status)
"""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    probe = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *command, "--help"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: {' '.join(['s2s', *command])}" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
    assert "Examples:" in done.stdout

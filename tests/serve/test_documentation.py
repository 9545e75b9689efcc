"""The examples of docs/serve.md run as they are written."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2s.run.directory import Run
from tests.commands import INPUT
from tests.serve.servers import Client, serving

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")

COMMANDS = re.findall(r"^```sh\n(curl .*?)^```", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine"),
]


@pytest.fixture(scope="module")
def quickstart(spell: Run) -> Iterator[Client]:
    """A server whose model has the name that the page uses."""
    with serving(spell, names=("quickstart",)) as client:
        yield client


def test_there_are_examples() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_is_answered(
    quickstart: Client, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("input.txt").write_text(INPUT)
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{quickstart.port}")
    assert here != command
    done = subprocess.run(
        here.replace("curl ", "curl --silent --show-error --fail-with-body ", 1),
        shell=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    if "/v1/text" in command:
        assert len(Path("output.txt").read_text().splitlines()) == 8
    elif "/metrics" in command:
        assert b"s2s_requests_total" in done.stdout
    else:
        assert "error" not in json.loads(done.stdout)


def test_the_example_in_python(quickstart: Client) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    url = f"http://127.0.0.1:{quickstart.port}/v1/translate"
    found = names["translate"](["0 1", ""], url)  # type: ignore[operator]
    lines = quickstart.ask("/v1/translate", text=["0 1", ""])["lines"]
    assert found == [line["text"] for line in lines]


def test_every_metric_of_the_page_is_there(quickstart: Client) -> None:
    quickstart.ask("/v1/translate", text="0 1")
    quickstart.raw("/v1/translate", b"{")
    text = quickstart.get("/metrics").body.decode()
    for name in re.findall(r"`(s2s_\w+)\{", PAGE):
        assert f"# TYPE {name.removesuffix('_total')}" in text, name


def test_every_option_of_the_page_has_its_default() -> None:
    from s2s.serve.settings import Limits, Settings, Timeouts

    limits, settings, timeouts = Limits(), Settings(), Timeouts()
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| `(--[\w-]+)` \|$", PAGE, re.MULTILINE)
    told = {option: default for default, option in rows}
    assert told == {
        "--queue": f"{settings.queue}",
        "--timeout": f"{timeouts.request:g}",
        "--max-lines": f"{limits.lines:,}",
        "--max-length": f"{limits.line_length:,}",
        "--max-bytes": f"{limits.body_bytes >> 20} MiB",
    }
    seconds = (timeouts.head, timeouts.body, timeouts.write, timeouts.idle)
    assert ", ".join(f"{one:g}" for one in seconds) in PAGE

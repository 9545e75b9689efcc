"""docs/notebook.ipynb runs in a kernel, and a training that is interrupted there can go on."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.commands import HANGS, write_example
from tests.places import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")  # those of Jupyter's packages

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
SIZES = "pairs, epochs = 20_000, 3"

if any(find_spec(name) is None for name in ("ipykernel", "nbclient", "matplotlib")):
    pytest.skip("needs the packages of the extra dev", allow_module_level=True)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread for the kernel, which is told where to keep its files."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


def outputs(notebook: Any) -> list[Any]:
    return [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]


def test_the_notebook_has_its_outputs() -> None:
    """It was run from its first cell to its last, and nothing in it names a machine's folders."""
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(one.output_type != "error" for one in outputs(notebook))
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/work/", "/Users/"))


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """With a smaller corpus; its cells return the kinds of outputs that it shows."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [sorted(one.get("data", {})) for one in outputs(notebook) if "data" in one]
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    assert SIZES in cell.source
    cell.source = cell.source.replace(SIZES, "pairs, epochs = 1_500, 1")
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=int(HANGS), kernel_name="python3", resources=place).execute()
    assert [sorted(one.get("data", {})) for one in outputs(notebook) if "data" in one] == shown
    assert (tmp_path / "runs" / "notebook" / "metrics.jsonl").is_file()


class Kernel:
    """Runs code in a kernel."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        self.manager, self.client = start_new_kernel(cwd=str(folder))

    def run(self, code: str, interrupt_at: str | None = None) -> str:
        """What it prints and returns; an error as `Name: message`. It is interrupted when it has
        printed a text."""
        sent = self.client.execute(code)
        found = ""
        while True:
            message = self.client.get_iopub_msg(timeout=HANGS)
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    found += content["text"]
                    if interrupt_at is not None and interrupt_at in found:
                        interrupt_at = None
                        self.manager.interrupt_kernel()
                case "error":
                    found += f"{content['ename']}: {content['evalue']}"
                case "execute_result":
                    found += content["data"]["text/plain"]
                case "status" if content["execution_state"] == "idle":
                    return found


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_example()
    made = Kernel(folder)
    yield made
    made.client.stop_channels()
    made.manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal for it")
def test_an_interrupt_saves_and_the_same_call_resumes(kernel: Kernel) -> None:
    kernel.run("import s2s; changes = {'train.epochs': 400, 'train.patience': None}")
    stopped = kernel.run("s2s.train('recipe.yaml', changes)", interrupt_at="tokens/s")
    assert "Interrupted: runs/spell: saved at update " in stopped
    again = kernel.run("s2s.train('recipe.yaml', changes)", interrupt_at="tokens/s")
    assert "Interrupted: runs/spell: saved at update " in again
    text = kernel.run("model = s2s.load(quiet=True); model.translate('4 5 6')")
    # A cell that waits for something runs in the kernel's event loop.
    code = "async def translated():\n    return model.translate('4 5 6')\nawait translated()"
    assert kernel.run(code) == text

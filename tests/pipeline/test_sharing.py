"""Models on the hub, by its library, from a stand-in of the hub's HTTP interface (tests/hub.py)."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2s import pipeline
from s2s.errors import RunError, UsageError
from s2s.run.finding import find_run
from s2s.run.hub import is_hub_name, parse_hub_name
from tests.commands import HANGS, Call, call, write_example
from tests.hub import TOKEN, Hub, running

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCE = b"0 1 2\n4 5\n"
NAME = "ann/spell"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, an empty cache, and the token of a user."""
    from huggingface_hub import constants

    with running() as found:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, found.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        older = "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE"  # has a copy of it
        monkeypatch.setattr(older, template, raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        # The protocol of large files that stands in LFS: Xet is not HTTP alone.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_run: Any, hub: Hub) -> Path:
    """A folder with a run."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_example()
    random_run("one")
    return tmp_path / "here"


def model_requests(hub: Hub) -> list[str]:
    """What was asked of a repository."""
    return [line for line in hub.requests if "ann" in line or "repos" in line]


def test_a_model_goes_to_the_hub_and_comes_back(here: Path, hub: Hub, call: Call) -> None:
    status, out, err = call("push", "one", NAME, "--license", "mit")
    repository = hub.repositories[NAME]
    assert (status, out.decode()) == (0, f"{NAME}@{repository.sha(1)}\n")
    assert repository.is_private
    assert err.startswith(f"s2s: {NAME}: private, ")
    assert TOKEN not in err
    expected = call.output("translate", "--run", "one", stdin=SOURCE)
    shutil.rmtree("runs")

    status, out, err = call("translate", "--run", NAME, stdin=SOURCE)
    assert (status, out) == (0, expected)
    first, *_ = err.splitlines()
    assert first == f"s2s: {NAME}: neither here nor in the cache; asking the hub"
    call.output("pull", NAME, "-o", "copy.s2s")
    call.output("pull", NAME, "-o", "copy")
    assert call.output("translate", "--run", "copy.s2s", stdin=SOURCE) == expected
    assert call.output("translate", "--run", "copy", stdin=SOURCE) == expected
    card = repository.commits[-1]["README.md"].decode()
    assert f"s2s translate --run {NAME} <" in card
    assert "license: mit" in card


def test_what_is_in_the_cache_needs_no_hub(
    here: Path, hub: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    call.output("push", "one", NAME)
    expected = call.output("translate", "--run", NAME, stdin=SOURCE)
    before = len(hub.requests)
    assert call.output("translate", "--run", NAME, stdin=SOURCE) == expected
    assert hub.requests[before:] == []
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    assert call.output("translate", "--run", NAME, stdin=SOURCE) == expected


def test_a_name_means_one_model_until_it_is_pulled_again(
    here: Path, hub: Hub, call: Call, random_run: Any
) -> None:
    random_run("two", "seed=5")
    ours = {
        name: call.output("translate", "--run", name, "--beam", "3", "--scores", stdin=SOURCE)
        for name in ("one", "two")
    }
    assert ours["one"] != ours["two"]

    def given(name: str) -> bytes:
        return call.output("translate", "--run", name, "--beam", "3", "--scores", stdin=SOURCE)

    first = call.output("push", "one", NAME).decode().strip()
    assert given(NAME) == ours["one"]
    second = call.output("push", "two", NAME).decode().strip()
    hub.repositories[NAME].tags["v1"] = 1
    assert given(NAME) == ours["one"]
    assert [given(first), given(second), given(f"{NAME}@v1")] == [
        *(ours["one"], ours["two"], ours["one"])
    ]
    assert given(NAME) == ours["one"]
    call.output("pull", NAME)
    assert given(NAME) == ours["two"]


def test_a_new_model_replaces_every_file_of_the_old_one(
    here: Path, hub: Hub, call: Call, random_run: Any
) -> None:
    call.output("push", "one", NAME)
    files = hub.repositories[NAME].commits[-1]
    assert "tokenizer/shared/vocabulary.json" in files
    files["picture.png"] = b"of mine"
    files["README.md"] = b"my own words"
    two_sides = "tokenizer={kind: separate, source: {kind: word}, target: {kind: word}}"
    random_run("two", two_sides)
    call.output("push", "two", NAME, "--keep-card")
    after = hub.repositories[NAME].commits[-1]
    assert "tokenizer/shared/vocabulary.json" not in after
    assert "tokenizer/source/vocabulary.json" in after
    assert (after["picture.png"], after["README.md"]) == (b"of mine", b"my own words")
    call.output("push", "one", NAME)
    assert hub.repositories[NAME].commits[-1]["README.md"].startswith(b"---\n")


def test_an_exported_model_is_pushed_as_it_is(here: Path, hub: Hub, call: Call) -> None:
    call.output("export", "one", "-o", "small", "--precision", "int8")
    call.output("push", "small", NAME, "--public")
    assert not hub.repositories[NAME].is_private
    pushed = hub.repositories[NAME].commits[-1]
    for name in ("model.safetensors", "model.json", "recipe.yaml"):
        assert pushed[name] == Path("small", name).read_bytes()


def test_a_private_repository_stays_private(here: Path, hub: Hub, call: Call) -> None:
    call.output("push", "one", NAME)
    status, _, err = call("push", "one", NAME, "--public")
    assert status == 0
    assert err.endswith(f"s2s: {NAME}: the repository was private before and stays so\n")
    assert hub.repositories[NAME].is_private


# ------------------------------------------------------------------------------------- refused


def sound(here: Path, call: Call) -> dict[str, bytes]:
    """The files of a model."""
    call.output("export", "one", "-o", "sound")
    return {
        path.relative_to("sound").as_posix(): path.read_bytes()
        for path in Path("sound").rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x/optimizer.pt", "data.PKL", "handler.py"])
def test_files_that_may_execute_code_are_refused(
    here: Path, hub: Hub, call: Call, name: str
) -> None:
    hub.add(NAME, {**sound(here, call), name: pickle.dumps([1])})
    for command in (("pull", NAME), ("translate", "--run", NAME)):
        status, line = refused(call, *command)
        assert status == 1
        assert line == (
            f"{NAME}: refused: a model of s2s has no files that may execute code, and this "
            f"repository has '{name}'"
        )
    assert not any("resolve" in line for line in hub.requests)  # nothing of it was downloaded


def refused(call: Call, *arguments: str) -> tuple[int, str]:
    """Exit status and the last line."""
    status, out, err = call(*arguments, stdin=SOURCE)
    *notes, line = err.splitlines()
    assert out == b""
    assert all("asking the hub" in note for note in notes), err
    assert TOKEN not in err
    return status, line.removeprefix("s2s: error: ")


def test_repositories_of_something_else(here: Path, hub: Hub, call: Call) -> None:
    hub.add("ann/bert", {"config.json": b"{}", "model.safetensors": b"", "README.md": b""})
    expected = "ann/bert: no model of s2s: the repository has no model.json; 's2s push' makes one"
    assert refused(call, "pull", "ann/bert") == (1, expected)
    assert refused(call, "translate", "--run", "ann/bert") == (1, expected)
    assert refused(call, "push", "one", "ann/bert") == (1, expected)
    assert len(hub.repositories["ann/bert"].commits) == 2
    hub.add("ann/mine", {"README.md": b"soon"})  # made on the hub's pages
    assert refused(call, "push", "one", "ann/mine") == (
        2,
        "ann/mine: everyone can read this repository; --public pushes to it",
    )
    call.output("push", "one", "ann/mine", "--public")


def test_absurd_and_damaged_files(here: Path, hub: Hub, call: Call) -> None:
    files = sound(here, call)
    hub.add("ann/long", {**files, "recipe.yaml": b" " * (1 << 21)})
    assert refused(call, "pull", "ann/long") == (
        1,
        "ann/long: refused: recipe.yaml has 2,097,152 bytes, expected 1,048,576 at most",
    )
    hub.add("ann/bad", {**files, "tokenizer/shared/vocabulary.json": b"{}"})
    status, line = refused(call, "translate", "--run", "ann/bad")
    assert status == 1
    assert line.startswith("ann/bad: damaged: 'tokenizer/shared/vocabulary.json' is not the file")


def test_a_damaged_cache_is_mended(here: Path, hub: Hub, call: Call, tmp_path: Path) -> None:
    call.output("push", "one", NAME)
    expected = call.output("translate", "--run", NAME, stdin=SOURCE)
    (weights,) = (tmp_path / "cache").rglob("snapshots/*/model.safetensors")
    target = weights.resolve()
    target.write_bytes(target.read_bytes()[:-9])
    status, out, err = call("translate", "--run", NAME, stdin=SOURCE)
    assert (status, out) == (0, expected), err


# ---------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "name", ["spell", "/spell", "ann/", "ann/a/b", "ann/../x", "ann/x@", "-ann/x", "ann/x y", ""]
)
def test_names_without_an_owner(here: Path, call: Call, name: str) -> None:
    expected = (
        2,
        f"{name!r}: expected a repository of the hub, owner/name or owner/name@revision",
    )
    assert call.fault("push", "one", "--", name) == expected
    assert call.fault("pull", "--", name) == expected
    assert not is_hub_name(name)


def test_names_have_an_owner_and_perhaps_a_revision() -> None:
    assert parse_hub_name("a/b").revision is None
    assert parse_hub_name("Helsinki-NLP/opus-mt_de.en@refs/pr/3").revision == "refs/pr/3"
    assert str(parse_hub_name("a/b@v1")) == "a/b@v1"


@pytest.mark.parametrize("name", ["runs/typo", "here/typo", "gone/model.s2s", "a/b/c"])
def test_a_typo_in_a_path_does_not_ask_the_hub(here: Path, hub: Hub, call: Call, name: str) -> None:
    Path("here").mkdir()
    status, line = call.fault("translate", "--run", name, stdin=SOURCE)
    assert (status, line.startswith(f"{name}: no such run, ")) == (2, True)
    assert hub.requests == []


def test_no_repository_no_revision_no_token(
    here: Path, hub: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = (
        "ann/none: no such repository on the hub, or a private one; 'hf auth login', or the "
        "variable HF_TOKEN, gives access to those of your own"
    )
    assert refused(call, "pull", "ann/none") == (1, absent)
    call.output("push", "one", NAME)
    assert refused(call, "pull", f"{NAME}@v9") == (
        1,
        f"{NAME}@v9: the repository has no such revision",
    )
    assert refused(call, "push", "one", f"{NAME}@v9") == (
        2,
        f"{NAME}@v9: expected owner/name; a model is pushed as the newest commit",
    )
    monkeypatch.delenv("HF_TOKEN")
    assert refused(call, "pull", NAME)[1].startswith(f"{NAME}: no such repository on the hub, or")
    assert refused(call, "push", "one", "ann/new") == (
        2,
        "ann/new: pushing needs a token of the hub: 'hf auth login', or the variable HF_TOKEN",
    )


def test_a_hub_that_refuses(
    here: Path, hub: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.refused = ("/commit/", 403)
    assert refused(call, "push", "one", NAME) == (
        1,
        f"{NAME}: the hub allows this token no such access (not today)",
    )
    hub.refused = ("/large/", 413)
    status, line = refused(call, "push", "one", NAME)
    assert (status, "status 413" in line) == (1, True)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    hub.refused = None
    assert refused(call, "push", "one", "ann/other")[0] == 1
    assert "ann/other" not in hub.repositories


def test_a_hub_that_is_away(
    here: Path, hub: Hub, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for command in (("pull", NAME), ("push", "one", NAME), ("translate", "--run", NAME)):
        status, line = refused(call, *command)
        assert status == 1
        assert line.startswith(f"{NAME}: the hub cannot be reached")


def test_pull_keeps_what_is_there(here: Path, hub: Hub, call: Call) -> None:
    call.output("push", "one", NAME)
    Path("thesis").mkdir()
    Path("thesis/a.tex").write_text("precious")
    Path("copy.s2s").write_text("precious")
    before = len(hub.requests)
    assert refused(call, "pull", NAME, "-o", "thesis", "--force")[0] == 2
    assert refused(call, "pull", NAME, "-o", "copy.s2s")[0] == 2
    assert hub.requests[before:] == []  # found before anything is downloaded
    assert Path("copy.s2s").read_text() == "precious"
    call.output("pull", NAME, "-o", "copy.s2s", "--force")
    assert find_run("copy.s2s").is_exported


def test_the_same_from_python(here: Path, hub: Hub) -> None:
    name = parse_hub_name(NAME)
    pushed = pipeline.push(find_run("one"), name, private=False)
    assert (pushed.is_private, pushed.revision) == (False, hub.repositories[NAME].sha(1))
    pulled = pipeline.pull(name)
    assert pulled.info.name == "one"
    assert find_run(NAME).name == "spell"
    with pytest.raises(RunError):
        pipeline.pull(parse_hub_name("ann/none"))
    with pytest.raises(UsageError):
        pipeline.push(find_run("one"), parse_hub_name(f"{NAME}@v1"))


@pytest.mark.slow
def test_in_processes_of_their_own(here: Path, hub: Hub, tmp_path: Path) -> None:
    """The variables of the environment that the library reads, and workers."""
    variables = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home")}
    environment = {**os.environ, **variables, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}

    def called(*arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        command = (sys.executable, "-c", "from s2s_cli.main import main; main()", *arguments)
        return subprocess.run(
            command,
            env={**environment, **more},
            input=SOURCE,
            capture_output=True,
            check=False,
            timeout=HANGS,
        )

    assert called("push", "one", NAME).returncode == 0
    expected = called("translate", "--run", "one").stdout
    first = called("translate", "--run", NAME, "--workers", "2")
    assert (first.returncode, first.stdout) == (0, expected), first.stderr
    offline = called("translate", "--run", NAME, HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout) == (0, expected), offline.stderr
    assert b"asking the hub" not in offline.stderr
    absent = called("translate", "--run", "ann/other", HF_HUB_OFFLINE="1")
    assert absent.returncode == 1
    assert absent.stderr.splitlines()[-1] == (
        b"s2s: error: ann/other: not in the cache, and HF_HUB_OFFLINE is set"
    )

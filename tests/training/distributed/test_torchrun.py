"""The network that several hosts meet on, and the folder that they share."""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from s2s.errors import UsageError
from s2s.pipeline import training
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s.training.distributed import torchrun
from tests.places import ROOT

INTERFACES = {"lo": "127.0.0.1", "eth0": "10.0.0.5", "docker0": "172.17.0.1"}
NAME = "GLOO_SOCKET_IFNAME"


def chosen(
    patch: pytest.MonkeyPatch, routes: dict[str, str], interfaces: dict[str, str] = INTERFACES
) -> str | None:
    """The interface for a machine whose packets to an address come from another one."""
    patch.setenv("WORLD_SIZE", "4")
    patch.setenv("LOCAL_WORLD_SIZE", "2")
    patch.setenv("MASTER_ADDR", "first")
    patch.setenv("MASTER_PORT", "29500")
    patch.setenv(NAME, "")
    listed = {
        name: [SimpleNamespace(family=socket.AF_INET, address=address)]
        for name, address in interfaces.items()
    }
    patch.setattr(torchrun, "psutil", SimpleNamespace(net_if_addrs=lambda: listed))
    patch.setattr(torchrun, "_address_towards", lambda target: routes.get(target[0]))
    torchrun._choose_network()
    return torchrun.os.environ[NAME] or None


def test_gloo_listens_towards_the_first_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, {"first": "10.0.0.5"}) == "eth0"


def test_on_the_first_host_whose_name_is_a_loopback_the_default_route_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    routes = {"first": "127.0.0.1", torchrun.ELSEWHERE[0]: "10.0.0.5"}
    assert chosen(monkeypatch, routes) == "eth0"


def test_without_a_default_route_the_only_network_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, {"first": "127.0.0.1"}) is None  # there are two
    one = {"lo": "127.0.0.1", "eth0": "10.0.0.5"}
    assert chosen(monkeypatch, {"first": "127.0.0.1"}, one) == "eth0"


def test_a_network_that_is_named_stays_and_one_machine_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen(monkeypatch, {"first": "10.0.0.5"}) == "eth0"
    monkeypatch.setenv(NAME, "ib0")
    torchrun._choose_network()
    assert torchrun.os.environ[NAME] == "ib0"
    monkeypatch.setenv(NAME, "")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    torchrun._choose_network()
    assert torchrun.os.environ[NAME] == ""


def test_the_address_towards_this_machine_is_its_own() -> None:
    assert torchrun._address_towards(("127.0.0.1", 9)) == "127.0.0.1"
    assert torchrun._address_towards(("no.such.name.invalid", 9)) is None


def test_a_shared_folder_that_appears_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(ROOT / "recipes" / "quickstart.yaml")
    run = Run.create(recipe, tmp_path / "mounted")
    digest = run.digest()
    shared = tmp_path / "shared"
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            shared.symlink_to(tmp_path / "mounted")

    clock = SimpleNamespace(monotonic=lambda: float(len(waits)), sleep=sleep)
    monkeypatch.setattr(training, "time", clock)
    assert training._shared_run(shared / "quickstart", digest) == Run(shared / "quickstart")
    assert len(waits) == 3
    # Another state of the folder is not the one that rank 0 has prepared.
    (run.folder / "checkpoints.json").write_text("{}")
    with pytest.raises(UsageError, match="do all machines see the same folder"):
        training._shared_run(shared / "quickstart", digest)
    assert len(waits) > training.APPEARS

"""Several hosts, as far as one can stand for them: `make test-hosts`.

    sudo python tests/hosts.py [--hosts 2 4] [--only NAME ...]

Each host is a network namespace of Linux with a name and an address of its own, joined by a bridge;
as on many systems, a host's own name resolves to 127.0.1.1 there. torchrun starts a process on
each:

- same: 2 and 4 hosts train the model of one process, at the same size of an update
- killed: a host loses its processes; the others end, and the same command resumes
- unplugged: a host loses its network; the others end within the stated time
- late: a shared folder appears on one host only after a while
- clocks: the hosts' clocks differ, by an hour (two hosts) to a year (four)
- translate: a host that translates loses its processes; the same command again completes the file

It needs root, `ip` and `nsenter`.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.torture.example import write_project  # noqa: E402

NETWORK = "10.213.7"
PORT = 29517
LIMIT = 600.0
"""Seconds after which a scenario hangs."""

RECIPE_CHANGES = (
    (
        "dropout: {embedding: 0.2, encoder: 0.2, decoder: 0.2, readout: 0.2}",
        "dropout: {embedding: 0.0, encoder: 0.0, decoder: 0.0, readout: 0.0}",
    ),
    ("  patience: 10\n", "  patience: 10\n  save_minutes: 0.000001\n"),
)
"""Masks of dropout depend on the number of processes."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Host:
    """A network namespace."""

    number: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"s2s-host-{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number + 1}"

    def start(self, command: Sequence[str], folder: Path, **environment: str) -> None:
        """Start a command there, in a session of its own."""
        self.processes.append(
            subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c"),
                    *(f'hostname {self.name}; exec "$@"', "sh", *command),
                ],
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )

    def kill(self) -> None:
        """Lose all processes at once."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def unplug(self) -> None:
        """Lose the network; connections are not closed."""
        ip("link", "set", f"s2sv{self.number}", "down")

    def plug(self) -> None:
        ip("link", "set", f"s2sv{self.number}", "up")


@contextmanager
def network(count: int) -> Iterator[list[Host]]:
    """Hosts on a bridge, gone at the end."""
    hosts = [Host(number) for number in range(count)]
    settings = [Path("/etc/netns") / host.name for host in hosts]
    try:
        ip("link", "add", "s2sbr", "type", "bridge")
        ip("link", "set", "s2sbr", "up")
        for host, place in zip(hosts, settings, strict=True):
            place.mkdir(parents=True)
            others = [f"{other.address} {other.name}" for other in hosts if other is not host]
            own = ["127.0.0.1 localhost", f"127.0.1.1 {host.name}"]
            (place / "hosts").write_text("\n".join([*own, *others]) + "\n")
            ip("netns", "add", host.name)
            inside = f"s2se{host.number}"
            ip("link", "add", f"s2sv{host.number}", "type", "veth", "peer", "name", inside)
            ip("link", "set", inside, "netns", host.name)
            ip("link", "set", f"s2sv{host.number}", "master", "s2sbr")
            host.plug()
            ip("-n", host.name, "link", "set", "lo", "up")
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", inside)
            ip("-n", host.name, "link", "set", inside, "up")
        yield hosts
    finally:
        for host, place in zip(hosts, settings, strict=True):
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)
            shutil.rmtree(place, ignore_errors=True)
        subprocess.run(["ip", "link", "del", "s2sbr"], check=False, capture_output=True)


def torchrun(hosts: Sequence[Host], *extra: str) -> list[str]:
    """The documented command."""
    return [*launcher(hosts), "train", "--device", "cpu", *extra]


def launcher(hosts: Sequence[Host]) -> list[str]:
    """The beginning of a command on several hosts."""
    endpoint = f"{hosts[0].name}:{PORT}"
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", str(len(hosts))),
        *("--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint),
        *("--no-python", sys.executable, "-c", "from s2s_cli.main import main; main()"),
    ]


def train(hosts: Sequence[Host], folder: Path, *extra: str) -> None:
    """Start a training on all hosts."""
    for host in hosts:
        host.start(torchrun(hosts, *extra), folder)


def ends(hosts: Sequence[Host], limit: float = LIMIT) -> list[tuple[int, str, float]]:
    """Status, output and seconds of what was started last on each host."""
    began = time.monotonic()
    found = []
    for host in hosts:
        left = max(1.0, limit - (time.monotonic() - began))
        process = host.processes[-1]
        try:
            output, _ = process.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            host.kill()
            output, _ = process.communicate()
            output += "\nKILLED: it did not end"
        found.append((process.returncode, output, time.monotonic() - began))
    return found


def project(scratch: Path, name: str, epochs: int = 2) -> Path:
    folder = scratch / name
    write_project(folder)
    recipe = folder / "recipe.yaml"
    text = recipe.read_text().replace("epochs: 4", f"epochs: {epochs}")
    for old, new in RECIPE_CHANGES:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return folder


def weights(folder: Path) -> dict[str, object]:
    from s2s.run.directory import Run

    return dict(Run.open(folder / "runs/spell").read_weights("last"))


def difference(one: dict[str, object], other: dict[str, object]) -> float:
    """The largest difference of two models' weights."""
    import torch

    found = 0.0
    for name, value in one.items():
        against = other[name]
        assert isinstance(value, torch.Tensor)
        assert isinstance(against, torch.Tensor)
        found = max(found, float((value - against).abs().max()))
    return found


def alone(scratch: Path, name: str, epochs: int = 2) -> Path:
    """The same training by one process on one host."""
    folder = project(scratch, name, epochs)
    command = [sys.executable, "-c", "from s2s_cli.main import main; main()", "train"]
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return folder


def same(count: int, scratch: Path) -> str:
    """Hosts train the model of one process."""
    return f"{count} hosts: {as_alone(count, scratch, {})}"


def as_alone(count: int, scratch: Path, ahead: Mapping[int, int]) -> str:
    """Train on hosts whose clocks are ahead by so many seconds, and compare with one process."""
    expected = weights(alone(scratch, f"alone-{count}"))
    folder = project(scratch, f"together-{count}")
    with network(count) as hosts:
        for host in hosts:
            place = scratch / f"clock-{host.number}"
            place.mkdir()
            seconds = ahead.get(host.number, 0)
            (place / "sitecustomize.py").write_text(
                f"import time\n_now, _ns = time.time, time.time_ns\n"
                f"time.time = lambda: _now() + {seconds}\n"
                f"time.time_ns = lambda: _ns() + {seconds} * 10**9\n"
            )
            path = os.pathsep.join((str(place), os.environ.get("PYTHONPATH", "")))
            host.start(torchrun(hosts), folder, PYTHONPATH=path)
        found = ends(hosts)
    check(all(status == 0 for status, _, _ in found), found)
    apart = difference(expected, weights(folder))
    check(apart < 1e-3, f"weights differ by {apart}")
    return f"weights differ by at most {apart:.1e} from those of one process"


def killed(count: int, scratch: Path) -> str:
    """A host loses its processes: the others end, and the same command resumes."""
    expected = weights(alone(scratch, f"alone-killed-{count}", epochs=12))
    folder = project(scratch, f"killed-{count}", epochs=12)
    with network(count) as hosts:
        train(hosts, folder)
        wait_for_update(folder, 20)
        hosts[-1].kill()
        found = ends(hosts[:-1], limit=120.0)
        check(all(status != 0 for status, _, _ in found), found)
        seconds = max(seconds for _, _, seconds in found)
        said = [line for line in found[0][1].splitlines() if line.startswith("s2s: error")]
        check(len(said) == 1 and "resumes from the last checkpoint" in said[0], found)
        ends(hosts[-1:])
        train(hosts, folder)
        again = ends(hosts)
        check(all(status == 0 for status, _, _ in again), again)
    apart = difference(expected, weights(folder))
    check(apart < 1e-2, f"weights differ by {apart}")
    return (
        f"{count} hosts, one killed: the others ended after {seconds:.0f} s; resumed, weights "
        f"differ by at most {apart:.1e} from those of one undisturbed process"
    )


def unplugged(count: int, scratch: Path) -> str:
    """A host loses its network, closing no connection."""
    folder = project(scratch, f"unplugged-{count}", epochs=100_000)
    with network(count) as hosts:
        train(hosts, folder)
        wait_for_update(folder, 20)
        hosts[-1].unplug()
        found = ends(hosts[:-1], limit=900.0)
        check(all(status != 0 and "KILLED" not in said for status, said, _ in found), found)
        seconds = max(seconds for _, _, seconds in found)
        # The one without a network ends too, but its torchrun asks the others for long.
        hosts[-1].kill()
        ends(hosts[-1:])
    return f"{count} hosts, one unplugged: the others ended after {seconds:.0f} s"


def late(count: int, scratch: Path) -> str:
    """The folder that hosts share appears on one of them after a while."""
    folder = project(scratch, f"late-{count}")
    other = scratch / f"late-other-{count}"
    shutil.copytree(folder, other)
    shared = other / "runs"
    with network(count) as hosts:
        for host in hosts:
            host.start(torchrun(hosts), other if host is hosts[-1] else folder)
        time.sleep(30.0)
        shared.symlink_to(folder / "runs")
        found = ends(hosts)
    check(all(status == 0 for status, _, _ in found), found)
    return f"{count} hosts: a folder that appears late is waited for"


def clocks(count: int, scratch: Path) -> str:
    """The hosts' clocks differ."""
    ahead = dict(zip(range(count), (0, 3600, -86_400, 31_536_000), strict=False))
    said = as_alone(count, scratch, ahead)
    return f"{count} hosts whose clocks are ahead by {tuple(ahead.values())} s: {said}"


def translate(count: int, scratch: Path) -> str:
    """A host that translates loses its processes: the same command completes the file."""
    folder = alone(scratch, f"translate-{count}")
    lines = (folder / "train.x").read_text() * 150
    (folder / "big.x").write_text(lines)
    arguments = ["translate", "--device", "cpu", "--input", "big.x"]
    command = [sys.executable, "-c", "from s2s_cli.main import main; main()", *arguments]
    subprocess.run(
        [*command, "--output", "whole.y"], cwd=folder, check=True, capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    together = [*arguments, "--output", "big.y", "--resume"]
    with network(count) as hosts:
        for host in hosts:
            host.start([*launcher(hosts), *together], folder)
        end = time.monotonic() + LIMIT
        while not list(folder.glob("big.y.parts/*/*.part")):
            check(time.monotonic() < end, "no part")
            time.sleep(0.1)
        hosts[-1].kill()
        found = ends(hosts)
        left = len(list(folder.glob("big.y.parts/*/*.part")))
        for host in hosts:
            host.start([*launcher(hosts), *together], folder)
        again = ends(hosts)
        check(all(status == 0 for status, _, _ in again), again)
    check((folder / "big.y").read_bytes() == (folder / "whole.y").read_bytes(), "bytes differ")
    check(not (folder / "big.y.parts").exists(), "parts are left")
    return (
        f"{count} hosts, one killed: {[status for status, _, _ in found]}, {left} parts left "
        "(none: the others completed it); the same command again ends with the file of one process"
    )


def wait_for_update(folder: Path, update: int) -> None:
    """Until a checkpoint after `update` stands."""
    from s2s.run.checkpoints import Checkpoints

    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        place = folder / "runs/spell"
        if place.is_dir() and (Checkpoints(place).index().last or 0) > update:
            return
        time.sleep(0.2)
    raise AssertionError("no checkpoint")


def check(is_so: bool, found: object) -> None:
    if not is_so:
        raise AssertionError(found)


SCENARIOS: dict[str, Callable[[int, Path], str]] = {
    "same": same,
    "killed": killed,
    "unplugged": unplugged,
    "late": late,
    "clocks": clocks,
    "translate": translate,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("skipped: network namespaces need root and `ip`")
        return 0
    failed = 0
    for name in options.only:
        for count in options.hosts:
            with tempfile.TemporaryDirectory(prefix="hosts-") as scratch:
                began = time.monotonic()
                try:
                    said = SCENARIOS[name](count, Path(scratch))
                except AssertionError as error:
                    failed += 1
                    said = f"FAILED {error}".replace("\\n", "\n")
                print(f"{name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

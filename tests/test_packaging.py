"""What is passed on: the source archive, the page of the package, the container, the workflow."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from s2s.version import __version__
from tests.check_wheel import check_files, expected_files, wheel_files
from tests.house import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WHEEL = f"{PROJECT['name'].replace('-', '_')}-{__version__}-py3-none-any.whl"

LEFT_BEHIND = (
    *("cli/__pycache__/main.cpython-311.pyc", "tests/__pycache__/a.txt", "runs/one/recipe.yaml"),
    *(".venv/pyvenv.cfg", "demo/recipe.yaml", "docs/.ipynb_checkpoints/notebook.ipynb"),
    *("build/lib/s2s/gone.py", "dist/s2s.whl", "recipes/.ruff_cache/a", "site/index.html"),
)
"""What commands leave in a checkout, and git ignores."""


NEW = ("--others", "--exclude-standard")
"""Files that are not ignored, for `git ls-files`."""


def in_git(*options: str) -> set[str]:
    """The files that git has; with `NEW` also those that it would add."""
    told = ["git", "ls-files", "-z", "--cached", *options]
    listed = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of an archive, built from a copy: setuptools adds what an earlier build listed in
    its `egg-info`, and writes there."""
    if find_spec("build") is None or shutil.which("git") is None:
        pytest.skip("needs build and git")
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    copy = tmp_path_factory.mktemp("copy")
    for name in in_git(*NEW):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for name in LEFT_BEHIND:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("left behind")
    told = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", "out", "."]
    done = subprocess.run(told, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (copy / "out").iterdir()
    with tarfile.open(archive) as opened:
        return {
            Path(*Path(member.name).parts[1:]).as_posix() for member in opened if member.isfile()
        }


def test_the_archive_has_what_git_has(archived: set[str]) -> None:
    assert in_git() - archived == set()


def test_the_archive_has_nothing_else(archived: set[str]) -> None:
    added = archived - in_git(*NEW)
    assert {"PKG-INFO", "setup.cfg"} <= added
    folder = f"{PROJECT['name'].replace('-', '_')}.egg-info/"
    others = {name for name in added if not name.startswith(folder)}
    assert others == {"PKG-INFO", "setup.cfg"}


def test_the_page_of_the_package_stands_alone() -> None:
    """Its links would lead from the page of an index, where the files of the checkout are not."""
    page = (ROOT / PROJECT["readme"]["file"]).read_text(encoding="utf-8")
    links = [*re.findall(r"\]\(([^)]*)\)", page), *re.findall(r"(?:src|href)=\"([^\"]*)", page)]
    assert [link for link in links if not link.startswith("https://")] == []
    assert f"`{PROJECT['name']}`" in page
    named = set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.M))))
    assert named == set(PROJECT["optional-dependencies"]) - {"dev", "browser", "docs"}


def test_wheels_and_extras_in_the_docs_exist() -> None:
    told = 0
    for page in [ROOT / "README.md", ROOT / "Containerfile", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        wheels = set(re.findall(r"[\w.-]+\.whl\b", text))
        assert wheels <= {WHEEL}, page
        extras = re.findall(r"(?:pip install|\.whl|'\.|CHECKOUT)[^\n\]]*?\[([a-z,]+)\]", text)
        names = {name for extra in extras for name in extra.split(",")}
        assert names <= set(PROJECT["optional-dependencies"]), page
        told += len(wheels) + len(names)
    assert told > 5


def copied() -> list[tuple[str, list[str]]]:
    """What each stage of the Containerfile copies from the checkout."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    found: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("FROM "):
            found.append((line.split()[-1], []))
        elif line.startswith("COPY ") and "--from" not in line:
            found[-1][1].extend(line.split()[1:-1])
    return found


def test_the_container_gets_what_it_copies() -> None:
    ignoring = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in ignoring if line.startswith("!")}
    assert "*" in ignoring
    names = [name for _, stage in copied() for name in stage]
    assert set(names) == kept
    assert all((ROOT / name).exists() for name in names)


def test_the_container_builds_the_wheel_from_all_of_it(tmp_path: Path) -> None:
    """The wheel of the files that the first stage copies, as setuptools names them."""
    if find_spec("build") is None:
        pytest.skip("needs build")
    (stage, names), *_ = copied()
    assert stage == "wheel"
    for name in names:
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, place)
    told = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out", "."]
    done = subprocess.run(told, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "out").iterdir()
    assert wheel.name == WHEEL
    assert wheel_files(wheel) == expected_files()


def test_the_wheel_check_finds_what_is_missing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as opened:
        for name in expected_files() - {"s2s/py.typed"}:
            opened.writestr(name, "")
        opened.writestr(f"s2s_lstm-{__version__}.dist-info/WHEEL", "")
    with pytest.raises(SystemExit, match=r"missing \['s2s/py.typed'\], not of the package \[\]"):
        check_files(tmp_path / WHEEL)


def test_actions_of_the_workflow_are_pinned() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    actions = re.findall(r"uses: (.*)", text)
    assert actions
    assert [
        one for one in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", one)
    ] == []


def test_targets_of_the_workflow_and_of_ci_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    told = set(re.findall(r"run: make ([a-z-]+)$", workflow, re.M))
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^for target in (.*); do", script, re.M)
    assert {"demo", "check", "test", "package"} <= told
    assert told | set(listed.split()) <= targets

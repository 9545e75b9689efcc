"""Installs the wheel of a folder into a fresh environment and uses it, far from the checkout.

    .venv/bin/python tests/check_wheel.py dist

What s2s depends on is taken from the environment of this Python, so that nothing is downloaded.
`--dependencies` installs it with pip, in the versions of constraints.txt.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent.parent


def expected_files() -> set[str]:
    """The files of the package, as a wheel names them."""
    folders = {"s2s": "s2s", "cli": "s2s_cli", "recipes": "s2s/recipes"}
    return {
        f"{installed}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, installed in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def wheel_files(wheel: Path) -> set[str]:
    """The files of a wheel, but for its metadata."""
    with ZipFile(wheel) as opened:
        return {name for name in opened.namelist() if ".dist-info/" not in name}


def check_files(wheel: Path) -> None:
    """Raises SystemExit where the wheel lacks a file of the package, or has others."""
    found = wheel_files(wheel)
    if found != expected_files():
        missing, added = sorted(expected_files() - found), sorted(found - expected_files())
        raise SystemExit(f"{wheel}: missing {missing}, not of the package {added}")


def environment(folder: Path, wheel: Path, *, dependencies: bool) -> Path:
    """A new environment that has the wheel; the folder of its programs."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    install = [programs / "python", "-m", "pip", "install", "--quiet"]
    install += ["--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, *([] if dependencies else ["--no-deps"]), wheel], check=True)
    if not dependencies:
        # A line of a .pth file adds a folder and not the folder's own .pth files, such as that of
        # an editable install of s2s.
        purelib = sysconfig.get_path("purelib", vars={"base": str(folder)})
        paths = [place for place in sys.path if Path(place).name.endswith("-packages")]
        Path(purelib, "borrowed.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    return programs


def check_commands(programs: Path, here: Path) -> None:
    """Raises CalledProcessError or SystemExit where a command does not work in `here`."""

    def output(*call: str) -> str:
        settings = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        told = [programs / call[0], *call[1:]]
        ran = subprocess.run(
            told, cwd=here, env=settings, check=True, stdout=subprocess.PIPE, encoding="utf-8"
        )
        return ran.stdout

    where = "import s2s, s2s_cli; print(s2s.__file__); print(s2s_cli.__file__)"
    for place in output("python", "-c", where).splitlines():
        if programs.parent.resolve() not in Path(place).resolve().parents:
            raise SystemExit(f"{place}: not from the wheel")
    version = output("s2s", "--version").strip()
    recipes = output("s2s", "recipes", "list")
    for path in (ROOT / "recipes").glob("*.yaml"):
        if path.stem not in recipes:
            raise SystemExit(f"s2s recipes list: no {path.stem}")
    output("s2s", "recipes", "copy", "quickstart")
    if (here / "recipe.yaml").read_bytes() != (ROOT / "recipes" / "quickstart.yaml").read_bytes():
        raise SystemExit("s2s recipes copy quickstart: not the recipe of the checkout")
    small = ["--set", "data.pairs=200", "--set", "data.held_out=30", "--set", "train.epochs=1"]
    output("s2s", "prep", "--quiet", *small, "--set", "tokenizer.target.vocabulary=120")
    sys.stdout.write(f"{version}: commands, recipes and preparation work\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dependencies", action="store_true")
    options = parser.parse_args()
    wheels = sorted(options.folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"{options.folder}: expected one wheel, found {len(wheels)}")
    check_files(wheels[0])
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder, "here")
        here.mkdir()
        wheel = wheels[0].resolve()
        programs = environment(Path(folder, "v"), wheel, dependencies=options.dependencies)
        check_commands(programs, here)


if __name__ == "__main__":
    main()

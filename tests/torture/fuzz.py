"""Damaged and hostile input: every outcome is the work done or one clear line, in bounded time and
memory."""

import gzip
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from s2s.files import remove
from tests.places import ROOT
from tests.torture.commands import Work, commands
from tests.torture.counts import Counts
from tests.torture.example import RUN
from tests.torture.fuzz_files import archives, tables, wandb
from tests.torture.mutations import changed_text, damaged, flipped, odd_line, odd_recipe
from tests.torture.world import BEGUN, RESUMED, SWEEP

BATCH = 8
"""Inputs that one process gets, one after the other."""

FEW = 2
"""As many of a kind whose commands train."""

LINES = 40
"""Lines of one input of `translate`."""

TRANSLATE = ("translate", "--input", "few", "--output", "few.out")
COLUMNS = ("tried", "refused in one line")


class Kind(NamedTuple):
    """A kind of input."""

    make: Callable[[int, Path], Work]
    """The work with the input of a seed, in a folder of `world`."""
    inputs: int = 1
    """Inputs of one work."""
    batch: int = BATCH
    """Works at a time."""


def fuzz(name: str, seeds: range, folder: Path, counts: Counts) -> None:
    """Try the inputs of these seeds."""
    kind = KINDS[name]
    works = [kind.make(seed, folder) for seed in seeds]
    for seed, outcome in zip(seeds, commands(works, folder), strict=True):
        counts.numbers["tried"] += kind.inputs
        counts.numbers["refused in one line"] += kind.inputs * (outcome.status != 0)
        if not outcome.is_clear:
            counts.failures.append(f"{name}, seed {seed}: {outcome}")


def _recipe(seed: int, folder: Path) -> Work:
    """A shipped recipe with changed lines is checked."""
    draw = random.Random(f"recipe {seed}")
    text = draw.choice(sorted((ROOT / "recipes").glob("*.yaml"))).read_text(encoding="utf-8")
    content = odd_recipe(text, draw) if draw.random() < 0.8 else damaged(text.encode(), draw)
    return _with_file(folder / "odd.yaml", content, None, ("check", "odd.yaml", "--no-data"))


def _lines(seed: int, folder: Path) -> Work:
    """Lines that no model has seen are translated: as many come out."""
    draw = random.Random(f"lines {seed}")
    content = b"".join(odd_line(draw) + b"\n" for _ in range(LINES))
    search = draw.choice((("greedy",), ("beam", "--beam", "3"), ("sample", "--seed", "1")))
    arguments = ("translate", "--input", "odd", "--output", "odd.out", "--search", *search)
    arguments += ("--run", "spell")
    work = _with_file(folder / "odd", content, None, arguments)

    def wrong() -> str:
        written = (folder / "odd.out").read_bytes().count(b"\n")
        return "" if written == LINES else f"{written} lines for {LINES}"

    return work._replace(wrong=wrong)


def _file(pattern: str, *arguments: str) -> Callable[[int, Path], Work]:
    """Damage to one file of a run, which a command then reads."""

    def make(seed: int, folder: Path) -> Work:
        draw = random.Random(f"{pattern} {seed}")
        paths = sorted(path for path in folder.glob(pattern) if path.is_file())
        path = draw.choice(paths)
        content = path.read_bytes()
        return _with_file(path, damaged(content, draw), content, arguments)

    return make


def _store(seed: int, folder: Path) -> Work:
    """Damage to prepared data, which training then reads."""
    arguments = ("train", "--set", "name=stored", "--set", "train.max_updates=3")
    return _in_copy(_file("stored/data/*.arrow", *arguments)(seed, folder), folder, "stored")


def _state(seed: int, folder: Path) -> Work:
    """Damage to what training resumes from."""
    arguments = ("train", *BEGUN, "--set", "train.epochs=2")
    pattern = "begun/checkpoints/*/*"
    if seed % 2:
        pattern = "begun/*.json*"
    return _in_copy(_file(pattern, *arguments)(seed, folder), folder, "begun")


def _in_copy(work: Work, folder: Path, kept: str, name: str = "") -> Work:
    """The work on a fresh copy of the run that is kept in the folder `kept`."""
    run = folder / RUN.parent / (name or kept)

    def renew() -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder / kept, run)

    def before() -> None:
        work.before()
        renew()

    def after() -> None:
        work.after()
        renew()

    return work._replace(before=before, after=after)


def _tracked(seed: int, folder: Path) -> Work:
    """Damage to the ids of trackers, one of which stands in for a package that needs a server."""
    arguments = ("train", *BEGUN, "--set", "train.epochs=2", "--set", "train.log_to=[wandb]")
    work = _in_copy(_file("begun/trackers.json", *arguments)(seed, folder), folder, "begun")

    def before() -> None:
        work.before()
        sys.modules["wandb"] = wandb()

    return work._replace(before=before)


def _sweep(seed: int, folder: Path) -> Work:
    """Damage to the values that a sweep has chosen, or to its finished run; it then goes on."""
    runs = folder / RUN.parent
    pattern = ("sweep/*.sweep.json", "sweep/*seed-1/*.json")[seed % 4 == 3]
    work = _file(pattern, *SWEEP)(seed, folder)

    def clear() -> None:
        for path in (*runs.glob("*seed-[12]"), *runs.glob("*.sweep.json")):
            remove(path)

    def before() -> None:
        work.before()
        clear()
        shutil.copytree(folder / "sweep", runs, dirs_exist_ok=True)

    def after() -> None:
        work.after()
        clear()

    return work._replace(before=before, after=after)


TABLES = ("tsv", "csv", "jsonl", "parquet")


def _table(seed: int, folder: Path) -> Work:
    """A damaged table, or parallel text, that is prepared; text is compressed half of the time."""
    draw = random.Random(f"tables {seed}")
    kind = draw.choice((*TABLES, "txt"))
    content = tables()[kind]
    is_text = kind != "parquet"
    content = (changed_text if is_text else flipped)(content, [content], draw)
    end = ".gz" if is_text and draw.random() < 0.5 else ""
    if end:
        content = gzip.compress(content, mtime=0)
        content = damaged(content, draw) if draw.random() < 0.3 else content
    name = f"odd.{kind}{end}"
    splits = f"{{table: {name}}}" if kind != "txt" else f"{{source: {name}, target: {name}}}"
    columns = ("--set", "data.columns={source: source, target: target}") * (kind != "txt")
    arguments = ("prep", "--set", f"data.train={splits}", *columns, "--set", "name=odd")
    arguments += ("--set", "data.validation=null", "--set", "data.test=null")
    arguments += ("--set", f"data.max_damaged={draw.choice((0.0, 0.1, 1.0))}")
    work = _with_file(folder / name, content, None, arguments)

    def after() -> None:
        work.after()
        remove(folder / RUN.parent / "odd")

    return work._replace(after=after)


def _archive(seed: int, folder: Path) -> Work:
    """A damaged archive of features, which is prepared with its table."""
    draw = random.Random(f"archives {seed}")
    kind = draw.choice(("npz", "safetensors", "arrow", "parquet"))
    content = flipped(archives()[kind], [b"x"], draw)
    file = f"data.image_features=[{{path: odd.{kind}, column: image}}]"
    arguments = ("prep", "captions.yaml", "--set", file, "--set", "name=odd")
    work = _with_file(folder / f"odd.{kind}", content, None, arguments)

    def after() -> None:
        work.after()
        remove(folder / RUN.parent / "odd")

    return work._replace(after=after)


def _defaults(seed: int, folder: Path) -> Work:
    """Damage to the values that were chosen for a recipe, which is then trained further."""
    arguments = ("train", "captions.yaml")
    return _in_copy(
        _file("chosen/defaults.json", *arguments)(seed, folder), folder, "chosen", "cap"
    )


def _tensors(seed: int, folder: Path) -> Work:
    """A tensor of the state that training resumes from is missing, or is another one."""
    draw = random.Random(f"tensors {seed}")
    path = draw.choice(sorted(folder.glob("begun/checkpoints/*/*.safetensors")))
    content = path.read_bytes()
    work = _state(0, folder)
    before = work.before

    def damage() -> None:
        before()
        copy = folder / "runs" / path.relative_to(folder)
        copy.write_bytes(_with_other_tensor(content, draw))

    return work._replace(before=damage)


def _with_other_tensor(content: bytes, draw: random.Random) -> bytes:
    import numpy
    from safetensors.numpy import load, save

    length = int.from_bytes(content[:8], "little")
    about = json.loads(content[8 : 8 + length]).get("__metadata__")
    tensors = load(content)
    name = draw.choice(sorted(tensors))
    match draw.randrange(5):
        case 0:
            del tensors[name]
        case 1:
            tensors[name] = tensors[name].astype(numpy.int64)
        case 2:
            tensors[name] = tensors[name][:-1] if tensors[name].ndim else tensors[name]
        case 3:
            tensors["another"] = tensors[name]
        case _:
            tensors[name] = numpy.full_like(tensors[name], numpy.nan)
    return bytes(save(tensors, about))


def _note(seed: int, folder: Path) -> Work:
    """Damage to the note of an unfinished output, which is then resumed: refused, or the end is
    that of an undisturbed command."""
    work = _file("noted.resume", *RESUMED)(seed, folder)

    def before() -> None:
        work.before()
        for name in ("noted", "noted.resume"):
            shutil.copy(folder / name, folder / name.replace("noted", "half"))

    def wrong() -> str:
        is_whole = (folder / "half").read_bytes() == (folder / "whole").read_bytes()
        return "" if is_whole else "another output than in one go"

    return work._replace(before=before, wrong=wrong)


def _with_file(
    path: Path, content: bytes, restored: bytes | None, arguments: tuple[str, ...]
) -> Work:
    """Work that meets a file with this content; afterwards the file is restored or removed."""

    def after() -> None:
        if restored is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(restored)

    return Work(arguments, lambda: _write(path, content), after)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


KINDS = {
    "recipes": Kind(_recipe),
    "lines": Kind(_lines, LINES),
    "weights": Kind(_file("runs/spell/checkpoints/*/weights*", *TRANSLATE, "--run", "spell")),
    "tokenizers": Kind(_file("runs/pieces/tokenizer/**/*", *TRANSLATE, "--run", "pieces")),
    "vocabularies": Kind(_file("runs/spell/tokenizer/**/*", *TRANSLATE, "--run", "spell")),
    "recipes of runs": Kind(_file("runs/spell/recipe.yaml", *TRANSLATE, "--run", "spell")),
    "indexes": Kind(_file("runs/spell/checkpoints.json", *TRANSLATE, "--run", "spell")),
    "events": Kind(_file("runs/spell/metrics.jsonl", "runs", "--json")),
    "environments": Kind(_file("runs/spell/environment.json", *TRANSLATE, "--run", "spell")),
    "logs": Kind(_file("runs/spell/metrics.jsonl", "report", "spell", "--limit", "0")),
    "reports": Kind(_file("runs/stored/data/report.json", "report", "stored", "--limit", "0")),
    "training states": Kind(_state, batch=FEW),
    "tensors": Kind(_tensors, batch=FEW),
    "notes": Kind(_note),
    "chosen values": Kind(_defaults),
    "trackers": Kind(_tracked, batch=FEW),
    "sweeps": Kind(_sweep, batch=FEW),
    "tables": Kind(_table),
    "feature archives": Kind(_archive),
    "shortlists": Kind(
        _file("runs/spell/shortlist.*", *TRANSLATE, "--run", "spell", "--shortlist", "4")
    ),
    "stores": Kind(_store, batch=FEW),
    "model files": Kind(_file("spell.s2s", *TRANSLATE, "--run", "spell.s2s")),
    "features": Kind(
        _file("f.*", "translate", "--run", "cap", "--input", "ids", "--output", "ids.out")
    ),
}
"""Kinds of input."""

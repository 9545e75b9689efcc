"""Damaged and hostile input: every outcome is the work done or one clear line, in bounded time and
memory."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.places import ROOT
from tests.torture.commands import Work, command, commands
from tests.torture.counts import Counts
from tests.torture.example import RUN, write_captions, write_project
from tests.torture.mutations import damaged, odd_line, odd_recipe

BATCH = 8
"""Inputs that one process gets, one after the other."""

LINES = 40
"""Lines of one input of `translate`."""

TRANSLATE = ("translate", "--input", "few", "--output", "few.out")

BEGUN = ("--set", "name=begun", "--set", "train.schedule={kind: inverse_sqrt, warmup: 20}")
"""What a run trains with that goes on with more epochs."""


COLUMNS = ("tried", "refused in one line")


class Kind(NamedTuple):
    """A kind of input."""

    make: Callable[[int, Path], Work]
    """The work with the input of a seed, in a folder of `world`."""
    inputs: int = 1
    """Inputs of one work."""


def world(scratch: Path) -> Path:
    """A folder with trained runs, a model file and features, for all kinds."""
    folder = scratch / "fuzzed"
    write_project(folder)
    write_captions(folder)
    (folder / "few").write_text("0 1 2\n\n3 4 5 6 7\n")
    (folder / "ids").write_text("0.jpg\n1.jpg\nnone.jpg\n")
    pieces = "tokenizer={kind: unigram, vocabulary: 40}"
    for arguments in (
        ("prep", "--set", "name=stored"),
        ("train", "--set", "train.epochs=1"),
        ("train", "--set", "train.epochs=1", "--set", "name=pieces", "--set", pieces),
        ("train", "captions.yaml"),
        ("export", "spell", "--output", "spell.s2s"),
        ("shortlist", "--run", "spell"),
        ("train", *BEGUN, "--set", "train.epochs=1"),
    ):
        outcome = command(arguments, folder)
        if outcome.status != 0:
            raise SystemExit(f"{arguments} fails without being disturbed: {outcome}")
    shutil.copytree(folder / RUN.parent / "stored", folder / "stored")
    shutil.copytree(folder / RUN.parent / "begun", folder / "begun")
    _write_note(folder)
    return folder


def _write_note(folder: Path) -> None:
    """A note as that of `translate --resume` beside an unfinished output."""
    from s2s.inference.resume import write_note

    write_note(folder / "noted", {"model": {"checkpoint": 3, "runs": ["spell"]}, "search": [1]})


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
    run = folder / "runs" / "stored"
    arguments = ("train", "--set", "name=stored", "--set", "train.max_updates=3")
    work = _file("stored/data/*.arrow", *arguments)(seed, folder)

    def before() -> None:
        work.before()
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder / "stored", run)

    return work._replace(before=before)


def _state(seed: int, folder: Path) -> Work:
    """Damage to what training resumes from."""
    run = folder / "runs" / "begun"
    arguments = ("train", *BEGUN, "--set", "train.epochs=2")
    pattern = "begun/checkpoints/*/*"
    if seed % 2:
        pattern = "begun/*.json*"
    work = _file(pattern, *arguments)(seed, folder)

    def before() -> None:
        work.before()
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(folder / "begun", run)

    return work._replace(before=before)


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
    """Damage to the note of an unfinished output, which is then resumed."""
    arguments = ("translate", "--input", "few", "--output", "half", "--resume", "--run", "spell")
    work = _file("noted.resume", *arguments)(seed, folder)

    def before() -> None:
        work.before()
        (folder / "half").write_bytes(b"")
        (folder / "noted.resume").replace(folder / "half.resume")

    return work._replace(before=before)


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
    "training states": Kind(_state),
    "tensors": Kind(_tensors),
    "notes": Kind(_note),
    "shortlists": Kind(
        _file("runs/spell/shortlist.*", *TRANSLATE, "--run", "spell", "--shortlist", "4")
    ),
    "stores": Kind(_store),
    "model files": Kind(_file("spell.s2s", *TRANSLATE, "--run", "spell.s2s")),
    "features": Kind(
        _file("f.*", "translate", "--run", "cap", "--input", "ids", "--output", "ids.out")
    ),
}
"""Kinds of input."""

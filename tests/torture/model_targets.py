"""Readers of tokenizers, tensors and model files."""

import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.torture.mutations import changed, changed_text, damaged, flipped
from tests.torture.target import Read, Target, always, files

TEXTS = ["0 1 2", "", " ä日本😀 null  eins", "\u2581\u2581 x" * 5, "ab" * 40, "\x00\x1b"]
"""What damaged tokenizers encode."""

TOKENIZER = Path("guided.tokenizer")

SIZES = (28, 280)
"""Vocabularies of subword models, without bytes and with all 256."""


# ------------------------------------------------------------------------------------ tokenizers


def _use(tokenizer: Any) -> None:
    """Whatever commands do with a tokenizer."""
    ids = tokenizer.encode(TEXTS)
    assert len(ids) == len(TEXTS)
    assert all(0 <= token < tokenizer.size for row in ids for token in row), "an id beyond its size"
    every = list(range(tokenizer.size))[:300]
    for text in tokenizer.decode([*ids, every]):
        assert "\n" not in text, "a line became two"
        text.encode()
    for row in ids:
        tokenizer.pieces(row)
    tokenizer.surfaces()
    tokenizer.spell([list(tokenizer.spellings())[:50]])
    tokenizer.unknown(TEXTS)
    for text in TEXTS:
        tokenizer.normalize(text)


def _read_tokenizer() -> None:
    from s2s.text.tokenizer_pair import load_tokenizer

    _use(load_tokenizer(TOKENIZER))


def _read_pair() -> None:
    from s2s.text.tokenizer_pair import load_tokenizers

    load_tokenizers(Path("runs/spell/tokenizer"))


def _read_subwords() -> None:
    from s2s.text.subword import Subwords

    subwords = Subwords.load(TOKENIZER)
    _use(subwords)
    for alpha in (0.1, 1.0):
        _use(subwords.sampling(alpha, (1, 2)))


def _vocabulary(kind: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        from s2s.text.vocabulary import VOCABULARY_FILE, Characters, Words

        made = {
            "character": [Characters(list("abc ä")), Characters(list("ab"), decompose=True)],
            "word": [Words(["null", "eins"]), Words(["V", "PST"], ";,")],
        }[kind]
        written = []
        for one in made:
            one.save(folder / TOKENIZER)
            written.append((folder / TOKENIZER / VOCABULARY_FILE).read_bytes())
        (folder / TOKENIZER / VOCABULARY_FILE).unlink()
        return written

    return seeds


def _subwords(kind: str) -> Callable[[Path], list[bytes]]:
    """Small models, with bytes and without. They are trained in a process of their own: training
    starts threads."""

    def seeds(folder: Path) -> list[bytes]:
        from tests.torture.commands import forked

        def train() -> int:
            from s2s.recipe.tokenizer import SubwordTokenizer
            from s2s.text.subword import SubwordTrainer

            lines = Path("train.y").read_text(encoding="utf-8").splitlines()
            for bytes_too, size in ((False, SIZES[0]), (True, SIZES[1])):
                recipe: Any = {"kind": kind, "vocabulary": size, "byte_fallback": bytes_too}
                trainer = SubwordTrainer(
                    SubwordTokenizer(**recipe, normalization="identity"), seed=1
                )
                trainer.add(lines)
                trainer.train().save(Path(f"{kind}{size}"))
            return 0

        outcome = forked(train, folder)
        if outcome.status != 0:
            raise SystemExit(f"no {kind} model: {outcome}")
        (folder / TOKENIZER).mkdir(exist_ok=True)
        return [(folder / f"{kind}{n}/sentencepiece.model").read_bytes() for n in SIZES]

    return seeds


def changed_pieces(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Changes of the pieces of a sentencepiece model: the message around them stays sound."""
    pieces = []
    place = 0
    while content[place : place + 1] == b"\x0a" and content[place + 1 : place + 2] < b"\x80":
        end = place + 2 + (content[place + 1] if place + 1 < len(content) else 0)
        pieces.append(content[place + 2 : end])
        place = end
    if len(pieces) < 5 or draw.random() < 0.2:
        return flipped(content, others, draw)
    for _ in range(draw.choice((1, 1, 2, 8))):
        number = draw.randrange(len(pieces))
        text, score, rest = _piece(pieces[number])
        match draw.randrange(6):
            case 0:
                text = draw.choice(
                    ("\u2581", "a", "\u2581a", "ab\u2581", "<0x41>", "日本")
                ).encode()
            case 1:
                score = struct.pack("<f", draw.choice(ODD_SCORES))
            case 2:
                rest = b"\x18" + bytes([draw.randrange(8)])  # its type
            case 3:
                text = damaged(text, draw)[:100]
            case 4:
                pieces.insert(draw.randrange(len(pieces)), pieces[number])
            case _:
                del pieces[number]
                continue
        made = b"\x0a" + bytes([len(text)]) + text + b"\x15" + score + rest
        pieces[number] = made if len(made) < 128 else pieces[number]
    return b"".join(b"\x0a" + bytes([len(one)]) + one for one in pieces) + content[place:]


ODD_SCORES = (0.0, -1.0, -7.0, 1e30, -1e30, 1e-40, float("nan"), float("inf"), float("-inf"), 0.5)


def _piece(message: bytes) -> tuple[bytes, bytes, bytes]:
    """The text, the score and the rest of a piece."""
    end = 2 + message[1] if len(message) > 1 else 2
    return message[2:end], message[end + 1 : end + 5].ljust(4, b"\0"), message[end + 5 :]


def _tags(folder: Path) -> list[bytes]:
    from s2s.text.vocabulary import Words

    Words(["null", "eins"]).save(folder / TOKENIZER)
    return [b'["<2en>", "<2de>"]\n']


# --------------------------------------------------------------------------------------- tensors


def changed_tensors(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Changes of a safetensors file; most are of its header, whose length is kept right."""
    if draw.random() < 0.3 or len(content) < 8:
        return changed(content, others, draw)
    length = int.from_bytes(content[:8], "little")
    header = damaged(content[8 : 8 + length], draw)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


CHECKPOINT = Path("runs/cap/checkpoints/1")


def _read_weights() -> None:
    from s2s.run.checkpoints import Checkpoints

    Checkpoints(Path("runs/cap")).weights("last")


@contextmanager
def _state_reader() -> Iterator[Read]:
    """What training resumes from: tensors of the optimizer, and the position."""
    from s2s.run.checkpoints import Checkpoints
    from s2s.run.directory import Run
    from s2s.training.state import Position

    checkpoints = Checkpoints(Run(Path("runs/cap")).folder)

    def read() -> None:
        state = checkpoints.training(1)
        assert state is not None
        Position.from_json(state.meta)

    yield read


def _small_state(folder: Path) -> list[bytes]:
    """A training state with its position and few tensors."""
    from safetensors.numpy import load, save

    content = (folder / CHECKPOINT / "training.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    about = json.loads(content[8 : 8 + length])["__metadata__"]
    tensors = load(content)
    few = {name: tensors[name] for name in sorted(tensors, key=lambda n: tensors[n].size)[:4]}
    return [bytes(save(few, about))]


@contextmanager
def _shortlist_reader() -> Iterator[Read]:
    from s2s.run.directory import Run
    from s2s.run.shortlist import read_lexicon
    from s2s.text.tokenizer_pair import load_tokenizers

    run = Run(Path("runs/spell"))
    pair = load_tokenizers(run.tokenizer_folder)

    def read() -> None:
        read_lexicon(run, pair.source.size, pair.target.size)

    yield read


def changed_archive(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Changes of a model file, or of one of its members: the archive then is sound, and half of
    the time the hashes in its record are too."""
    if draw.random() < 0.3:
        return changed(content, others, draw)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        name = draw.choice(sorted(members))
        change = changed_tensors if name.endswith(".safetensors") else changed
        members[name] = change(members[name], [members[name]], draw)
        if draw.random() < 0.1:
            members[draw.choice(("../x", "/x", "tokenizer/x", "model.json", "a\x00b"))] = b""
        if name != "model.json" and draw.random() < 0.7:
            record = json.loads(members["model.json"])
            record["files"][name] = hashlib.sha256(members[name]).hexdigest()
            members["model.json"] = json.dumps(record).encode()
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w", draw.choice((0, 0, 0, 8))) as archive:
            for each, data in members.items():
                archive.writestr(zipfile.ZipInfo(each), data)
    except Exception:  # an archive that cannot be read, damaged before
        return changed(content, others, draw)
    return sink.getvalue()


def _read_model() -> None:
    """The file as `translate` opens it, without building the network."""
    from s2s.run import model_file
    from s2s.run.directory import Run
    from s2s.text.tokenizer_pair import load_tokenizers

    try:
        folder = model_file.unpacked(Path("guided.s2s"))
        run = Run.open(folder, "guided.s2s")
        recipe = run.recipe
        assert recipe.name
        pair = load_tokenizers(run.tokenizer_folder)
        _use(pair.source)
        run.read_weights("best")
    finally:
        for one in model_file._unpacked.values():
            one.cleanup()
        model_file._unpacked.clear()


# -------------------------------------------------------------------------------------------------


def _subword_target(kind: str) -> Target:
    path = str(TOKENIZER / "sentencepiece.model")
    return Target(kind, path, _subwords(kind), always(_read_subwords), changed_pieces)


def _vocabulary_target(kind: str) -> Target:
    path = str(TOKENIZER / "vocabulary.json")
    read = always(_read_tokenizer)
    return Target(f"{kind}s", path, _vocabulary(kind), read, changed_text)


def _tensors(name: str, path: Path, seeds: Any, reader: Any) -> Target:
    return Target(name, str(path), seeds, reader, changed_tensors)


MODEL_TARGETS = (
    _vocabulary_target("character"),
    _vocabulary_target("word"),
    _subword_target("unigram"),
    _subword_target("bpe"),
    Target("tags", str(TOKENIZER / "tags.json"), _tags, always(_read_tokenizer), changed_text),
    Target(
        "tokenizer pairs",
        "runs/spell/tokenizer/tokenizers.json",
        files("runs/spell/tokenizer/tokenizers.json"),
        always(_read_pair),
    ),
    _tensors(
        "weights",
        CHECKPOINT / "weights.safetensors",
        files(f"{CHECKPOINT}/weights.safetensors"),
        always(_read_weights),
    ),
    _tensors("training states", CHECKPOINT / "training.safetensors", _small_state, _state_reader),
    _tensors(
        "shortlists",
        Path("runs/spell/shortlist.safetensors"),
        files("runs/spell/shortlist.safetensors"),
        _shortlist_reader,
    ),
    Target("model files", "guided.s2s", files("spell.s2s"), always(_read_model), changed_archive),
)

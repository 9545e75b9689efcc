"""Readers of text, tables and recipes."""

import gzip
import json
import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.mutations import changed, changed_text, flipped, odd_recipe
from tests.torture.target import Read, Target, always, files, texts

TSV = "source\ttarget\tgroup\na b\tc d\t1\ne f\tg\t1\n" + "hij k\tlm, no\t2\n" * 6
CSV = 'source,target,group\na b,"c, d",1\ne f,"g ""h""",1\n"i\nj",k,2\n' + "l,m,3\n" * 5
JSONL = (
    '{"source": "a b", "target": "c d", "group": 1}\n'
    '{"source": "0 1", "target": ["eins", "zwei"], "group": "1"}\n'
    '{"source": "\\u00e4", "target": "\\ud83d\\ude00", "x": {"y": ["z"]}, "group": "2"}\n'
)
LINES = "a b c\n\n  \t\nä ½ 日本語 😀\r\nthe last"


# ---------------------------------------------------------------------------------------- recipes


def _odd_recipe(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    if text.strip() and draw.random() < 0.7:
        return odd_recipe(text, draw)
    return changed(content, others, draw)


def _read_recipe() -> None:
    from s2s.recipe.load import dump_recipe, load_draft, parse_draft

    draft = load_draft(Path("guided.yaml"), ("seed=2",))
    written = dump_recipe(draft.recipe).encode()
    again = parse_draft(Path("guided.yaml"), written).recipe
    assert again.model == draft.recipe.model, "a recipe that was written is another one"


def _read_grid() -> None:
    """The lines of a file as the values that a sweep compares."""
    from s2s.recipe.grid import read_grid

    text = Path("guided.txt").read_bytes().decode("utf-8", "replace")
    grid = read_grid([line for line in text.split("\n") if line][:20])
    names = [setting.suffix for setting in grid.settings(5, seed=1)]
    assert len(set(names)) == len(names), "two settings have one name"


# ----------------------------------------------------------------------------------------- tables


def _columns(is_train: bool) -> Any:
    from s2s.data.sources.columns import SplitColumns
    from s2s.recipe.data import Columns

    group = None if is_train else "group"
    return SplitColumns(Columns(source="source", target="target", group=group), (), is_train)


def _read_table(name: str) -> None:
    from s2s.data.sources.inspect import inspect
    from s2s.data.sources.tables import open_table
    from s2s.errors import S2sError

    refused: list[S2sError] = []
    for is_train in (True, False):
        table = open_table(Path(name), _columns(is_train), has_header=True, max_damaged=0.4)
        try:
            table.fingerprint()
            table.expected()
            for chunk in table.chunks():
                assert len(chunk.source) == len(chunk.target), "unequal sides"
                "".join((*chunk.source, *chunk.target)).encode()
                assert not any("\n" in text for text in (*chunk.source, *chunk.target))
        except S2sError as error:
            refused.append(error)
    _said(refused)
    json.dumps(inspect([name]).section, ensure_ascii=False).encode()


def _said(refused: Sequence[Exception]) -> None:
    """A refusal that can be shown, raised."""
    for error in refused:
        assert str(error).strip(), "an error without a word"
    if refused:
        raise refused[0]


def _parquet(folder: Path) -> list[bytes]:
    """Parquet files: plain, compressed, with lists and dictionaries."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "source": ["a b", "0 1", "ä"],
        "target": ["c d", "eins zwei", "😀"],
        "group": [1, 1, 2],
    }
    lists = {**columns, "target": [["c d"], ["eins", "zwei"], ["x"]]}
    plain = pa.table(columns)
    coded = plain.set_column(0, "source", plain.column("source").dictionary_encode())
    written = []
    for table, compression in ((plain, "none"), (pa.table(lists), "none"), (coded, "snappy")):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=compression)
        written.append(sink.getvalue())
    return written


# ------------------------------------------------------------------------------------------ lines


def _read_lines(name: str = "guided.txt") -> None:
    from s2s.data.sources.inspect import inspect
    from s2s.data.sources.open import ParallelFiles
    from s2s.errors import S2sError
    from s2s.text.lines import count_lines, open_input, read_lines

    path = Path(name)
    found = list(read_lines(path))
    assert len(found) == count_lines(path), "lines are counted otherwise than read"
    "".join(found).encode()
    with open_input(path) as stream:
        assert sum(1 for _ in stream) == len(found)
    if found:
        (chunk,) = ParallelFiles(path, path).chunks()
        assert chunk.source == found
    try:
        inspect([name, name])
    except S2sError as error:
        _said([error])


def _gzip_seeds(folder: Path) -> list[bytes]:
    return [gzip.compress(LINES.encode(), mtime=0), gzip.compress(b"a\n" * 50, mtime=0)]


def changed_inside(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Changes of a gzip file, or of its content, compressed again."""
    if draw.random() < 0.4:
        return changed(content, others, draw)
    try:
        inside = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        inside = LINES.encode()
    return gzip.compress(changed_text(inside, [inside], draw)[:1_000_000], mtime=0)


def _read_dictionary() -> None:
    from s2s.inference.replace_unknown import read_dictionary

    read_dictionary(Path("guided.txt"))


@contextmanager
def _lexicon_reader() -> Iterator[Read]:
    from s2s.data.moses_lexicon import read_cells
    from s2s.text.tokenizer_pair import load_tokenizers

    tokenizers = load_tokenizers(Path("runs/spell/tokenizer"))

    def read() -> None:
        read_cells(Path("guided.txt"), tokenizers)

    yield read


@contextmanager
def _constraints_reader() -> Iterator[Read]:
    """Lines with prefixes and terms; of the lines of the file, half are input, half prefixes."""
    from s2s.inference.constraint_compiler import ConstraintCompiler
    from s2s.inference.line_constraints import LineConstraintsReader, parse_columns, unmet
    from s2s.text.lines import read_lines
    from s2s.text.tokenizer_pair import load_tokenizers

    pairs = [load_tokenizers(Path("runs", name, "tokenizer")) for name in ("spell", "pieces")]
    compilers = [ConstraintCompiler(pair.target) for pair in pairs]
    names = parse_columns("source,prefix,must,avoid")

    def read() -> None:
        path = Path("guided.txt")
        lines = list(read_lines(path))
        LineConstraintsReader(prefixes=path).read(lines, 0)
        given = LineConstraintsReader(columns=names).read(lines, 0)[1]
        for compiler in compilers:
            prefixes = compiler.target.encode([one.prefix for one in given])
            for spec in compiler.constraints(given, prefixes):
                assert len(spec.constraints) <= 3
            for one in given:
                unmet(one.prefix, one, compiler.target)

    yield read


def _read_list(form: Any) -> None:
    """Rows of scored outputs that are resumed."""
    from s2s.inference.resume import OutputFile, count_lines, count_listed

    with OutputFile(Path("guided.txt")) as file:
        whole = count_lines(file)
        found = count_listed(file, form, "guided.txt")
        assert 0 <= found.size <= whole.size, "more than there is"
        count_listed(file, form, "guided.txt", 1)


def _table(kind: str, *contents: str) -> Target:
    name = f"guided.{kind}"
    return Target(
        f"tables {kind}", name, texts(*contents), always(partial(_read_table, name)), changed_text
    )


def _text(name: str, read: Read, *contents: str) -> Target:
    return Target(name, "guided.txt", texts(*contents), always(read), changed_text)


TEXT_TARGETS = (
    Target(
        "recipes",
        "guided.yaml",
        files("recipe.yaml", "captions.yaml", "runs/spell/recipe.yaml"),
        always(_read_recipe),
        _odd_recipe,
    ),
    _text("grids", _read_grid, "seed=1,2\ntrain.epochs=1, 2\nmetrics=[bleu,chrf],[chrf]\n"),
    _table("tsv", TSV),
    _table("csv", CSV),
    _table("jsonl", JSONL),
    Target(
        "tables parquet",
        "guided.parquet",
        _parquet,
        always(partial(_read_table, "guided.parquet")),
        flipped,
    ),
    _text("lines", _read_lines, LINES, "a\n" * 30),
    Target("lines gz", "guided.txt", _gzip_seeds, always(_read_lines), changed_inside),
    _text("dictionaries", _read_dictionary, "null\tzero\nzwei\ttwo\n"),
    Target(
        "lexicons",
        "guided.txt",
        texts("null 0 0.5\neins 1 1.0\nNULL 1 0.1\n"),
        _lexicon_reader,
        changed_text,
    ),
    Target(
        "constraints",
        "guided.txt",
        texts("0 1 2\teins\tzwei|||drei\tnull\n3 4\t\tvier\t\n\t\t\t\n"),
        _constraints_reader,
        changed_text,
    ),
    _text(
        "lists tsv",
        partial(_read_list, "tsv"),
        "1\t1\t-0.5\t-0.5\t3\tfinished\ta b\n1\t2\t-1.5\t-0.9\t3\tcut\tb\n2\t1\t-1\t-1\t1\tcut\t\n",
    ),
    _text(
        "lists jsonl",
        partial(_read_list, "jsonl"),
        '{"line": 1, "rank": 1, "text": "a"}\n{"line": 2, "rank": 1, "text": "b"}\n',
    ),
)

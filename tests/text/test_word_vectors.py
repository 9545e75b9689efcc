"""Files of word vectors: three formats, and what is wrong with a file."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from s2s.errors import DataError
from s2s.text.word_vectors import WordVectors, read_vectors

HOUSE, TREE = [0.5, -1.0, 2e-3], [1.0, 0.0, 3.0]
GLOVE = "house 0.5 -1.0 2e-3\ntree 1 0 3\n. . . 0.1 0.2 0.3\n"
WORD2VEC = "3 3\nhouse 0.5 -1.0 2e-3\ntree 1 0 3\nbird 1 1 1\n"
FASTTEXT = "3 3\nhouse 0.5 -1.0 2e-3 \ntree 1 0 3 \n</s> 1 1 1 \n"


def read(
    path: Path, content: str | bytes, wanted: tuple[str, ...] = ("house", "tree"), width: int = 3
) -> WordVectors:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_vectors(str(path), set(wanted), width, "model.pretrained.target")


@pytest.mark.parametrize(
    "content",
    [
        GLOVE,
        WORD2VEC,
        FASTTEXT,
        GLOVE.replace("\n", "\r\n"),
        GLOVE.replace(" ", "\t").replace(".\t.\t.", ". . ."),
        WORD2VEC.rstrip("\n"),
        gzip.compress(FASTTEXT.encode(), mtime=0),
    ],
)
def test_all_formats_give_the_same_vectors(content: str | bytes, tmp_path: Path) -> None:
    found = read(tmp_path / "v", content)
    assert sorted(found.vectors) == ["house", "tree"]
    assert found.vectors["house"].tolist() == np.float32(HOUSE).tolist()
    assert found.vectors["tree"].tolist() == np.float32(TREE).tolist()
    assert (found.num_lines, found.num_broken, list(found.faults())) == (3, 0, [])
    assert not found.has_pieces


def test_only_wanted_words_are_kept(tmp_path: Path) -> None:
    assert list(read(tmp_path / "v", GLOVE, ("tree", "none")).vectors) == ["tree"]


def test_a_word_with_spaces(tmp_path: Path) -> None:
    found = read(tmp_path / "v", GLOVE, (". . .",))
    assert found.vectors[". . ."].tolist() == np.float32([0.1, 0.2, 0.3]).tolist()


def test_a_header_is_no_vector(tmp_path: Path) -> None:
    """Not even where the number of vectors is a word of the vocabulary."""
    found = read(tmp_path / "v", WORD2VEC, ("3", "tree"))
    assert list(found.vectors) == ["tree"]
    assert found.promised == 3
    # A number as a word is one with its vector.
    assert read(tmp_path / "v", "7 1 2 3\n8 1 2 4\n", ("7",)).vectors["7"].tolist() == [1, 2, 3]


def test_pieces_are_recognized(tmp_path: Path) -> None:
    assert read(tmp_path / "v", "▁house 1 2 3\n", ("▁house",)).has_pieces


def test_doubled_and_broken_lines_are_counted_and_named(tmp_path: Path) -> None:
    content = (
        b"house 0.5 -1.0 2e-3\nhouse 9 9 9\ntree 1 0\ntree 1 0 nan\ntree 1 0 x\n\n"
        b"b\xffrd 1 2 3\nhouse 0.1 0.2 0.3 0.4\ntree 1 0 3\n"
    )
    found = read(tmp_path / "v", content)
    assert found.vectors["house"].tolist() == np.float32(HOUSE).tolist()
    assert found.vectors["tree"].tolist() == TREE
    assert list(found.faults()) == [
        "1 words stand there again ('house'), and the first counts",
        "6 lines are broken and left out (line 3: 2 numbers; line 4: a number is not finite; "
        "line 5: a field is no number)",
    ]


def test_a_header_that_promises_more(tmp_path: Path) -> None:
    found = read(tmp_path / "v", WORD2VEC.replace("3 3", "4 3"))
    assert list(found.faults()) == ["its first line promises 4 vectors, and it has 3 lines"]


def binary(words: int = 50) -> bytes:
    """word2vec's binary format."""
    rows = (f"w{n} ".encode() + struct.pack("<3f", n, n / 7, -n) + b"\n" for n in range(words))
    return f"{words} 3\n".encode() + b"".join(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WORD2VEC.replace("3 3", "3 300"), "have 300 numbers, and model.embeddings is 3;"),
        ("house 1 2\ntree 3 4\n", "have 2 numbers, and model.embeddings is 3;"),
        ("house 1 2 3 4\n", "have 4 numbers, and model.embeddings is 3;"),
        ("", "have 0 numbers"),
        ("3 3\n", "no word vectors in it"),
        ("3 3\nhouse 1\n", "no word vectors in it"),
        (binary(), r"word2vec's binary format; write text: in gensim"),
        (b"\xba\x16\x4f\x2f" + bytes(60), "a binary model of fastText; name the .vec file"),
        (b"PK\x03\x04" + bytes(60), "a zip archive; unpack it"),
        (bytes(100), "no text; expected a word and its numbers in each line"),
        (gzip.compress(binary(), mtime=0), "word2vec's binary format"),
        (gzip.compress(GLOVE.encode(), mtime=0)[:-9], "damaged or truncated gzip"),
    ],
)
def test_refused_in_one_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "v", content)
    assert message in str(caught.value)
    assert str(tmp_path / "v") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_vectors(str(tmp_path / "none"), set(), 3, "model.pretrained.source")

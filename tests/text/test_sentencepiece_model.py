"""Models of sentencepiece from elsewhere: the same pieces for every text, our special ids."""

import io
import struct
from pathlib import Path

import pytest
import sentencepiece

from s2s.errors import DataError
from s2s.recipe.tokenizer import SentencePieceTokenizer
from s2s.special import BOS, EOS, PAD, SPECIAL_PIECES, UNK
from s2s.text.sentencepiece_model import (
    CONTROL,
    Piece,
    pieces_of,
    read_model,
    with_pieces,
    with_special_ids,
)
from s2s.text.subword import Subwords
from s2s.text.taken_tokenizer import open_sentencepiece
from tests.text.test_extension import NEWER, OLD

ODD = ["", " ", "zz <x> ß", "<s> a </s>", "[CLS] b", "日本 abc", "a\tb", "▁ab"]


def trained(**settings: object) -> bytes:
    written = io.BytesIO()
    chosen = {"model_type": "unigram", "vocab_size": 220, "minloglevel": 2, **settings}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(OLD), model_writer=written, **chosen
    )
    return written.getvalue()


SETTINGS: dict[str, dict[str, object]] = {
    "as sentencepiece trains": {},
    "bpe": {"model_type": "bpe"},
    "bytes, symbols, controls": {
        "byte_fallback": True,
        "vocab_size": 480,
        "user_defined_symbols": ["<x>"],
        "control_symbols": ["[CLS]"],
    },
    "other spellings and ids": {
        "unk_id": 3,
        "bos_id": 1,
        "eos_id": 0,
        "pad_id": 2,
        "unk_piece": "[UNK]",
        "bos_piece": "[B]",
        "eos_piece": "[E]",
        "pad_piece": "[P]",
        "unk_surface": "?",
    },
    "without begin and end": {"bos_id": -1, "eos_id": -1},
    "spaces at the end of words": {"treat_whitespace_as_suffix": True},
    "case folded": {"normalization_rule_name": "nmt_nfkc_cf"},
    "as s2s trains": {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_pieces_for_every_text(name: str, tmp_path: Path) -> None:
    content = trained(**SETTINGS[name])
    path = tmp_path / "their.model"
    path.write_bytes(content)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=content)
    ours = open_sentencepiece(
        SentencePieceTokenizer(kind="sentencepiece", model=str(path)), "tokenizer"
    )
    lines = [*OLD, *NEWER, *ODD]
    ids, expected = ours.encode(lines), theirs.encode(lines)
    for row, other in zip(ids, expected, strict=True):
        unknown = theirs.unk_id()
        pieces = [theirs.id_to_piece(token) for token in other]
        pairs = zip(other, pieces, strict=True)
        known = [SPECIAL_PIECES[UNK] if token == unknown else piece for token, piece in pairs]
        assert ours.pieces(row) == known
    processor = ours._processor
    found = processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()
    assert found == (PAD, UNK, BOS, EOS)
    assert ours.decode([[BOS, *ids[0], EOS, PAD]]) == [theirs.decode(theirs.encode(OLD[0]))]
    assert ours.decode([[UNK]]) == [" ⁇ "]


@pytest.mark.parametrize("name", SETTINGS)
def test_it_survives_its_folder_and_needs_no_second_change(name: str, tmp_path: Path) -> None:
    changed = with_special_ids(trained(**SETTINGS[name]), "x")
    Subwords(changed).save(tmp_path)
    assert Subwords.load(tmp_path) == Subwords(changed)
    assert with_special_ids(changed, "x") == changed


def test_scores_types_and_normalization_stay() -> None:
    content = trained(**SETTINGS["bytes, symbols, controls"])
    before, after = read_model(content), read_model(with_special_ids(content, "x"))
    theirs = [piece for piece in pieces_of(before) if piece.text not in SPECIAL_PIECES]
    assert pieces_of(after)[4:] == theirs
    assert Piece("[CLS]", 0.0, CONTROL) in theirs
    assert after.normalizer_spec == before.normalizer_spec
    assert after.denormalizer_spec if hasattr(after, "denormalizer_spec") else True


def test_fields_that_are_not_described_stay() -> None:
    """`seed_sentencepiece_size` and `character_coverage` of the trainer, the denormalizer."""
    content = trained(character_coverage=0.995)
    same = with_pieces(read_model(content), pieces_of(read_model(content)))
    options = [sentencepiece.SentencePieceProcessor(model_proto=one) for one in (content, same)]
    assert options[0].encode(OLD) == options[1].encode(OLD)
    scores = [[one.get_score(token) for token in range(one.get_piece_size())] for one in options]
    assert scores[0] == scores[1]
    assert b"0.995" not in content  # a float
    assert struct.pack("<f", 0.995) in same


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a sentencepiece model, found another file"),
        (b"\x00\x01\x02 no model", "expected a sentencepiece model, found another file"),
        (b"text\n" * 99, "expected a sentencepiece model, found another file"),
        (trained(model_type="word", vocab_size=100), "found type word; use tokenizer.kind: word"),
        (
            trained(model_type="char", vocab_size=12),
            "found type character; use tokenizer.kind: character",
        ),
        (trained(user_defined_symbols=["<pad>"]), "its piece '<pad>' is an ordinary one"),
    ],
)
def test_other_files_are_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    section = SentencePieceTokenizer(kind="sentencepiece", model=str(path))
    with pytest.raises(DataError) as caught:
        open_sentencepiece(section, "tokenizer.source")
    assert str(caught.value).startswith(f"tokenizer.source.model: {path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_cut_short_is_refused(tmp_path: Path) -> None:
    content = trained()
    for length in (1, 10, 100, len(content) // 2, len(content) - 1):
        path = tmp_path / "m"
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"^tokenizer\.model: "):
            open_sentencepiece(
                SentencePieceTokenizer(kind="sentencepiece", model=str(path)), "tokenizer"
            )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="cannot be read"):
            open_sentencepiece(
                SentencePieceTokenizer(kind="sentencepiece", model=str(path)), "tokenizer"
            )

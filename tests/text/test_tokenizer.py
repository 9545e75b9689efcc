"""Tokenizers restore any text, and are the same after saving and loading."""

import io
import json
import math
import re
import struct
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sentencepiece

from s2s.errors import DataError, RunError
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    Tokenizers,
    WordTokenizer,
)
from s2s.special import BOS, EOS, PAD, SPECIAL_PIECES, UNK
from s2s.text.subword import Subwords, SubwordTrainer
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers, train_tokenizers

RANDOM = Random(1)
SYLLABLES = [first + second for first in "bdfgklmn" for second in "aeiou"]
WORDS = ["".join(RANDOM.choices(SYLLABLES, k=RANDOM.randint(1, 4))) for _ in range(300)]
LINES = [" ".join(RANDOM.choices(WORDS, k=8)) for _ in range(200)]
ODD = [
    "",
    " ",
    "   leading, inner   and trailing   ",
    "tab\there",
    "line\u2028and\u2029paragraph separators",
    "next\x85line, form\x0cfeed, carriage\rreturn, vertical\x0btab",
    "emoji \U0001f469\u200d\U0001f469\u200d\U0001f467 and \U0001f1e9\U0001f1ea",
    "combining e\u0301, precomposed \u00e9, ligature \ufb01, wide \uff21\uff22",
    "zero\u200bwidth, mark \ufeff inside, soft\u00adhyphen, no\u00a0break",
    "right to left \u0634\u0643\u0631\u0627, \u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8",
    "<s> </s> <pad> <unk> <0x41>",
    "control \x00 \x01 \x7f",
    "\u2581 looks like a space",
]
RECIPES = [
    SubwordTokenizer(kind="unigram", vocabulary=420, byte_fallback=True),
    SubwordTokenizer(kind="bpe", vocabulary=420, byte_fallback=True),
    SubwordTokenizer(kind="unigram", vocabulary=420, byte_fallback=True, normalization="identity"),
    SubwordTokenizer(kind="bpe", vocabulary=420, byte_fallback=True, normalization="nfkc_cf"),
    CharacterTokenizer(kind="character"),
    WordTokenizer(kind="word"),
    CharacterTokenizer(kind="character", decompose=True),
    WordTokenizer(kind="word", separators=",; "),
]
IDS = [f"{r.kind}-{getattr(r, 'normalization', '')}" for r in RECIPES]


def train(recipe: Tokenizers, source: Sequence[str], target: Sequence[str] = ()) -> TokenizerPair:
    chunks = [(source[i : i + 50], target[i : i + 50]) for i in range(0, len(source), 50)]
    return train_tokenizers(recipe, chunks, seed=3)


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_decoding_gives_the_normalized_text_back(recipe: SideTokenizer, tmp_path: Path) -> None:
    pair = train(recipe, LINES + ODD, LINES + ODD)
    assert pair.is_shared
    tokenizer = pair.source
    ids = tokenizer.encode(ODD + LINES)
    assert tokenizer.decode(ids) == [tokenizer.normalize(line) for line in ODD + LINES]
    assert not {PAD, BOS, EOS} & {token for row in ids for token in row}
    assert all(token < tokenizer.size for row in ids for token in row)
    assert [tokenizer.encode([line])[0] for line in ODD] == ids[: len(ODD)]
    assert tokenizer.encode([]) == [] and tokenizer.decode([]) == []
    assert tokenizer.decode([[PAD, BOS, *ids[20], EOS], []]) == [tokenizer.decode([ids[20]])[0], ""]
    assert tokenizer.pieces([PAD, UNK, BOS, EOS]) == list(SPECIAL_PIECES)

    pair.save(tmp_path)
    loaded = load_tokenizers(tmp_path)
    assert loaded.is_shared
    assert loaded.source.size == tokenizer.size
    assert loaded.source.encode(ODD + LINES) == ids


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_surfaces_make_up_the_decoded_text(recipe: SideTokenizer) -> None:
    tokenizer = train(recipe, LINES + ODD, LINES + ODD).source
    surfaces = [s.encode() if isinstance(s, str) else s for s in tokenizer.surfaces()]
    assert len(surfaces) == tokenizer.size
    draw = Random(4)
    rows = [draw.choices(range(tokenizer.size), k=draw.randint(0, 9)) for _ in range(300)]
    for row, text in zip(rows, tokenizer.decode(rows), strict=True):
        joined = b"".join(surfaces[token] for token in row).decode(errors="replace")
        # How many replacement characters invalid bytes become is each decoder's own choice;
        # a separator that opens the text is dropped.
        found, wanted = (
            re.sub(r"\ufffd+", "?", unicodedata.normalize("NFC", t)).lstrip(",").split()
            for t in (joined, text)
        )
        assert found == wanted


@pytest.mark.parametrize(
    ("recipe", "text", "unknown", "pieces"),
    [
        (SubwordTokenizer(kind="unigram", vocabulary=60), "bade Ж", "bade  ⁇ ", "▁"),
        (CharacterTokenizer(kind="character"), "ba Жd", "ba ⁇d", "▁"),
        (WordTokenizer(kind="word"), "goku  Ж sola", "goku ⁇ sola", "sola"),
    ],
)
def test_unknown_text_shows(recipe: SideTokenizer, text: str, unknown: str, pieces: str) -> None:
    tokenizer = train(recipe, [*LINES, "goku sola"]).source
    (ids,) = tokenizer.encode([text])
    assert ids.count(UNK) == 1
    assert tokenizer.decode([ids]) == [unknown]
    assert pieces in tokenizer.pieces(ids)


def test_characters_are_code_points_by_frequency() -> None:
    tokenizer = train(
        CharacterTokenizer(kind="character", min_count=2), ["aab ", "\U0001f469ba "]
    ).source
    assert tokenizer.size == 4 + len("ab ")
    assert tokenizer.encode(["ab \U0001f469"]) == [[4, 6, 5, UNK]]


def test_words_are_the_most_frequent_ones() -> None:
    lines = ["c b a", "a b", "a", "<s> d"]
    limited = train(WordTokenizer(kind="word", vocabulary=2), lines).source
    assert limited.encode(["a b c <s>"]) == [[4, 5, UNK, UNK]]
    frequent = train(WordTokenizer(kind="word", min_count=2), lines).source
    assert frequent.size == 4 + len("ab")
    special = train(WordTokenizer(kind="word"), lines).source
    assert UNK not in special.encode(["<s> a"])[0] and BOS not in special.encode(["<s> a"])[0]


@pytest.mark.parametrize(
    "odd", ["a\tb", "a\u00a0b", "a\u3000b", "a\u200bb", "\ufeffa b", "a b\u200b", " a  b "]
)
@pytest.mark.parametrize("separators", [" ", "; "])
def test_all_white_space_separates_words(odd: str, separators: str) -> None:
    recipe = WordTokenizer(kind="word", separators=separators)
    tokenizer = train(recipe, [odd, "b a"]).source
    assert tokenizer.size == 4 + len("ab")
    assert tokenizer.encode([odd]) == tokenizer.encode(["a b"])
    assert tokenizer.normalize(odd) == f"a{separators[0]}b"
    assert tokenizer.unknown([odd]) == [[]]


def test_a_vocabulary_with_white_space_in_its_words_keeps_it(tmp_path: Path) -> None:
    """Earlier versions split at U+0020 alone: their runs read and write the same words."""
    tokens = ["10\u00a0000", "a", "b\u00a0:"]
    (tmp_path / "shared").mkdir()
    saved = {"format": 1, "kind": "word", "tokens": tokens}
    (tmp_path / "shared" / "vocabulary.json").write_text(json.dumps(saved))
    (tmp_path / "tokenizers.json").write_text('{"format": 1, "shared": true}')
    tokenizer = load_tokenizers(tmp_path).source
    assert tokenizer.encode(["a 10\u00a0000 b\u00a0:", "a\u00a0a"]) == [[5, 4, 6], [UNK]]
    assert tokenizer.decode([[5, 4, 6]]) == ["a 10\u00a0000 b\u00a0:"]


def test_words_end_at_each_separator() -> None:
    tokenizer = train(WordTokenizer(kind="word", separators=";()"), ["N;ABL(PL;PSS(3))"]).source
    assert tokenizer.normalize("N;ABL(PL;PSS(3))") == "N;ABL;PL;PSS;3"
    assert tokenizer.encode(["ABL;PL", "(PL", "A B"])[1:] == [
        tokenizer.encode(["ABL;PL"])[0][1:],
        [UNK],
    ]


def test_decomposed_characters_share_their_parts() -> None:
    """가 and 각 begin with the same letters, é is an e with a mark; decoded text is in NFC."""
    tokenizer = train(CharacterTokenizer(kind="character", decompose=True), ["각\u00e9"]).source
    assert tokenizer.size == 4 + 3 + 2
    syllable, longer = tokenizer.encode(["가", "각"])
    assert longer[:2] == syllable and len(longer) == 3
    assert tokenizer.encode(["e\u0301"]) == tokenizer.encode(["\u00e9"])
    assert tokenizer.decode([[*longer, *syllable]]) == ["각가"]


def test_separate_tokenizers(tmp_path: Path) -> None:
    recipe = SeparateTokenizers(
        kind="separate",
        source=CharacterTokenizer(kind="character"),
        target=SubwordTokenizer(kind="bpe", vocabulary=50),
    )
    pair = train(recipe, ["abc"] * 200, LINES)
    assert not pair.is_shared
    assert pair.source.size == 7 and pair.target.size == 50
    pair.save(tmp_path)
    loaded = load_tokenizers(tmp_path)
    assert loaded.source.encode(["cab"]) == pair.source.encode(["cab"])
    assert loaded.target.encode(LINES) == pair.target.encode(LINES)


def test_training_is_deterministic_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    recipe = SubwordTokenizer(kind="unigram", vocabulary=60, max_sentences=70)
    trained = []
    for seed in (1, 1, 2):
        trainer = SubwordTrainer(recipe, seed)
        for start in range(0, len(LINES), 33):
            trainer.add(LINES[start : start + 33])
        trained.append(trainer.train()._model)
    assert trained[0] == trained[1] != trained[2]
    assert capfd.readouterr() == ("", "")


def test_the_sample_is_uniform() -> None:
    """Each of 40 lines is in a sample of 10 a quarter of the time, for chunks of any size."""
    lines = [str(i) for i in range(40)]
    counts = dict.fromkeys(lines, 0)
    for seed in range(2000):
        trainer = SubwordTrainer(SubwordTokenizer(kind="bpe", max_sentences=10), seed)
        for piece in (lines[:7], lines[7:25], lines[25:]):
            trainer.add(piece)
        assert len(set(trainer._sample)) == 10
        for line in trainer._sample:
            counts[line] += 1
    deviation = (2000 * 0.25 * 0.75) ** 0.5  # of a binomial count
    assert all(abs(count - 500) < 5 * deviation for count in counts.values())


def test_long_lines_are_trained_on() -> None:
    long = " ".join(["zyx"] * 5000)
    tokenizer = train(SubwordTokenizer(kind="unigram", vocabulary=40), [*LINES, long]).source
    assert UNK not in tokenizer.encode(["zyx"])[0]
    no_space = "".join(RANDOM.choices("vwxyz", k=50_000))
    tokenizer = train(SubwordTokenizer(kind="unigram", vocabulary=60), [*LINES, no_space]).source
    assert tokenizer.decode(tokenizer.encode([no_space])) == [no_space]


def test_a_byte_that_is_a_line_break_stays_in_its_line() -> None:
    tokenizer = train(RECIPES[0], LINES).source
    line_break = [i for i in range(tokenizer.size) if tokenizer.pieces([i]) == ["<0x0A>"]]
    assert tokenizer.decode([[*tokenizer.encode(["ba"])[0], *line_break, line_break[0]]]) == [
        "ba  "
    ]


@pytest.mark.parametrize(
    ("recipe", "lines", "expected"),
    [
        (
            SubwordTokenizer(kind="unigram"),
            ["", "  "],
            "tokenizer: the training data have no text to train on",
        ),
        (
            CharacterTokenizer(kind="character", min_count=5),
            ["abc"],
            "tokenizer: no character occurs 5 times in the training data",
        ),
        (
            WordTokenizer(kind="word", min_count=2),
            ["a b", "c"],
            "tokenizer: no word occurs 2 times in the training data",
        ),
    ],
)
def test_what_the_text_cannot_give(
    recipe: SideTokenizer, lines: list[str], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError) as error:
        train(recipe, lines)
    assert str(error.value) == expected
    assert capfd.readouterr() == ("", "")


LOW = (
    "has no room for every character of this corpus; set it to at least N, or lower "
    "tokenizer.character_coverage"
)


def test_the_advised_vocabulary_works() -> None:
    for kind, asked, message in (
        ("unigram", 9000, "is more than this corpus can fill; set it to at most N"),
        ("bpe", 9000, "is more than this corpus can fill; set it to at most N"),
        ("unigram", 9, LOW),
        ("bpe", 9, LOW),
    ):
        with pytest.raises(DataError) as error:
            train(SubwordTokenizer(kind=kind, vocabulary=asked), LINES)
        found = re.search(r"at (?:most|least) (\d+)", str(error.value))
        assert found is not None
        assert str(error.value).replace(found[1], "N") == f"tokenizer.vocabulary {asked} {message}"
        advised = int(found[1])
        recipe = SubwordTokenizer(kind=kind, vocabulary=advised)
        assert train(recipe, LINES).source.size == advised


VOCABULARY = {"format": 1, "kind": "character", "tokens": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "expected the keys format, kind and tokens"),
        (json.dumps({**VOCABULARY, "more": 1}), "unexpected keys: more"),
        (json.dumps({"format": 1, "kind": "word"}), "expected the keys format, kind and tokens"),
        (json.dumps({**VOCABULARY, "decompose": 1.5}), "unexpected keys: decompose"),
        (
            json.dumps({**VOCABULARY, "kind": "word", "separators": 1}),
            "unexpected keys: separators",
        ),
        (json.dumps({**VOCABULARY, "format": 9}), "expected format 1, found 9"),
        (json.dumps({**VOCABULARY, "kind": "x"}), "expected kind 'character' or 'word', found 'x'"),
        (json.dumps({**VOCABULARY, "tokens": ["a", 1]}), "expected tokens to be a list of strings"),
        (json.dumps({**VOCABULARY, "tokens": ["a", "a"]}), "a token occurs twice"),
        (json.dumps({**VOCABULARY, "tokens": ["ab"]}), "a token is no character"),
        (json.dumps({**VOCABULARY, "kind": "word", "tokens": ["a b"]}), "a token is no word"),
    ],
)
def test_a_damaged_vocabulary_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    train(CharacterTokenizer(kind="character"), LINES).save(tmp_path)
    path = tmp_path / "shared" / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(RunError) as error:
        load_tokenizers(tmp_path)
    assert str(error.value) == f"{path}: not a vocabulary of s2s ({fault})"


def test_a_damaged_pair_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizers.json"
    with pytest.raises(RunError, match="no such file; 's2s prep' makes the tokenizers"):
        load_tokenizers(tmp_path)
    train(RECIPES[0], LINES).save(tmp_path)
    model = tmp_path / "shared" / "sentencepiece.model"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(RunError) as error:
        load_tokenizers(tmp_path)
    assert str(error.value) == f"{model}: not a sentencepiece model"
    model.unlink()
    with pytest.raises(RunError, match=r"no tokenizer here \(neither sentencepiece.model nor"):
        load_tokenizers(tmp_path)
    path.write_text('{"format": 2}')
    with pytest.raises(RunError, match=r"expected tokenizers of format 1, found {'format': 2}"):
        load_tokenizers(tmp_path)
    path.write_text('{"format"')
    with pytest.raises(RunError, match=r"damaged .*'s2s prep --force' makes it again"):
        load_tokenizers(tmp_path)


def test_a_foreign_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=written, vocab_size=40, minloglevel=2
    )
    (tmp_path / "sentencepiece.model").write_bytes(written.getvalue())
    with pytest.raises(RunError, match=r"expected pad, unk, bos, eos to have ids \(0, 1, 2, 3\)"):
        Subwords.load(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["a b ▅"] * 9,
            "every line of the training data has ▅ (U+2585), which sentencepiece reserves",
        ),
        (
            ["a"] * 9,
            "tokenizer.vocabulary 8 is more than this corpus can fill; set it to at most 7, or use",
        ),
    ],
)
def test_texts_that_have_no_subwords_are_told_what_to_use(lines: list[str], message: str) -> None:
    recipe = SubwordTokenizer(kind="unigram", vocabulary=8)
    with pytest.raises(DataError) as error:
        train_tokenizers(recipe, [(lines, lines)], seed=1)
    assert message in str(error.value) and "tokenizer.kind: character or word" in str(error.value)


def test_a_remedy_can_be_followed() -> None:
    recipe = SubwordTokenizer(kind="unigram", vocabulary=7)
    tokenizers = train_tokenizers(recipe, [(["a"] * 9, ["a"] * 9)], seed=1)
    assert tokenizers.source.size == 7


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_model_with_scores_that_are_no_numbers_is_refused(
    tmp_path: Path, kind: Any, score: float
) -> None:
    """The library refuses them in unigram models alone."""
    subwords = train(SubwordTokenizer(kind=kind, vocabulary=40), LINES).source
    assert isinstance(subwords, Subwords)
    subwords.save(tmp_path)
    path = tmp_path / "sentencepiece.model"
    content = path.read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    piece = processor.id_to_piece(39).encode()
    before = bytes([10, len(piece)]) + piece + b"\x15"  # its text, and the tag of its score
    stored = before + struct.pack("<f", processor.get_score(39))
    assert content.count(stored) == 1
    path.write_bytes(content.replace(stored, before + struct.pack("<f", score)))
    with pytest.raises(RunError, match=r"not a sentencepiece model|no number as its score"):
        Subwords.load(tmp_path)


@pytest.mark.parametrize(
    "tags", ['[""]', "[]", '["<a>", "<a>"]', '["a"]', '["<a b>"]', "[1]", "{}"]
)
def test_tags_that_no_recipe_has_are_refused(tmp_path: Path, tags: str) -> None:
    """An empty tag would be found at the beginning of a line again and again."""
    train(WordTokenizer(kind="word"), LINES).save(tmp_path)
    (tmp_path / "shared" / "tags.json").write_text(tags)
    with pytest.raises(RunError, match="expected different tags, such as <2en>, found"):
        load_tokenizers(tmp_path)

"""Lines encoded by their words have the ids that their tokenizer gives them."""

import io
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import pytest
import sentencepiece

from s2s.recipe.tokenizer import CharacterTokenizer, SubwordTokenizer, WordTokenizer
from s2s.text import word_encoder
from s2s.text.byte_lines import ByteLines, LineWords
from s2s.text.margins import Margins
from s2s.text.sentencepiece_model import Piece, pieces_of, with_pieces, with_special_ids
from s2s.text.subword import Subwords, SubwordTrainer
from s2s.text.tags import Tagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import CharacterTrainer, Words, WordTrainer
from s2s.text.word_encoder import NOT_ALONE, SubwordLearner, WordEncoder, encoder_of, rows_of
from tests.text.test_sampled_segmentations import LINES, ODD

RANDOM = Random(11)
SPACES = [
    *(" ", "  ", "a  b ", " a", "a\u00a0b", "\u00a0", "a \u00a0 b", "\u3000a\u3000", "a\tb", "a\r"),
    *(
        "▁",
        "a▁",
        "▁a",
        "a ▁ b",
        "a▁ b",
        " ▁▁",
        "\u200ba \u200b",
        "\ufeff a",
        "a\x00b \x00",
        "\x01 c",
    ),
    *(
        "´",
        "a ´b",
        "a \u0301b",
        "e\u0301 \u0301e",
        "가 \u11a8",
        "½ ¼x",
        "x…",
        "ﬁ ﬂx",
        "<x> a<x>b <x",
    ),
    *(
        "<s> </s>",
        "☃☃ ☃",
        "a☃ ☃b",
        "🙂🙂",
        "Ä ä A a",
        "x x",
        "x",
        "\u2585 a",
        "https://a/" + "b" * 90,
    ),
]
TEXTS = [
    *SPACES,
    *ODD,
    *(" ".join(RANDOM.choices(SPACES, k=4)) for _ in range(60)),
    *LINES[:400],
    *("".join(RANDOM.choices("ab가☃ ", k=RANDOM.randrange(60))) for _ in range(200)),
    " ".join(LINES[:300]),
]


def raw_model(**settings: Any) -> Subwords:
    """A model with settings that recipes do not have."""
    written = io.BytesIO()
    options = {"vocab_size": 400, "model_type": "unigram", **settings}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES[:1500] + ["a b, c d"] * 500),
        model_writer=written,
        minloglevel=2,
        **options,
    )
    return Subwords(with_special_ids(written.getvalue(), "model"))


def trained(**settings: Any) -> Subwords:
    recipe = SubwordTokenizer(**{"kind": "unigram", "vocabulary": 500, **settings})
    trainer = SubwordTrainer(recipe, 1)
    trainer.add([*LINES[:1500], *SPACES])
    return trainer.train()


def words() -> Words:
    trainer = WordTrainer(WordTokenizer(kind="word", symbols=("<x>", "ab")))
    trainer.add([line for line in TEXTS if "ab" not in line])
    return trainer.train()


def separated(separators: str) -> Words:
    trainer = WordTrainer(WordTokenizer(kind="word", separators=separators))
    trainer.add(TEXTS)
    return trainer.train()


def characters() -> Tokenizer:
    trainer = CharacterTrainer(CharacterTokenizer(kind="character"))
    trainer.add(TEXTS[:50])
    return trainer.train()


MODELS: dict[str, Any] = {
    "unigram": trained,
    "bpe": lambda: trained(kind="bpe"),
    "bytes": lambda: trained(byte_fallback=True, vocabulary=700),
    "bytes, bpe": lambda: trained(kind="bpe", byte_fallback=True, vocabulary=700),
    "folded": lambda: trained(normalization="nmt_nfkc_cf"),
    "nfkc": lambda: trained(normalization="nfkc"),
    "identity": lambda: trained(normalization="identity"),
    "symbols": lambda: trained(symbols=("<x>", "ab")),
    "symbols, bpe": lambda: trained(kind="bpe", symbols=("<x>", "ab")),
    "few characters": lambda: trained(character_coverage=0.98),
    "words": words,
    "words, other separators": lambda: separated(" ,/"),
}
OTHERS: dict[str, Any] = {
    "pieces of several words": lambda: raw_model(split_by_whitespace=False, vocab_size=900),
    "spaces at the end": lambda: raw_model(treat_whitespace_as_suffix=True),
    "no space at the beginning": lambda: raw_model(add_dummy_prefix=False),
    "all spaces": lambda: raw_model(remove_extra_whitespaces=False),
    "symbol with a space": lambda: raw_model(user_defined_symbols=["a b"]),
    "words without spaces": lambda: separated("/"),
    "characters": characters,
    "tags": lambda: Tagged(words(), ["<2de>"]),
}


def encoded(encoder: Any, lines: Sequence[str]) -> tuple[list[int], list[int]]:
    rows = encoder(LineWords.of(ByteLines.of(lines)))
    assert (rows.values.dtype, rows.lengths.dtype) == (np.int32, np.int64)
    return rows.values.tolist(), rows.lengths.tolist()


def expected(tokenizer: Tokenizer, lines: Sequence[str]) -> tuple[list[int], list[int]]:
    ids = tokenizer.encode(lines)
    return [token for row in ids for token in row], list(map(len, ids))


@pytest.mark.parametrize("name", [*MODELS, *OTHERS])
def test_the_ids_are_those_of_the_tokenizer(name: str) -> None:
    tokenizer = (MODELS | OTHERS)[name]()
    encoder = encoder_of(tokenizer)
    assert isinstance(encoder, WordEncoder) == (name in MODELS)
    for begin in range(0, len(TEXTS), 97):
        part = TEXTS[begin : begin + 97]
        assert encoded(encoder, part) == expected(tokenizer, part)
    assert encoded(encoder, TEXTS[::-1]) == expected(tokenizer, TEXTS[::-1])
    for line in SPACES:
        assert encoded(encoder, [line]) == expected(tokenizer, [line])
    assert encoded(encoder, []) == ([], [])


def hand_made(pieces: dict[str, float]) -> Subwords:
    """A unigram model of these pieces."""
    model = trained().model
    special = pieces_of(model)[:4]
    return Subwords(with_pieces(model, [*special, *(Piece(*one) for one in pieces.items())]))


def test_equal_segmentations_depend_on_the_line() -> None:
    """`aaaaa` is `aa aaa` or `aaa aa`, with one score; which of them wins depends on rounding."""
    pieces = {"▁": -2.3, "a": -7.9, "aa": -5.3, "aaa": -6.1, "▁b": -3.7, "c": -4.9, "d": -11.3}
    tokenizer = hand_made(pieces)
    lines = ["b" + RANDOM.choice(" c") * RANDOM.randrange(9) + " aaaaa" for _ in range(99)]
    lines += [" ".join(RANDOM.choices(["b", "bc", "bdd", "cc"], k=k)) + " aaaaa" for k in range(99)]
    ids = tokenizer.encode(lines)
    assert len({tuple(row[-2:]) for row in ids}) == 2  # both of them occur
    assert encoded(encoder_of(tokenizer), lines) == expected(tokenizer, lines)


def test_almost_equal_segmentations_depend_on_the_length_of_the_line() -> None:
    """Below its limit a word has the ids that it has alone, and not in all lines beyond."""
    tokenizer = hand_made({"▁": -2.3, "a": -7.1, "aa": -5.3, "b": -7.1, "ab": -5.3002, "▁c": -9.7})
    learned = SubwordLearner(tokenizer)(["aab", "aa"])
    limit = learned.limits[0]
    assert 9.7 < limit < 1000.0 < learned.limits[1]
    lines = ["c " * count + "aab" for count in range(4000)]
    ids = tokenizer.encode(lines)
    is_other = np.array([row[-2:] != learned.ids[0][-2:] for row in ids])
    scores = 9.7 * np.arange(4000)
    assert not is_other[scores < limit].any()
    assert is_other[scores > limit].any()
    assert encoded(encoder_of(tokenizer), lines) == expected(tokenizer, lines)


def test_margins_are_those_of_all_segmentations() -> None:
    tokenizer = trained(vocabulary=300, character_coverage=0.99)
    table = tokenizer.piece_table
    unknown = min(table.scores.values()) - 10.0

    def margin(word: str) -> float:
        totals = []
        for cuts in itertools.product([False, True], repeat=max(len(word) - 1, 0)):
            bounds = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(word)]
            parts = [word[a:b] for a, b in itertools.pairwise(bounds)]
            scores = [table.scores.get(p, unknown if len(p) == 1 else -np.inf) for p in parts]
            totals.append(sum(scores))
        best, second, *_ = *sorted(totals, reverse=True), -np.inf
        return best - second

    every = {word for line in LINES[:900] for word in f"▁{line}".split(" ")}
    short = [*sorted(word[:9] for word in every), "▁", "☃", "▁☃☃a"]
    assert Margins(table).of(short) == pytest.approx([margin(word) for word in short], rel=1e-9)
    assert Margins(table).of([]).tolist() == []


@pytest.mark.parametrize("name", ["unigram", "bpe"])
def test_words_are_forgotten_and_learned_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_encoder, "MOST_WORDS", 20)
    tokenizer = MODELS[name]()
    encoder = encoder_of(tokenizer)
    parts = [TEXTS[begin : begin + 9] for begin in range(0, len(TEXTS), 9)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda part: encoded(encoder, part), [*parts, *parts]))
    assert found == [expected(tokenizer, part) for part in parts] * 2


def test_a_word_is_learned_once() -> None:
    tokenizer, asked = words(), list[str]()

    def learn(new: list[str]) -> word_encoder.Learned:
        asked.extend(new)
        return word_encoder.Learned(tokenizer.encode(new), np.full(len(new), np.inf))

    encoder = WordEncoder(tokenizer.encode, learn, 1.0)
    lines = [line for line in LINES[:99] if len(line) < word_encoder.LONGEST_WORD / 3]
    for part in (lines[:50], lines[20:80], lines):
        assert encoded(encoder, part) == expected(tokenizer, part)
    assert sorted(asked) == sorted({word for line in lines for word in line.split(" ")})


def test_a_word_that_depends_on_others_takes_its_line_to_the_tokenizer() -> None:
    whole = list[str]()

    def encode(lines: list[str]) -> list[list[int]]:
        whole.extend(lines)
        return [[7] * len(line) for line in lines]

    def learn(new: list[str]) -> word_encoder.Learned:
        limits = [NOT_ALONE if "?" in word else 300.0 for word in new]
        return word_encoder.Learned([[5]] * len(new), np.array(limits))

    lines = ["a b", "a?", "", "c a? d", "a " * 250, "a?", "b"]
    found = encoded(WordEncoder(encode, learn, 1.0), lines)
    assert whole == ["a?", "c a? d", "a " * 250, "a?"]
    rows = rows_of([[5, 5], [7] * 2, [5], [7] * 6, [7] * 500, [7] * 2, [5]])
    assert found == (rows.values.tolist(), rows.lengths.tolist())

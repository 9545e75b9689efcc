"""Symbols of a subword tokenizer: one piece each, as they are written."""

import random
from pathlib import Path

import pytest

from s2s.data.sources.fingerprint import fingerprint_of
from s2s.recipe.tokenizer import Sampling, SubwordTokenizer
from s2s.search.constraints.automaton import Spelling
from s2s.special import UNK
from s2s.text.subword import Subwords, SubwordTrainer
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers

SYMBOLS = ("<b>", "</b>", "{0}", "①", "👩\u200d🚀", 'a,"b')


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def subwords(request: pytest.FixtureRequest) -> Subwords:
    """A tokenizer whose training text has some of its symbols."""
    recipe = SubwordTokenizer(kind=request.param, vocabulary=22, symbols=SYMBOLS)
    trainer = SubwordTrainer(recipe, seed=1)
    draw = random.Random(1)
    words = ["bath", "bat", "hat", "<b>hat</b>", "that", "{0}", "b0a"]
    trainer.add([" ".join(draw.choices(words, k=6)) for _ in range(200)])
    return trainer.train()


def test_a_symbol_is_one_piece_wherever_it_stands(subwords: Subwords) -> None:
    for symbol in SYMBOLS:
        for line in (symbol, f"bat{symbol}hat", f"bat {symbol} hat", f"{symbol}{symbol}"):
            (ids,) = subwords.encode([line])
            count = subwords.pieces(ids).count(symbol)
            assert (count, UNK in ids) == (line.count(symbol), False), line


def test_text_with_symbols_comes_back(subwords: Subwords) -> None:
    draw = random.Random(2)
    for _ in range(300):
        parts = draw.choices([*SYMBOLS, "bat", "h", "0", " "], k=draw.randint(1, 9))
        line = " ".join("".join(parts).split())
        (ids,) = subwords.encode([line])
        assert subwords.decode([ids]) == [line]
        assert subwords.normalize(line) == line
        assert Spelling(subwords.surfaces()).text(ids).strip(" ") == line


def test_normalization_changes_what_is_no_symbol(subwords: Subwords) -> None:
    assert subwords.normalize("①ｈ") == "①h"


def test_a_run_keeps_its_symbols(subwords: Subwords, tmp_path: Path) -> None:
    TokenizerPair(subwords, subwords).save(tmp_path)
    loaded = load_tokenizers(tmp_path).target
    assert loaded == subwords
    assert loaded.encode(["bat<b>hat"]) == subwords.encode(["bat<b>hat"])


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        (("a b",), "symbols: expected texts without spaces, found 'a b'"),
        (("▁x",), "symbols: expected texts without spaces, found '▁x'"),
        (("a\n",), r"symbols: expected texts without spaces, found 'a\\n'"),
        (("<unk>",), "symbols: '<unk>' is a special piece already"),
        (("<b>", "x", "<b>"), "symbols: expected each once, found '<b>' twice"),
    ],
)
def test_what_is_no_symbol_is_refused(symbols: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubwordTokenizer(kind="bpe", symbols=symbols)


def test_sampling_would_split_symbols() -> None:
    with pytest.raises(ValueError, match="subword sampling would split them"):
        SubwordTokenizer(kind="bpe", symbols=("<b>",), sampling=Sampling(alpha=0.1))


def test_data_prepared_before_symbols_stay_up_to_date() -> None:
    assert "symbols" not in fingerprint_of(SubwordTokenizer(kind="bpe"))
    assert fingerprint_of(SubwordTokenizer(kind="bpe", symbols=("x",)))["symbols"] == ("x",)

"""Symbols of tokenizers of words and characters are one token each, and text comes back."""

import json
import random
import unicodedata
from pathlib import Path

import pytest

from s2s.data.sources.fingerprint import fingerprint_of
from s2s.errors import RunError
from s2s.recipe.tokenizer import CharacterTokenizer, TrainedTokenizer, WordTokenizer
from s2s.search.constraints.automaton import Spelling
from s2s.special import UNK
from s2s.text.extension import extender
from s2s.text.growth import growth
from s2s.text.symbols import Symbols
from s2s.text.tokenizer import Tokenizer
from s2s.text.tokenizer_pair import load_tokenizer, train_tokenizers
from s2s.text.word_ids import source_units

SYMBOLS = ("<b>", "</b>", "<b", "{0}", "é+", "\U0001f469\u200d\U0001f467")
RECIPES = {
    "word": WordTokenizer(kind="word", symbols=SYMBOLS),
    "separators": WordTokenizer(kind="word", separators=",; ", symbols=SYMBOLS),
    "character": CharacterTokenizer(kind="character", symbols=SYMBOLS),
    "decompose": CharacterTokenizer(kind="character", decompose=True, symbols=SYMBOLS),
}


def lines(count: int, seed: int) -> list[str]:
    """Random lines whose symbols stand alone and within words."""
    draw = random.Random(seed)
    parts = [*SYMBOLS, "bat", "hat", "é", "e\u0301", "\u0301", "<", "0", " ", " ", ","]
    return ["".join(draw.choices(parts, k=draw.randint(0, 12))) for _ in range(count)]


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> TrainedTokenizer:
    """A recipe with symbols."""
    return RECIPES[request.param]


@pytest.fixture
def tokenizer(recipe: TrainedTokenizer) -> Tokenizer:
    """A tokenizer that knows all words of the lines."""
    text = lines(1000, seed=1)
    return train_tokenizers(recipe, [(text, text)], seed=1).source


def scanned(text: str) -> list[str]:
    """The symbols of a text and what is between them: the longest symbol at each place."""
    found: list[str] = []
    was_symbol = True
    while text:
        symbol = max((one for one in SYMBOLS if text.startswith(one)), key=len, default="")
        if symbol or was_symbol:
            found.append("")
        found[-1] += symbol or text[0]
        text = text[len(symbol) or 1 :]
        was_symbol = bool(symbol)
    return found


def tokens_of(recipe: TrainedTokenizer, line: str) -> list[str]:
    """The tokens of a line, one after the other."""
    if isinstance(recipe, WordTokenizer):
        for separator in recipe.separators:
            line = line.replace(separator, " ")
        return [part for word in line.split(" ") for part in scanned(word)]
    return [
        token
        for part in scanned(line)
        for token in ([part] if part in SYMBOLS else decomposed(part) if recipe.decompose else part)
    ]


def decomposed(text: str) -> str:
    """A text in Unicode's NFD."""
    return unicodedata.normalize("NFD", text)


def test_symbols_are_found_as_by_a_scan() -> None:
    symbols = Symbols(SYMBOLS)
    for line in lines(300, seed=2):
        assert symbols.split(line) == scanned(line)
        assert symbols.are_in(line) == any(part in SYMBOLS for part in scanned(line))
    assert Symbols().split("a b") == ["a b"]


def test_a_symbol_is_one_token_wherever_it_stands(
    recipe: TrainedTokenizer, tokenizer: Tokenizer
) -> None:
    several = lines(300, seed=3)
    encoded = tokenizer.encode(several)
    for line, ids in zip(several, encoded, strict=True):
        wanted = tokens_of(recipe, line)
        known = [token for token in wanted if token in SYMBOLS]
        assert [piece for piece in tokenizer.pieces(ids) if piece in SYMBOLS] == known
        assert len(ids) == len(wanted)
        assert tokenizer.encode([line]) == [ids]
        unknown = tokenizer.unknown([line])[0]
        assert [w for w, id_ in zip(wanted, ids, strict=True) if id_ == UNK] == unknown
        spelled = [tokenizer.spellings()[id_] for id_ in ids]
        known = [w if id_ != UNK else s for s, w, id_ in zip(spelled, wanted, ids, strict=True)]
        assert known == spelled
        assert len(source_units(tokenizer, line, ids)) == len(ids)


def test_text_comes_back(recipe: TrainedTokenizer, tokenizer: Tokenizer) -> None:
    several = [line for line in lines(300, seed=4) if not tokenizer.unknown([line])[0]]
    assert len(several) > 100
    ids = tokenizer.encode(several)
    texts = tokenizer.decode(ids)
    assert texts == [tokenizer.normalize(line) for line in several]
    assert tokenizer.encode(texts) == ids
    spelling = Spelling(tokenizer.surfaces())
    for line, text, row in zip(several, texts, ids, strict=True):
        between = recipe.separators[0] if isinstance(recipe, WordTokenizer) else ""
        wanted = between.join(tokens_of(recipe, line))
        assert decomposed(text) == decomposed(wanted)
        assert decomposed(spelling.text(row)).removeprefix(between) == decomposed(wanted)
        if recipe == RECIPES["character"]:
            assert text == line


def test_normalization_spares_symbols() -> None:
    recipe = CharacterTokenizer(kind="character", decompose=True, symbols=("e\u0301",))
    text = ["e\u0301 é a\u0301"]
    tokenizer = train_tokenizers(recipe, [(text, text)], seed=1).source
    assert tokenizer.decode(tokenizer.encode(text)) == ["e\u0301 é á"]


def test_a_run_keeps_its_symbols(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded == tokenizer
    several = lines(50, seed=5)
    assert loaded.encode(several) == tokenizer.encode(several)
    path = tmp_path / "vocabulary.json"
    content = json.loads(path.read_text())
    for symbols, fault in (
        ("<b>", "expected symbols to be a list of strings"),
        ([""], "a symbol is empty"),
        (["<b>", "<b>"], "a token occurs twice"),
    ):
        path.write_text(json.dumps({**content, "symbols": symbols}))
        with pytest.raises(RunError, match=fault):
            load_tokenizer(tmp_path)
    path.write_text(json.dumps({key: content[key] for key in content if key != "symbols"}))
    assert load_tokenizer(tmp_path) != tokenizer


def test_an_extended_vocabulary_keeps_symbols(tokenizer: Tokenizer) -> None:
    trainer = extender(tokenizer, 9, 1)
    trainer.add(["Q <b>QQ</b>"])
    longer = trainer.train()
    assert longer.size > tokenizer.size
    found = growth(tokenizer, longer)
    assert found is not None and found.old_size == tokenizer.size
    line = "<b>bat{0}"
    assert longer.encode([line]) == tokenizer.encode([line])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"symbols": ("a b",)}, "expected texts without spaces, found 'a b'"),
        ({"symbols": ("<b>",), "characters": True}, "'characters' spell whole words"),
        ({"symbols": ("<;>",), "separators": ";"}, "expected texts without separators"),
    ],
)
def test_what_is_no_symbol_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordTokenizer(kind="word", **fields)  # type: ignore[arg-type]


def test_data_prepared_before_symbols_stay_up_to_date() -> None:
    for kind in (WordTokenizer(kind="word"), CharacterTokenizer(kind="character")):
        assert "symbols" not in fingerprint_of(kind)

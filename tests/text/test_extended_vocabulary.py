"""The extended vocabulary: unknown tokens are copied from the source, unchanged."""

from collections.abc import Sequence

import pytest

from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    Tokenizers,
    WordTokenizer,
)
from s2s.special import BOS, EOS, PAD, UNK
from s2s.text.extended_vocabulary import EncodedSource, ExtendedVocabulary
from s2s.text.tokenizer_pair import TokenizerPair, sampling, train_tokenizers

TEXT = [
    "the cat sat on the mat",
    "a cat and a dog ran to the mat",
    "the dog sat on a cat",
    "cats and dogs ran and sat on mats",
] * 5
OTHER = ["der hund sah the cat", "das haus und die katze", "dog und cat im haus"] * 6
UNSEEN = ["the Ωμέγα sat on the Ωμέγα", "Žluťoučký dog and Žluťoučký 漢字 mat", "漢字", "a cat"]

UNIGRAM = SubwordTokenizer(kind="unigram", vocabulary=25)
BPE = SubwordTokenizer(kind="bpe", vocabulary=30)
BYTES = SubwordTokenizer(kind="unigram", vocabulary=280, byte_fallback=True)
WORDS, CHARACTERS = WordTokenizer(kind="word"), CharacterTokenizer(kind="character")


def extended_vocabulary(
    recipe: Tokenizers, source: Sequence[str] = TEXT, target: Sequence[str] = TEXT
) -> ExtendedVocabulary:
    return ExtendedVocabulary(train_tokenizers(recipe, [(source, target)], seed=1))


def separate(source: SideTokenizer, target: SideTokenizer) -> ExtendedVocabulary:
    return extended_vocabulary(
        SeparateTokenizers(kind="separate", source=source, target=target), TEXT, OTHER
    )


@pytest.mark.parametrize("recipe", [UNIGRAM, BPE, WORDS, CHARACTERS], ids=lambda r: r.kind)
def test_what_the_source_has_is_written_as_it_was(recipe: SideTokenizer) -> None:
    pair = extended_vocabulary(recipe)
    sources = pair.read(UNSEEN)
    rows = pair.targets(UNSEEN, sources)
    assert all(UNK not in row for row in rows)
    assert any(token >= pair.target.size for row in rows for token in row)
    assert pair.decode(rows, sources) == UNSEEN
    for row, source in zip(rows, sources, strict=True):
        size = pair.source.size
        assert [token - size if token >= size else token for token in source.ids] == row


def test_a_token_that_comes_again_has_one_id() -> None:
    pair = extended_vocabulary(WORDS)
    size = pair.target.size
    (source,) = pair.read(["the X sat Y X"])
    the, sat = pair.source.encode(["the sat"])[0]
    assert source.ids == [the, 2 * size + 1, sat, 2 * size + 3, 2 * size + 1]
    assert pair.targets(["Y Z the X X"], [source]) == [
        [size + 3, UNK, the, size + 1, size + 1],
    ]
    assert pair.decode([[size + 3, UNK, the, size + 1]], [source]) == ["Y ⁇ the X"]
    assert pair.pieces([size + 3, UNK, the], source.spellings) == ["Y", "<unk>", "the"]
    assert pair.targets(["Y X"], [source.cut(3)]) == [[UNK, size + 1]]


def test_known_texts_have_the_ids_they_always_had() -> None:
    for recipe in (UNIGRAM, WORDS, CHARACTERS, BYTES):
        pair = extended_vocabulary(recipe)
        sources = pair.read(TEXT[:4])
        assert [r.ids for r in sources] == pair.source.encode(TEXT[:4])
        assert pair.targets(TEXT[:4], sources) == pair.target.encode(TEXT[:4])
        assert pair.decode(pair.target.encode(TEXT[:4]), sources) == TEXT[:4]


def test_no_byte_is_unknown_to_byte_fallback() -> None:
    pair = extended_vocabulary(BYTES)
    (source,) = pair.read(["the 漢字"])
    assert max(source.ids) < pair.source.size
    assert pair.decode([source.ids], [source]) == ["the 漢字"]


def test_separate_vocabularies_meet_by_text() -> None:
    pair = separate(WORDS, WORDS)
    table = pair.target_of_source
    tokenizer, target = pair.source, pair.target
    for word, is_shared in (("cat", True), ("dog", True), ("mat", False)):
        id_ = tokenizer.encode([word])[0][0]
        assert table[id_] == (target.encode([word])[0][0] if is_shared else -1)
    assert table[[PAD, UNK, BOS, EOS]].tolist() == [-2] * 4
    # `haus` is known to the target alone, `mat` to the source alone, X to none.
    (source,) = pair.read(["mat haus X mat"])
    haus = target.encode(["haus"])[0][0]
    mat = tokenizer.encode(["mat"])[0][0]
    beyond = tokenizer.size + target.size
    assert source.ids == [mat, tokenizer.size + haus, beyond + 2, mat]
    assert pair.targets(["haus mat X"], [source]) == [[haus, target.size, target.size + 2]]
    assert pair.decode([[target.size, haus, target.size + 2]], [source]) == ["mat haus X"]


@pytest.mark.parametrize(
    ("source", "target"),
    [(UNIGRAM, BPE), (WORDS, UNIGRAM), (CHARACTERS, CHARACTERS), (UNIGRAM, CHARACTERS)],
    ids=lambda recipe: recipe.kind,
)
def test_spaces_stand_where_the_source_has_them(
    source: SideTokenizer, target: SideTokenizer
) -> None:
    """Copies of all source tokens in turn spell the source."""
    pair = separate(source, target)
    lines = ["the mat and Ωμέγα ran", "Ωμέγα"]
    sources = pair.read(lines)
    rows = [
        [
            int(pair.target_of_source[id_])
            if id_ < pair.source.size and pair.target_of_source[id_] >= 0
            else pair.target.size + source.spellings.index(spelling)
            for id_, spelling in zip(source.ids, source.spellings, strict=True)
        ]
        for source in sources
    ]
    assert [text.strip() for text in pair.decode(rows, sources)] == lines


def test_features_are_not_copied() -> None:
    recipe = SeparateTokenizers(
        kind="separate",
        source=CHARACTERS,
        target=CHARACTERS,
        source_features=WordTokenizer(kind="word", separators=";", min_count=2),
    )
    pair = extended_vocabulary(recipe, [f"{line}\tV;a" for line in TEXT], TEXT)
    (source,) = pair.read(["the ö\tV;N"])
    size = pair.source.size
    assert source.spellings == [*"the ö", "", "", ""]
    assert source.ids[4] == size + pair.target.size + 4
    *_, tab, known, unknown = source.ids
    assert unknown == UNK
    assert pair.target_of_source[[tab, known, unknown]].tolist() == [-2, -2, -2]
    assert pair.targets(["ö V"], [source])[0][0] == pair.target.size + 4
    assert pair.decode(pair.targets(["ö he"], [source]), [source]) == ["ö he"]


def test_tags_are_not_copied() -> None:
    trained = train_tokenizers(WORDS, [(TEXT, TEXT)], seed=1, tags=("<2en>",))
    pair = ExtendedVocabulary(trained)
    size = trained.target.size
    (source,) = pair.read(["<2en> a X"])
    (a,) = trained.source.encode(["a"])[0]
    assert source.ids == [trained.source.encode(["<2en>"])[0][0], a, 2 * size + 2]
    assert pair.target_of_source[source.ids[0]] == -2
    assert pair.target_of_source[a] == a
    assert pair.decode(pair.targets(["X a"], [source]), [source]) == ["X a"]


@pytest.mark.parametrize("recipe", [UNIGRAM, BPE], ids=lambda r: r.kind)
def test_whatever_segmentation_is_drawn(recipe: SubwordTokenizer) -> None:
    trained = train_tokenizers(recipe, [(TEXT, TEXT)], seed=1)
    pair = ExtendedVocabulary(
        TokenizerPair(sampling(trained.source, 0.3, (1, 1)), sampling(trained.target, 0.3, (1, 2))),
    )
    lines = ["Žluťoučký kůň sat on 漢字", "ß the mat and ŠŽ Šcatsß"] * 20
    sources = pair.read(lines)
    rows = pair.targets(lines, sources)
    assert len({tuple(source.ids) for source in sources}) > 2
    assert all(UNK not in row for row in rows)
    assert pair.decode(rows, sources) == lines


def test_text_comes_back_composed_and_with_its_separators() -> None:
    decomposed = CharacterTokenizer(kind="character", decompose=True)
    semicolons = WordTokenizer(kind="word", separators="; ")
    for recipe, text in ((decomposed, "the ö 한글"), (semicolons, "the;ö;X")):
        pair = extended_vocabulary(recipe)
        sources = pair.read([text])
        assert pair.decode(pair.targets([text], sources), sources) == [text]


def test_blank_lines() -> None:
    for recipe in (UNIGRAM, WORDS, CHARACTERS):
        pair = extended_vocabulary(recipe)
        assert pair.read(["", "a cat"])[0] == EncodedSource([], [], "")
        assert pair.read([]) == []
        assert pair.decode([], []) == []
        assert pair.decode([[]], [EncodedSource([], [], "")]) == [""]

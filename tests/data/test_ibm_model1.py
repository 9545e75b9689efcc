"""IBM Model 1: against a naive implementation, from a planted lexicon, from files of Moses."""

import gzip
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from s2s.data import ibm_model1 as module
from s2s.data.ibm_model1 import NULL, Lexicon, by_frequency, lexicon, model_one, sampled
from s2s.data.moses_lexicon import read_cells
from s2s.data.store import Corpus
from s2s.errors import DataError
from s2s.recipe.tokenizer import WordTokenizer
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.text.vocabulary import WordTrainer

Pairs = list[tuple[list[int], list[int]]]

SOURCE, TARGET = 13, 17


def corpus_of(pairs: Pairs) -> Corpus:
    sides = []
    for side in (0, 1):
        values = np.array([i for pair in pairs for i in pair[side]], dtype=np.uint16)
        offsets = np.cumsum([0, *(len(pair[side]) for pair in pairs)])
        sides += [values, offsets.astype(np.int64)]
    return Corpus(*sides)


def random_pairs(count: int, seed: int = 1) -> Pairs:
    """Lengths from 0, so that sides may be empty."""
    draw = random.Random(seed)
    return [
        (
            [draw.randrange(4, SOURCE) for _ in range(draw.randrange(0, 6))],
            [draw.randrange(4, TARGET) for _ in range(draw.randrange(0, 7))],
        )
        for _ in range(count)
    ]


def naive_model_one(pairs: Pairs, iterations: int) -> dict[tuple[int, int], float]:
    """The textbook algorithm: dictionaries, one pair of tokens at a time."""
    prob: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        count: dict[tuple[int, int], float] = defaultdict(float)
        total: dict[int, float] = defaultdict(float)
        for source, target in pairs:
            for t in target:
                norm = sum(prob[s, t] for s in [*source, NULL])
                for s in [*source, NULL]:
                    count[s, t] += prob[s, t] / norm
                    total[s] += prob[s, t] / norm
        prob = defaultdict(float, {(s, t): c / total[s] for (s, t), c in count.items()})
    return prob


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_model_one_is_the_naive_one(
    iterations: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    pairs = random_pairs(40)
    cells = model_one(corpus_of(pairs), np.arange(40), TARGET, iterations)
    keys = zip(cells.source_C.tolist(), cells.target_C.tolist(), strict=True)
    found = dict(zip(keys, cells.probs_C.tolist(), strict=True))
    assert found == pytest.approx(dict(naive_model_one(pairs, iterations)))
    sums = np.bincount(cells.source_C, weights=cells.probs_C)
    assert sums[sums > 0] == pytest.approx(1.0)


def test_only_the_chosen_pairs_are_learned_from() -> None:
    pairs = random_pairs(30)
    some = model_one(corpus_of(pairs), np.array([3, 4, 17]), TARGET)
    alone = model_one(corpus_of([pairs[3], pairs[4], pairs[17]]), np.arange(3), TARGET)
    assert np.array_equal(some.probs_C, alone.probs_C)
    assert np.array_equal(some.target_C, alone.target_C)


@pytest.mark.parametrize("pairs", [[], [([], [])], [([4], [])], [([], [5, 6])]])
def test_hardly_any_text_is_no_error(pairs: Pairs) -> None:
    corpus = corpus_of(pairs)
    made = lexicon(model_one(corpus, sampled(corpus, 1), TARGET), by_frequency(corpus, TARGET), 9)
    assert made.known == 0
    assert sorted(made.by_frequency_W.tolist()) == list(range(TARGET))


def planted(count: int) -> tuple[Pairs, dict[int, int]]:
    """Every source token has one translation; targets are shuffled."""
    draw = random.Random(2)
    ids = list(range(4, 40))
    meaning = dict(zip(ids, draw.sample(ids, len(ids)), strict=True))
    pairs = []
    for _ in range(count):
        source = draw.choices(ids, k=draw.randrange(2, 9))
        pairs.append((source, draw.sample([meaning[s] for s in source], len(source))))
    return pairs, meaning


def test_a_planted_lexicon_is_recovered() -> None:
    pairs, meaning = planted(600)
    corpus = corpus_of(pairs)
    made = lexicon(model_one(corpus, np.arange(600), 40), by_frequency(corpus, 40), 40)
    assert {s: int(made.tokens_VM[s, 0]) for s in meaning} == meaning
    assert made.probs_VM[4:, 0].min() > 0.5
    assert made.known == len(meaning)
    assert not made.probs_VM[NULL].any()
    for row in made.probs_VM:
        assert all(a >= b for a, b in pairwise(row))


def test_the_sample_is_as_large_as_allowed_and_a_function_of_the_seed() -> None:
    corpus = corpus_of(random_pairs(200))
    sizes = (corpus.source_lengths + 1) * corpus.target_lengths
    assert np.array_equal(sampled(corpus, 1), np.arange(200))
    one, again, other = (sampled(corpus, seed, 500) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert 400 < sizes[one].sum() <= 500


def test_frequent_tokens_come_first_and_of_equals_the_lower_id() -> None:
    corpus = corpus_of([([4], [9, 9, 7]), ([5], [7, 8, 9])])
    assert by_frequency(corpus, 11).tolist() == [9, 7, 8, 0, 1, 2, 3, 4, 5, 6, 10]


# ------------------------------------------------------------------------------ files


def words(lines: list[str]) -> TokenizerPair:
    sides = []
    for text in lines:
        trainer = WordTrainer(WordTokenizer(kind="word"))
        trainer.add([text])
        sides.append(trainer.train())
    return TokenizerPair(*sides)


TOKENIZERS = words(["ein Hund Katze", "a dog cat"])
LINES = "dog Hund 0.7\ncat Hund 0.1\na ein 0.9\nNULL ein 0.1\n\nmouse Maus 0.9\na NULL 0.2\n"


def by_text(path: Path) -> dict[tuple[str, str], float]:
    cells = read_cells(path, TOKENIZERS)
    sources = TOKENIZERS.source.pieces(cells.source_C.tolist())
    targets = TOKENIZERS.target.pieces(cells.target_C.tolist())
    return dict(zip(zip(sources, targets, strict=True), cells.probs_C.tolist(), strict=True))


@pytest.mark.parametrize("name", ["lex.s2t", "lex.s2t.gz"])
def test_a_lexicon_of_words_is_read_compressed_or_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = LINES.encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert by_text(path) == {("Hund", "dog"): 0.7, ("Hund", "cat"): 0.1, ("ein", "a"): 0.9}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"dog Hund 0.7\ndog Hund\n", "lex:2: expected 'target source probability', found 'dog"),
        (b"dog Hund -0.3\n", "lex:1: expected 'target source probability', found 'dog Hund -0.3'"),
        (b"dog Hund nan\n", "lex:1: expected"),
        (b"dog Hund 0.7\n\xff\n", "lex:.*: not valid UTF-8"),
        (b"Hund dog 0.7\n", "lex: none of its 1 entries is of the run's tokens"),
        (b"", "lex: none of its 0 entries"),
    ],
)
def test_what_is_no_lexicon_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "lex"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_cells(path, TOKENIZERS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["missing", "broken.gz"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "broken.gz":
        path.write_bytes(gzip.compress(LINES.encode() * 50)[:40])
    with pytest.raises(DataError, match=f"{name}: (no such file|damaged or truncated gzip file)"):
        read_cells(path, TOKENIZERS)


def test_a_lexicon_keeps_the_most_probable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    cells = module.Cells(
        np.array([5, 5, 5, 6, NULL]),
        np.array([9, 8, 7, 9, 9]),
        np.array([0.25, 0.25, 0.5, 1e-6, 1.0]),
    )
    made: Lexicon = lexicon(cells, np.arange(10), 7)
    assert made.tokens_VM[5].tolist() == [7, 8]
    assert made.probs_VM[5].tolist() == [0.5, 0.25]
    assert made.known == 1

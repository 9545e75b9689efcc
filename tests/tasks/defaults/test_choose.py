"""Defaults fit the data: choices for corpora of several kinds, and that they hold together."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s import pipeline
from s2s.errors import RunError
from s2s.pipeline.defaults import complete
from s2s.recipe.load import Draft, dump_recipe, load_recipe, parse_draft
from s2s.recipe.recipe import Recipe
from s2s.recipe.yaml import Keys
from s2s.run.directory import Run
from s2s.tasks.defaults.choice import Choice
from s2s.tasks.defaults.choose import choose_defaults
from s2s.tasks.defaults.counts import PairCounts
from s2s.tasks.defaults.sizes import LARGE, MEDIUM, SMALL, TINY
from s2s.tasks.defaults.speed import BatchShape, seconds_per_update

CPU = torch.device("cpu")
FILES = "task: translation\ndata: {kind: files, train: {source: a, target: b}}\n"
WORDS = ["".join(letters) for letters in itertools.product("abcdefgh", repeat=4)]

ZIPF = list(itertools.accumulate(1 / (1 + rank) for rank in range(len(WORDS))))

Pairs = list[tuple[str, str]]


def counts_of(pairs: Pairs, *, times: int = 1) -> PairCounts:
    """Counts as of a corpus `times` as large as these pairs."""
    counts = PairCounts()
    sources = [source for source, _ in pairs]
    counts.add(sources, [target for _, target in pairs], sources)
    counts.pairs = len(pairs) * times
    return counts


def sentences(count: int, *, length: int = 10, seed: int = 1) -> Pairs:
    """Sentences of Zipf's frequencies, targets unlike their sources."""
    draw = random.Random(seed)
    return [
        (
            " ".join(draw.choices(WORDS, cum_weights=ZIPF, k=length)),
            " ".join(
                word.upper()[::-1] for word in draw.choices(WORDS, cum_weights=ZIPF, k=length)
            ),
        )
        for _ in range(count)
    ]


def chosen(
    pairs: Pairs, text: str = FILES, *, seconds: float = 0.05, times: int = 1
) -> dict[str, Any]:
    """The values by their dotted keys, where every update takes `seconds`."""
    draft = parse_draft(Path("recipe.yaml"), text.encode())
    counts = counts_of(pairs, times=times)
    choices = choose_defaults(draft, counts, CPU, lambda *_: seconds).choices
    values = {keys: value for one in choices for keys, value in one.values.items()}
    assert draft.completed(values) is not None  # the choices hold together
    assert all(one.reason for one in choices)
    return {".".join(map(str, keys)): value for keys, value in values.items()}


def test_sentences_get_shared_subwords_and_bleu() -> None:
    found = chosen(sentences(3000), times=10)
    assert found["tokenizer"] == {"kind": "unigram", "vocabulary": 3360}  # half the words
    assert (found["metrics"], found["train.best"]) == (["bleu", "chrf"], "bleu")
    assert found["train.budget"] == "15 min"
    assert "model.copy" not in found


def test_fewer_pairs_get_fewer_pieces_more_dropout_and_more_epochs() -> None:
    found = [chosen(sentences(300), times=times) for times in (1, 10, 100, 1000)]
    pieces = [one["tokenizer"]["vocabulary"] for one in found]
    assert pieces == sorted(pieces)
    assert pieces[0] < pieces[-1]
    dropout = [one["model.dropout.encoder"] for one in found]
    assert dropout == sorted(dropout, reverse=True)
    epochs = [one["train.epochs"] for one in found]
    assert epochs == sorted(epochs, reverse=True)
    assert found[0]["train.best"] == "chrf"  # the BLEU of a weak model is nearly 0


def test_captions_are_no_pronunciations() -> None:
    """A caption has no source text, which would be a word: its target is scored as text."""
    pairs = [("", f"a {color} {animal} runs") for color in WORDS[:9] for animal in WORDS[9:60]]
    text = """task: captioning
data:
  kind: files
  train: {table: a.tsv}
  columns: {source: null, target: caption}
  image_features: [{path: a.npy, column: image}]
"""
    for tokenizer in ("", "tokenizer: {kind: word}\n"):
        found = chosen(pairs, text + tokenizer)
        assert found["metrics"] == ["exact", "bleu", "chrf"]


@pytest.mark.parametrize("pairs", [20, 60, 300])
def test_a_tiny_corpus_can_fill_its_vocabulary(pairs: int, tmp_path: Path) -> None:
    """The tokenizer is really trained: a vocabulary that is too large would be an error."""
    for name, side in (("a", 0), ("b", 1)):
        lines = [pair[side] + "\n" for pair in sentences(pairs, seed=pairs)]
        (tmp_path / name).write_text("".join(lines))
    text = FILES.replace("source: a", f"source: {tmp_path}/a").replace(
        "target: b", f"target: {tmp_path}/b"
    )
    report = pipeline.prepare(parse_draft(tmp_path / "r.yaml", text.encode()), runs=tmp_path)
    assert report.splits["train"].kept == pairs
    assert report.splits["train"].target.unknown == 0


def test_words_are_spelled_and_phones_are_tokens() -> None:
    draw = random.Random(2)
    phones = ["p", "t", "k", "aː", "ɛ", "ŋ"]
    pairs = [(word, " ".join(draw.choices(phones, k=5))) for word in WORDS[:900]]
    found = chosen(pairs)
    assert found["tokenizer"] == {
        "kind": "separate",
        "source": {"kind": "character"},
        "target": {"kind": "word"},
    }
    assert (found["metrics"], found["train.best"]) == (["g2p_wer", "per"], "g2p_wer")
    syllables = [(chr(0xAC00 + 7 * i), "k a") for i in range(900)]
    assert chosen(syllables)["tokenizer"]["source"] == {"kind": "character", "decompose": True}


def test_one_word_targets_are_not_scored_with_bleu() -> None:
    found = chosen([(word, word[::-1]) for word in WORDS[:900]])
    assert found["tokenizer"]["target"] == {"kind": "character"}
    assert (found["metrics"], found["train.best"]) == (["exact", "cer"], "exact")


def test_source_features_have_their_own_tokenizer() -> None:
    text = FILES.replace(
        "train: {source: a, target: b}",
        "train: {table: a.tsv}, columns: {source: l, target: f, source_features: m}",
    )
    draft = parse_draft(Path("recipe.yaml"), text.encode())
    counts = counts_of([(word, word + "en") for word in WORDS[:900]])
    counts.feature_characters.update("V;PST;1;NOM(2,SG)")
    found = _values(choose_defaults(draft, counts, CPU, lambda *_: 0.05).choices)
    features = found["tokenizer",]["source_features"]
    assert features == {"kind": "word", "separators": "(),;"}


def test_summaries_copy_and_are_scored_with_rouge() -> None:
    pairs = [(f"{a} {b} {a} {b}", " ".join(a.split()[:4])) for a, b in sentences(900, length=40)]
    found = chosen(pairs)
    assert (found["model.copy"], found["model.tied"]) == ("pointer", "all")
    assert (found["metrics"], found["train.best"]) == (["rouge"], "rougeL")
    assert found["data.filters.max_ratio"] == 1000.0
    capitals = [(source, target.upper()) for source, target in pairs]
    assert chosen(capitals)["tokenizer.normalization"] == "nmt_nfkc_cf"
    long = [(" ".join([source] * 4), target) for source, target in pairs]
    assert chosen(long)["data.truncate.source"] == 150


def test_replies_are_judged_by_perplexity() -> None:
    pairs = sentences(900)
    replies = [
        (source, target) for (source, _), (_, target) in itertools.product(pairs[:30], pairs[:9])
    ]
    found = chosen([*pairs, *replies])
    assert (found["train.best"], found["train.label_smoothing"]) == ("perplexity", 0.0)


def test_text_that_normalization_would_damage_keeps_its_characters() -> None:
    pairs = [(source, target.replace(" ", "\u200c", 1)) for source, target in sentences(500)]
    assert chosen(pairs)["tokenizer"]["normalization"] == "identity"
    typographic = [(s, t.replace(" ", "\u00a0", 1) + "…") for s, t in sentences(500)]
    assert "normalization" not in chosen(typographic)["tokenizer"]


def test_another_script_has_its_own_pieces() -> None:
    latin_to_cyrillic = str.maketrans("ABCDEFGH", "АБВГДЕЖЗ")
    pairs = [(source, target.translate(latin_to_cyrillic)) for source, target in sentences(500)]
    assert chosen(pairs)["tokenizer"]["kind"] == "separate"


@pytest.mark.parametrize(("seconds", "size"), [(0.001, LARGE), (0.2, SMALL), (5.0, TINY)])
def test_a_slow_machine_gets_a_smaller_model(seconds: float, size: object) -> None:
    found = chosen(sentences(3000), seconds=seconds, times=10)
    widths = {(one.encoder, one.decoder): one for one in (TINY, SMALL, MEDIUM, LARGE)}
    assert widths[found["model.encoder.width"], found["model.decoder.width"]] is size


def test_what_the_recipe_says_stays() -> None:
    said = (
        "tokenizer: {kind: bpe, vocabulary: 333}\nmodel: {embeddings: 99, dropout: {word: 0.1}}\n"
        "train: {epochs: 7, optimizer: {learning_rate: 1e-4}}\nmetrics: [chrf]\n"
    )
    found = chosen(sentences(900), FILES + said)
    for name in ("tokenizer", "model.embeddings", "train.optimizer.learning_rate", "metrics"):
        assert name not in found
    assert "train.budget" not in found  # the recipe says how long training is
    assert found["train.best"] == "chrf"  # among its metrics
    assert found["model.dropout.encoder"] == 0.4
    draft = parse_draft(Path("recipe.yaml"), (FILES + said).encode())
    recipe = draft.completed({tuple(keys.split(".")): value for keys, value in found.items()})
    assert (recipe.model.embeddings, recipe.model.dropout.word) == (99, 0.1)
    assert (recipe.train.epochs, recipe.train.optimizer.learning_rate) == (7, 1e-4)


def test_a_vocabulary_is_chosen_for_the_recipes_own_kind() -> None:
    found = chosen(sentences(900), FILES + "tokenizer: {kind: bpe}\n")
    assert found["tokenizer.vocabulary"] == 1000
    sides = "tokenizer: {kind: separate, source: {kind: character}, target: {kind: unigram}}\n"
    found = chosen(sentences(900), FILES + sides)
    assert found["tokenizer.target.vocabulary"] <= 1000
    assert "tokenizer.source.vocabulary" not in found


# --------------------------------------------------------------------------------- runs


@pytest.fixture
def draft_of(tmp_path: Path) -> Callable[..., Draft]:
    for name, side in (("a", 0), ("b", 1)):
        lines = [pair[side] + "\n" for pair in sentences(80, length=4)]
        (tmp_path / name).write_text("".join(lines))

    def make(more: str = "") -> Draft:
        text = f"task: translation\ndata: {{kind: files, train: {{source: {tmp_path}/a, "
        text += f"target: {tmp_path}/b}}}}\n" + (more or "train: {max_updates: 3}\n")
        return parse_draft(tmp_path / "r.yaml", text.encode())

    return make


def test_a_run_keeps_its_choices(draft_of: Callable[..., Draft], tmp_path: Path) -> None:
    prepared = pipeline.prepare(draft_of(), runs=tmp_path)
    assert prepared.choices
    stored = (tmp_path / "r" / "recipe.yaml").read_text(encoding="utf-8")
    assert "# chosen: " in stored
    again = pipeline.prepare(draft_of(), runs=tmp_path)
    assert (again.choices, again.redone) == ((), ())
    pipeline.train(draft_of(), runs=tmp_path, device="cpu")
    run = Run.open(tmp_path / "r")
    recipe = run.recipe
    assert dump_recipe(recipe) == dump_recipe(load_recipe(run.recipe_path))
    # The data change, and so would the choices: a run that has begun keeps them.
    (tmp_path / "a").write_text("x\n" * 80)
    assert complete(draft_of(), runs=tmp_path).recipe == recipe
    assert complete(draft_of(), runs=tmp_path, restart=True).recipe != recipe
    run.defaults_path.write_text("{damaged")
    with pytest.raises(RunError, match=r"defaults.json: expected the values that were chosen for"):
        complete(draft_of(), runs=tmp_path)
    assert complete(draft_of(), runs=tmp_path, restart=True).choices
    # A recipe without drafts is used as it is.
    assert complete(draft_of().recipe, runs=tmp_path) == (draft_of().recipe, ())


def test_the_speed_is_that_of_real_updates(draft_of: Callable[..., Draft]) -> None:
    recipe = draft_of().recipe
    shape = BatchShape(4, 5.0, 5.0, 50, 50)
    assert 0.0 < seconds_per_update(recipe, shape, CPU) < 60.0


@pytest.mark.parametrize("tied", ["none", "output", "all"])
def test_one_tokenizer_for_two_alphabets_can_be_measured(tied: str) -> None:
    """Both sides then have the ids of one vocabulary, also where they share embeddings."""
    text = FILES + f"model: {{tied: {tied}}}\ntokenizer: {{kind: character}}\n"
    pairs = [("ab", "vwxyz" * 9), ("ba", "zyxwv" * 9)] * 20
    seen = []

    def measure(recipe: Recipe, shape: BatchShape, device: torch.device) -> float:
        seen.append((shape.source_vocabulary, shape.target_vocabulary))
        return seconds_per_update(recipe, shape, device)

    draft = parse_draft(Path("recipe.yaml"), text.encode())
    assert choose_defaults(draft, counts_of(pairs), CPU, measure).choices
    assert seen and all(source == target >= 5 + 4 for source, target in seen)


def _values(choices: list[Choice]) -> dict[Keys, Any]:
    return {keys: value for one in choices for keys, value in one.values.items()}

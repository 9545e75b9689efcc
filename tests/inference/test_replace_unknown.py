"""Unknown tokens are replaced by the source words with the most attention."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from s2s.errors import DataError, UsageError
from s2s.inference.replace_unknown import UnknownReplacer, read_dictionary
from s2s.inference.translator import LineTranslator
from s2s.nn.step import Step
from s2s.recipe.search import BeamSearch, ExhaustiveSearch, GreedySearch, SampleSearch, Search
from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.search.ensemble import ensemble
from s2s.special import EOS, UNK
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import SubwordTrainer
from s2s.text.tags import Tagged
from s2s.text.tokenizer import Tokenizer
from s2s.text.vocabulary import Characters, Words
from s2s.text.word_ids import source_units
from tests.commands import Call, call
from tests.inference.test_resume import here, run_folder
from tests.inference.test_translator import Places

__all__ = ["call", "here", "run_folder"]


class Backwards:
    """Copies its source from the end, attends to the copied tokens, and lacks the same words.

    So unknown tokens come where unknown words are, which are never at the place of the output.
    """

    def __init__(self, vocabulary: int, *, attends: bool = True) -> None:
        self.vocabulary = vocabulary
        self.attends = attends

    def encode(self, source: Tensor, lengths: Tensor) -> Places:
        return Places(torch.cat([lengths.unsqueeze(1), source], dim=1))

    def start(self, memory: Places) -> Places:
        return Places(torch.zeros(len(memory.x), 1, dtype=torch.int64))

    def step(self, memory: Places, state: Places, tokens: Tensor) -> Step[Places]:
        rows = memory.x.repeat_interleave(len(tokens) // len(memory.x), dim=0)
        source, place = rows[:, 1:], rows[:, :1] - 2 - state.x
        is_end = place < 0
        token = source.gather(1, place.clamp(min=0)).masked_fill(is_end, EOS)
        logits = torch.zeros(len(tokens), self.vocabulary)
        logits[:, EOS] = -9.0  # or outputs that end too early fill a beam
        logits.scatter_(1, token, 30.0)
        weights = torch.zeros(source.shape).scatter_(1, place.clamp(min=0), 0.6)
        weights = weights + 0.4 / source.shape[1]
        return Step(logits, Places(state.x + 1), weights if self.attends else None)


def translator(
    tokenizer: Tokenizer,
    settings: Search | None = None,
    dictionary: dict[str, str] | None = None,
    **changes: Any,
) -> LineTranslator:
    made = LineTranslator(
        scorer=Backwards(tokenizer.size),
        source=tokenizer,
        target=tokenizer,
        search=settings or GreedySearch(kind="greedy"),
        device="cpu",
        longest=50,
        report=lambda _: None,
        replacer=UnknownReplacer(tokenizer, tokenizer, dictionary or {}),
    )
    return replace(made, **changes)


WORDS = Words(["a", "b", "c"])

EVERY_SEARCH = [
    GreedySearch(kind="greedy"),
    BeamSearch(kind="beam", width=3),
    SampleSearch(kind="sample", samples=2, temperature=0.1),
]


@pytest.mark.parametrize("settings", EVERY_SEARCH, ids=[s.kind for s in EVERY_SEARCH])
def test_the_word_that_was_attended_to_is_copied(settings: Search) -> None:
    lines = ["a  Übel b X\u00a0y", "", "c", "Z", "Z Z q", " "]
    found = translator(WORDS, settings)(lines)
    assert found == ["y X b Übel a", "", "c", "Z", "q Z Z", ""]
    plain = translator(WORDS, settings, replacer=None)(lines)
    assert plain == ["⁇ ⁇ b ⁇ a", "", "c", "⁇", "⁇ ⁇ ⁇", ""]


def test_a_dictionary_is_asked_for_the_word_as_it_is_written() -> None:
    found = translator(WORDS, dictionary={"Übel": "evil", "a": "never", "x": "y"})(["a Übel übel"])
    assert found == ["übel evil a"]


def test_outputs_that_are_listed_are_replaced_too() -> None:
    found = translator(WORDS, BeamSearch(kind="beam", width=3)).outputs(["a Q b"], 0, 3)
    texts = [output.text for output in found[0]]
    assert (texts[0], len(texts)) == ("b Q a", 3)
    assert all("⁇" not in text for text in texts)


def test_it_does_not_depend_on_the_lines_around() -> None:
    lines = [" ".join("aÄbÖ"[i % 4] for i in range(j, 2 * j)) for j in range(9)]
    made = translator(WORDS, BeamSearch(kind="beam", width=2))
    assert made(lines) == [made([line])[0] for line in lines]


def test_a_line_in_pieces_finds_its_words() -> None:
    line = " ".join(["a"] * 30 + ["one."] + ["b"] * 25 + ["two."] + ["c"] * 20)
    found = translator(WORDS, longest=10)([line])[0].split()
    assert sorted(found) == sorted(line.split())


def test_characters_are_copied_one_by_one() -> None:
    tokenizer = Characters(list("abc "))
    assert translator(tokenizer)(["aX bÜ☃"]) == ["☃Üb Xa"]
    decomposed = Characters(["a", "u", "\u0308"], decompose=True)
    assert source_units(decomposed, "aüx", decomposed.encode(["aüx"])[0]) == ["a", "ü", "ü", "x"]


@pytest.fixture(scope="module")
def subwords() -> Tokenizer:
    recipe = SubwordTokenizer(kind="unigram", vocabulary=18)
    trainer = SubwordTrainer(recipe, 1)
    trainer.add(["ein haus und ein baum", "das haus am see", "ein see und das haus"] * 20)
    return trainer.train()


def test_of_subwords_the_whole_word_is_copied(subwords: Tokenizer) -> None:
    line = "das  XYZ-haus und Ω."
    ids = subwords.encode([line])[0]
    units = source_units(subwords, line, ids)
    assert ids.count(UNK) >= 2
    assert {unit for token, unit in zip(ids, units, strict=True) if token == UNK} == {
        "XYZ-haus",
        "Ω.",
    }
    assert list(dict.fromkeys(units)) == line.split()
    found = translator(subwords)([line])[0]
    assert "⁇" not in found and "  " not in found
    assert {"XYZ-haus", "Ω."} <= set(found.split())


def test_tags_and_features_are_never_copied() -> None:
    tagged = Tagged(WORDS, ["<x>"])
    ids = tagged.encode(["<x> a Q"])[0]
    assert source_units(tagged, "<x> a Q", ids) == [None, "a", "Q"]
    featured = SourceFeatureTokenizer(WORDS, Words(["PL"]))
    ids = featured.encode(["a Q\tPL"])[0]
    assert source_units(featured, "a Q\tPL", ids) == ["a", "Q", None, None]


def test_ensembles_attend_together() -> None:
    members = ensemble([Backwards(WORDS.size), Backwards(WORDS.size)])
    assert translator(WORDS, scorer=members)(["a Q b"]) == ["b Q a"]


def test_without_attention_there_is_nothing_to_copy(here: Path, call: Call) -> None:
    with pytest.raises(UsageError, match="--replace-unknown needs a model with attention"):
        translator(WORDS, scorer=Backwards(WORDS.size, attends=False))(["a Q"])
    with pytest.raises(UsageError, match="exhaustive search keeps no attention"):
        translator(WORDS, ExhaustiveSearch(kind="exhaustive"))(["a Q"])
    recipe = Path("runs/toy/recipe.yaml")
    text = recipe.read_text()
    whole = "kind: general\n    heads: 1\n"
    assert whole in text
    recipe.write_text(text.replace(whole, "kind: none\n"))
    status, line = call.fault("translate", "--run", "toy", "--input", "in", "--replace-unknown")
    assert (status, line) == (
        2,
        "runs/toy: --replace-unknown needs a model with attention, and this one has none "
        "(model.attention.kind)",
    )


@pytest.mark.parametrize("row", ["eins", "a\tb\tc", "\tb", "a\t ", ""])
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "de-en.tsv"
    path.write_text(f"Haus\thouse\nHaus\thome\nsehr gut\tvery good\n{row}\n")
    with pytest.raises(DataError, match=r"de-en.tsv:4: expected source word, tab, target word"):
        read_dictionary(path)
    path.write_text("Haus\thouse\nHaus\thome\nsehr gut\tvery good")
    assert read_dictionary(path) == {"Haus": "house", "sehr gut": "very good"}


def test_the_command_replaces_every_unknown_token(here: Path, call: Call) -> None:
    Path("in").write_text("a Q b\nQ\nb b Q\n" * 5)
    Path("d.tsv").write_text("Q\tquark\na\tA\nb\tB\n")
    common = ("translate", "--run", "toy", "--input", "in", "--samples", "9", "--seed", "3")
    plain = call.output(*common).decode()
    assert plain.count("⁇") > 5
    found = call.output(*common, "--replace-unknown", "--dictionary", "d.tsv").decode()
    assert "⁇" not in found
    assert [row.split("\t")[:6] for row in found.splitlines()] == [
        row.split("\t")[:6] for row in plain.splitlines()
    ]
    for before, after in zip(plain.splitlines(), found.splitlines(), strict=True):
        words = zip(before.split("\t")[6].split(), after.split("\t")[6].split(), strict=True)
        assert all(b in ("quark", "A", "B") if a == "⁇" else a == b for a, b in words)
    without = call.output(*common, "--suppress-unknown").decode()
    assert len(without.splitlines()) == len(plain.splitlines())
    assert "⁇" not in without
    fault = call.fault(*common, "--suppress-unknown", "--replace-unknown")
    assert fault[0] == 2
    assert fault[1].startswith("--replace-unknown: has no effect where search.suppress_unknown")
    assert call.fault("translate", "--run", "toy", "--input", "in", "--dictionary", "d.tsv") == (
        2,
        "--dictionary: has no effect without --replace-unknown",
    )

"""Alignments of the training pairs: of a file, for words and tokens, and what is no alignment."""

from pathlib import Path

import numpy as np
import pytest

from s2s.data.batches import collate
from s2s.data.preparation import prepare
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import DataError, RecipeError
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s.text.tokenizer_pair import load_tokenizers

SOURCE = ["ab c d", "", "d ab", "c c ab d", "ab c d"]
TARGET = ["xy z", "z", "z xy w", "w", "xy z"]
LINKS = ["0-0 2-1", "", "1-1 1-1", "3-0", "0-1"]
"""Pairs 2 and 5 are dropped: an empty side, a duplicate."""

RECIPE = """task: translation
name: toy
data:
  kind: files
  train: {source: source, target: target}
  filters: {duplicates: true, max_dropped: 1.0}
tokenizer: {kind: separate, source: {kind: %s}, target: {kind: word}}
model: {encoder: {width: 4}, decoder: {kind: luong, width: 5}}
train: {guided_alignment: {alignments: links}}
"""


def write(name: str, lines: list[str]) -> None:
    Path(name).write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, lines in (("source", SOURCE), ("target", TARGET), ("links", LINKS)):
        write(name, lines)


def recipe(kind: str = "word", *overrides: str) -> Recipe:
    Path("recipe.yaml").write_text(RECIPE % kind)
    return load_recipe(overrides=list(overrides))


def links_of(given: Recipe) -> list[set[tuple[int, int]]]:
    """The links (source token, target token) of each training pair."""
    prepare.prepare(given, Path("runs/toy"))
    tokenizers = load_tokenizers(Path("runs/toy/tokenizer"))
    corpus = open_corpus(Path("runs/toy"), "train", tokenizers=tokenizers, is_aligned=True)
    batch = collate(corpus, np.arange(len(corpus)))
    assert batch.alignment is not None
    return [{(s, t) for t, s in one.nonzero().tolist()} for one in batch.alignment]


@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_links_stay_with_the_pairs_that_are_kept(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2s.data.sources.open.CHUNK_PAIRS", size)
    assert links_of(recipe()) == [{(0, 0), (2, 1)}, {(1, 1)}, {(3, 0)}]


def test_each_token_of_a_word_has_the_links_of_the_word() -> None:
    """A space belongs to the word after it: a b | _ c | _ d."""
    first, second, third = links_of(recipe("character"))
    assert first == {(0, 0), (1, 0), (4, 1), (5, 1)}
    assert second == {(1, 1), (2, 1), (3, 1)}
    assert third == {(6, 0), (7, 0)}


def test_a_tag_is_no_word_of_the_text() -> None:
    assert links_of(recipe("word", "data.tag=<2de>")) == [{(1, 0), (3, 1)}, {(2, 1)}, {(4, 0)}]


def test_without_a_file_they_are_learned() -> None:
    found = links_of(recipe("word", "train.guided_alignment.alignments=null"))
    assert len(found) == 3
    assert (0, 0) in found[0]  # ab and xy


def test_the_data_are_prepared_again_for_other_alignments() -> None:
    def redone(given: Recipe) -> tuple[str, ...]:
        return prepare.prepare(given, Path("runs/toy")).redone

    assert redone(recipe()) == ("tokenizer", "data")
    assert redone(recipe("word", "train.guided_alignment.weight=2")) == ()
    write("links", ["0-0", *LINKS[1:]])
    assert redone(recipe()) == ("data",)
    assert redone(recipe("word", "train.guided_alignment.alignments=null")) == ("data",)
    assert redone(recipe("word", "train.guided_alignment=null")) == ("data",)
    assert not Path("runs/toy/data/alignment.npy").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0-0 2/1", *LINKS[1:]], "links:1: expected links such as 0-0 1-2, found '2/1'"),
        (["-1-0", *LINKS[1:]], "links:1: expected links such as 0-0 1-2, found '-1-0'"),
        (
            [*LINKS[:2], "2-0", *LINKS[3:]],
            "links:3: link 2-0 is beyond the source, which has 2 words",
        ),
        (
            [*LINKS[:3], "0-0 0-1", *LINKS[4:]],
            "links:4: link 0-1 is beyond the target, which has 1 words",
        ),
        (LINKS[:3], "links: expected a line for each training pair, found no more than 3"),
        (
            [*LINKS, "", "0-0"],
            "links: expected a line for each of 5 training pairs, found 7; lines follow the pairs "
            "as they are read, before filters",
        ),
    ],
)
def test_what_is_no_alignment_of_the_pairs(lines: list[str], message: str) -> None:
    write("links", lines)
    with pytest.raises(DataError) as found:
        prepare.prepare(recipe(), Path("runs/toy"))
    assert str(found.value).startswith(message)
    assert not Path("runs/toy/data").exists()


def test_a_file_that_is_not_there_is_named_with_its_key() -> None:
    Path("links").unlink()
    with pytest.raises(DataError, match=r"^train.guided_alignment.alignments: links: no such file"):
        prepare.prepare(recipe(), Path("runs/toy"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.attention={kind: none}"], "train.guided_alignment needs a model with attention"),
        (
            ["model.attention={kind: hard}"],
            "train.guided_alignment guides soft attention, found model.attention 'hard'",
        ),
        (
            ["data.hold_out={share: 0.1}"],
            "train.guided_alignment.alignments has a line for each training pair",
        ),
        (
            ["data.synthetic=[{run: a, source: b}]"],
            "a line for each training pair, and data.synthetic makes further ones",
        ),
        (
            ["train.distill=a"],
            "a line for each training pair, and train.distill makes further ones",
        ),
        (
            ["tokenizer={kind: unigram, sampling: {alpha: 0.1}}"],
            "train.guided_alignment links the tokens of one segmentation",
        ),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe("word", *overrides)

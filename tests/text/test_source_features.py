"""Source features: read from any table, split by their own tokenizer, learned by a model."""

import csv
import io
import itertools
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s import pipeline
from s2s.data.sources.fingerprint import fingerprint_of
from s2s.data.sources.open import open_split
from s2s.errors import DataError
from s2s.recipe.data import Columns, FilesData, FileSet
from s2s.recipe.load import load_recipe
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SubwordTokenizer,
    WordTokenizer,
)
from s2s.run.directory import Run
from s2s.special import UNK
from s2s.text.extension import extender
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.tags import Tagged
from s2s.text.tokenizer_pair import (
    TokenizerPair,
    load_tokenizers,
    sampling,
    train_tokenizers,
)
from s2s.text.word_ids import source_units, source_word_ids

LEMMAS = ["gehen", "Aa machen", "V", "tab\there", ""]
FEATURES = ["V;PST;NOM(3,SG)", "V.PTCP;PRS", "N;ACC(PL)", "", "N"]
LINES = [f"{lemma}\t{features}" for lemma, features in zip(LEMMAS, FEATURES, strict=True)]

CHARACTERS = CharacterTokenizer(kind="character")
SYMBOLS = WordTokenizer(kind="word", separators=";(),")
BEFORE = SeparateTokenizers(
    kind="separate",
    source=CHARACTERS,
    target=CHARACTERS,
    source_features=SYMBOLS,
    source_features_place="before",
)


def trained(lines: list[str], recipe: SeparateTokenizers | None = None) -> TokenizerPair:
    recipe = recipe or SeparateTokenizers(
        kind="separate", source=CHARACTERS, target=CHARACTERS, source_features=SYMBOLS
    )
    return train_tokenizers(recipe, [(lines, lines)], seed=1)


def test_what_is_encoded_comes_back_and_so_does_the_tokenizer(tmp_path: Path) -> None:
    pair = trained([*LINES, "no features"])
    tokenizer = pair.source
    ids = tokenizer.encode(LINES)
    texts = ["V;PST;NOM;3;SG", "V.PTCP;PRS", "N;ACC;PL", "", "N"]
    assert tokenizer.decode(ids) == [f"{a}\t{b}" for a, b in zip(LEMMAS, texts, strict=True)]
    assert tokenizer.decode(ids) == [tokenizer.normalize(line) for line in LINES]
    assert all(UNK < token < tokenizer.size for row in ids for token in row)
    assert tokenizer.encode(["no features", "", "tab\there"])[:2] == [
        tokenizer.encode(["no features\t"])[0][:-1],
        [],
    ]
    assert [tokenizer.encode([line])[0] for line in LINES] == ids
    pair.save(tmp_path)
    loaded = load_tokenizers(tmp_path)
    assert (loaded.source, loaded.target) == (pair.source, pair.target)
    assert loaded.source.encode(LINES) == ids
    assert isinstance(loaded.source, SourceFeatureTokenizer) and not isinstance(
        loaded.target, SourceFeatureTokenizer
    )


def test_features_before_the_source_are_the_same_tokens_in_another_order(tmp_path: Path) -> None:
    """The same ids, texts and sizes; only the two sides of the separator change places."""
    lines = [*LINES, "no features"]
    after = trained(lines).source
    pair = trained(lines, BEFORE)
    before = pair.source
    assert before != after and before.size == after.size
    asked = [*lines, "g?\tV;FUT", "?g\tFUT;V", "?\t", "\tFUT"]
    separator = after.size - 1
    for line, ids, moved in zip(asked, after.encode(asked), before.encode(asked), strict=True):
        assert separator not in ids or ids.count(separator) == 1
        place = ids.index(separator) if separator in ids else len(ids)
        assert moved == [*ids[place + 1 :], *ids[place : place + 1], *ids[:place]]
        assert before.decode([moved]) == after.decode([ids])
        assert before.normalize(line) == after.normalize(line)
        assert len(before.unknown([line])[0]) == moved.count(UNK)
    assert before.pieces(before.encode(["V\tV;PST"])[0]) == ["V", "PST", "⇥", "V"]
    assert before.unknown(["g?\tV"]) == [["?"]] and before.unknown(["?\tFUT"]) == [["", "?"]]
    pair.save(tmp_path)
    assert load_tokenizers(tmp_path).source == before
    grown = extender(before, most=9, min_count=1)
    grown.add(["?\tFUT"])
    longer = grown.train()
    assert longer.decode(longer.encode(["g?\tV;FUT"])) == ["g?\tV;FUT"]
    assert longer.pieces(longer.encode(["g?\tV;FUT"])[0]) == ["V", "FUT", "⇥", "g", "?"]


def test_sampled_subwords_stay_behind_their_features() -> None:
    lines = [f"{word} {word}\tA;{word[0]}" for word in ("abba", "baab", "bbb", "aab") * 9]
    recipe = SeparateTokenizers(
        kind="separate",
        source=SubwordTokenizer(kind="bpe", vocabulary=12),
        target=CHARACTERS,
        source_features=SYMBOLS,
        source_features_place="before",
    )
    sampled = sampling(trained(lines, recipe).source, 0.5, (1,))
    ids = sampled.encode(lines)
    assert all(
        sampled.pieces(row)[:3] == ["A", line[-1], "⇥"]
        for row, line in zip(ids, lines, strict=True)
    )
    assert sampled.decode(ids) == lines


def test_words_of_tokens_follow_the_order_of_tokens() -> None:
    tokenizer = Tagged(trained(LINES, BEFORE).source, ["<x>"])
    for front, tags in (("", []), ("<x> ", [0])):
        line = f"{front}Aa en\tN;PL"
        (ids,) = tokenizer.encode([line])
        shift = len(tags)
        words = [2, 2, 2, 0, 0, 1, 1, 1]  # N, PL and the separator; Aa; a space and en
        words = [*tags, *(shift + word for word in words)]
        assert source_word_ids(tokenizer, line, ids) == words
        assert source_units(tokenizer, line, ids) == [*[None] * (3 + shift), *"Aa en"]
    (ids,) = tokenizer.encode(["Aa en"])
    assert source_word_ids(tokenizer, "Aa en", ids) == [0, 0, 1, 1, 1]
    assert source_units(tokenizer, "Aa en", ids) == [*"Aa en"]


def test_data_prepared_without_a_place_stay_up_to_date() -> None:
    after = SeparateTokenizers(
        kind="separate", source=CHARACTERS, target=CHARACTERS, source_features=SYMBOLS
    )
    assert "source_features_place" not in fingerprint_of(after)
    assert fingerprint_of(BEFORE) == {**fingerprint_of(after), "source_features_place": "before"}


def test_a_feature_is_no_letter() -> None:
    """The feature V and the letter V have different ids, and every id has one meaning."""
    tokenizer = trained(LINES).source
    (ids,) = tokenizer.encode(["V\tV"])
    assert len(set(ids)) == 3
    assert tokenizer.pieces(ids) == ["V", "⇥", "V"]
    letters = {letter for lemma in LEMMAS for letter in lemma}
    symbols = {"V", "PST", "NOM", "3", "SG", "V.PTCP", "PRS", "N", "ACC", "PL"}
    assert tokenizer.size == 4 + len(letters) + len(symbols) + 1
    assert tokenizer.encode(["g?\tV;FUT"])[0].count(UNK) == 2
    assert tokenizer.decode(tokenizer.encode(["g?\tV;FUT"])) == ["g⁇\tV;⁇"]


def test_subwords_can_have_features() -> None:
    lines = [f"{word} {word}\tA;{word[0]}" for word in ("abba", "baab", "bbb", "aab") * 9]
    recipe = SeparateTokenizers(
        kind="separate",
        source=SubwordTokenizer(kind="bpe", vocabulary=12),
        target=CHARACTERS,
        source_features=SYMBOLS,
    )
    tokenizer = trained(lines, recipe).source
    assert tokenizer.decode(tokenizer.encode(lines)) == lines


def test_tables_give_source_tab_features(tmp_path: Path) -> None:
    rows = [[lemma, "x", features] for lemma, features in zip(LEMMAS, FEATURES, strict=True)]
    rows[0][2] += "\tx"
    names = ["lemma", "form", "features"]
    written = io.StringIO()
    csv.writer(written).writerows([names, *rows])
    (tmp_path / "t.csv").write_text(written.getvalue())
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in objects))
    pq.write_table(pa.Table.from_pylist(objects), tmp_path / "t.parquet")
    expected = [(line, "x") for line in LINES]
    expected[0] = (f"{LINES[0]} x", "x")  # a tab in features would move the border
    columns = Columns(source="lemma", target="form", source_features="features")
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        data = FilesData(kind="files", train=FileSet(table=str(tmp_path / name)), columns=columns)
        split = open_split(data, "train")
        assert split is not None
        (chunk,) = split.chunks()
        assert list(zip(chunk.source, chunk.target, strict=True)) == expected
    (tmp_path / "t.tsv").write_text("lemma\tform\tfeatures\na\tb\tN\na\tb\n")
    data = FilesData(kind="files", train=FileSet(table=str(tmp_path / "t.tsv")), columns=columns)
    split = open_split(data, "train")
    assert split is not None
    with pytest.raises(DataError, match=r"1 with 2 fields where the header has 3 \(line 3\)"):
        list(split.chunks())


RECIPE = """\
task: translation
name: inflect
data:
  kind: files
  train: {table: train.tsv}
  columns: {source: lemma, target: form, source_features: features}
tokenizer:
  kind: separate
  source: {kind: character}
  target: {kind: character}
  source_features: {kind: word, separators: ;}
  source_features_place: {place}
model:
  embeddings: 20
  encoder: {width: 12}
  decoder: {kind: luong, width: 28}
  dropout: {embedding: 0.0, encoder: 0.0, decoder: 0.0, readout: 0.0}
train:
  epochs: 40
  batch_tokens: 100
  optimizer: {learning_rate: 2e-2}
  label_smoothing: 0.0
  precision: fp32
  validate_every: 1000
search: {kind: greedy}
"""


@pytest.mark.parametrize("place", ["after", "before"])
def test_a_model_inflects_by_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    """One lemma, three features, three forms; a line without features is reported."""
    monkeypatch.chdir(tmp_path)
    endings = {"N;SG": "", "N;PL": "i", "V": "o"}
    stems = ["".join(letters) for letters in itertools.product("abc", repeat=2)]
    rows = [f"{stem}\t{stem}{end}\t{key}\n" for stem in stems for key, end in endings.items()]
    Path("train.tsv").write_text("lemma\tform\tfeatures\n" + "".join(rows))
    Path("recipe.yaml").write_text(RECIPE.replace("{place}", place))
    pipeline.train(load_recipe(None))
    asked = "".join(f"{stem}\t{key}\n" for stem in stems for key in endings) + "\nab\n"
    found = io.BytesIO()
    run = Run.open(Path("runs/inflect"))
    capfd.readouterr()
    pipeline.translate(run=run, source=io.BytesIO(asked.encode()), target=found)
    *forms, empty, _ = found.getvalue().decode().splitlines()
    assert forms == [stem + end for stem in stems for end in endings.values()]
    assert empty == ""
    assert capfd.readouterr().err == (
        "s2s: 1 of 29 lines have no features: expected source, tab, features\n"
    )

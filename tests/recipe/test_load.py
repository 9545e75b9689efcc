"""Recipes as users write them, well and badly: every message, and where it points."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from s2s.errors import RecipeError
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.load import load_recipe, override_recipe
from s2s.recipe.metrics import METRICS
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import BeamSearch
from s2s.recipe.tokenizer import SubwordTokenizer

BASE = """task: translation
data: {kind: generated, corpus: dates}
tokenizer: {kind: unigram}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder called `here`, made the current one."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def load(text: str | bytes, *overrides: str) -> Recipe:
    Path("recipe.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_recipe(None, overrides)


def faults(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides)
    assert str(caught.value).splitlines() == list(caught.value.faults)
    return list(caught.value.faults)


KINDS = "'unigram', 'bpe', 'character', 'word', 'from_run', 'sentencepiece', 'separate'"
METRIC_NAMES = ", ".join(f"'{name}'" for name in METRICS)

HARD = "model: {attention: {kind: hard}, decoder: {kind: luong}}"
MONOTONIC = "model: {attention: {kind: hard_monotonic}, decoder: {kind: luong%s}%s}"

BAD_FIELDS = [
    # unknown keys
    ("modle: {}", "4: modle: unknown key (did you mean 'model'?)"),
    ("seed_: 1", "4: seed_: unknown key (did you mean 'seed'?)"),
    ("xyzzy: 1", "4: xyzzy: unknown key"),
    ("'': 1", "4: (empty): unknown key"),
    (
        "model:\n  layrs: 2",
        "5: model.layrs: unknown key (did you mean model.encoder.layers or model.decoder.layers?)",
    ),
    (
        "model:\n  encoder: {widht: 3}",
        "5: model.encoder.widht: unknown key (did you mean 'width'?)",
    ),
    (
        "train: {lr: 1e-4}",
        "4: train.lr: unknown key (did you mean train.optimizer.learning_rate?)",
    ),
    (
        "train: {learning_rate: 1e-4}",
        "4: train.learning_rate: unknown key (did you mean train.optimizer.learning_rate?)",
    ),
    (
        "search: {kind: greedy, width: 5}",
        "4: search.width: unknown key ('width' belongs to kind 'beam' or 'exhaustive')",
    ),
    # wrong types
    ("seed: '1'", "4: seed: expected a whole number, found '1' (text)"),
    ("seed: 1.5", "4: seed: expected a whole number, found 1.5"),
    ("seed: true", "4: seed: expected a whole number, found true"),
    ("seed: null", "4: seed: expected a whole number, found null"),
    ("seed: 1:30", "4: seed: expected a whole number, found '1:30' (text)"),
    ("seed: !!int x", "4: seed: expected a whole number, found 'x' (text)"),
    ("seed: [1]", "4: seed: expected a whole number, found a list"),
    ("model: 3", "4: model: expected a section (key: value), found 3"),
    ("model: []", "4: model: expected a section (key: value), found an empty list"),
    ("model:", "4: model: expected a section (key: value), found null"),
    (
        "search: beam",
        "4: search: expected a section (key: value), found 'beam' (text); write {kind: beam}",
    ),
    ("metrics: bleu", "4: metrics: expected a list, found 'bleu' (text); write [bleu]"),
    ("metrics: {a: 1}", "4: metrics: expected a list, found a section"),
    ("name: 12", '4: name: expected text, found 12; in quotes it is text: "12"'),
    (
        "model: {encoder: {bidirectional: yes}}",
        "4: model.encoder.bidirectional: expected true or false, found 'yes' (text)",
    ),
    (
        "train: {optimizer: {learning_rate: fast}}",
        "4: train.optimizer.learning_rate: expected a number, found 'fast' (text)",
    ),
    # ranges, choices, patterns
    ("train:\n  epochs: 0", "5: train.epochs: expected at least 1, found 0"),
    ("train: {batch_tokens: 9}", "4: train.batch_tokens: expected at least 16, found 9"),
    (
        "train: {batch_tokens: large}",
        "4: train.batch_tokens: expected a whole number or 'auto', found 'large'",
    ),
    ("train: {batch_tokens: null}", "4: train.batch_tokens: expected a whole number, found null"),
    ("train: {clip_norm: 0}", "4: train.clip_norm: expected more than 0, found 0"),
    ("model: {dropout: {word: 1.0}}", "4: model.dropout.word: expected less than 1, found 1.0"),
    (
        "train: {schedule: {kind: cosine, floor: 2}}",
        "4: train.schedule.floor: expected at most 1, found 2",
    ),
    ("metrics: []", "4: metrics: expected a list of at least 1, found an empty list"),
    (
        "metrics:\n- bleu\n- blue",
        f"6: metrics[1]: expected one of {METRIC_NAMES}, found 'blue' (did you mean 'bleu'?)",
    ),
    (
        "train: {optimizer: {kind: sgd}}",
        "4: train.optimizer.kind: expected one of 'adam', 'adamw', found 'sgd'",
    ),
    (
        "name: a b",
        "4: name: expected at most 255 letters, digits, '.', '_' and '-', the first a letter or "
        "digit, found 'a b'",
    ),
    (
        "search: {}",
        "4: search.kind: missing key, one of 'greedy', 'beam', 'sample', 'exhaustive', 'mbr', "
        "'rerank'",
    ),
    (
        "search: {kind: bean}",
        "4: search.kind: expected one of 'greedy', 'beam', 'sample', 'exhaustive', 'mbr', "
        "'rerank', found 'bean' (did you mean 'beam'?)",
    ),
    (
        "search: {kind: 3}",
        "4: search.kind: expected one of 'greedy', 'beam', 'sample', 'exhaustive', 'mbr', "
        "'rerank', found 3",
    ),
    # rules that tie fields together
    (
        "train:\n  optimizer:\n    weight_decay: 0.1",
        "6: train.optimizer: weight_decay needs optimizer 'adamw'",
    ),
    (
        "metrics: [bleu, rouge]\ntrain:\n  best: chrf",
        "6: train.best 'chrf' is not among the values of the metrics, bleu, rouge1, rouge2, "
        "rougeL; 'loss' is always available",
    ),
    (
        "metrics: [bleu, copied]\nmodel:\n  copy: pointer",
        "4: metrics: 'copied' is not for a model with model.copy, whose training targets are not "
        "stored as whole texts",
    ),
    (
        "scoring:\n  rouge_tokens: space\n  stem: true",
        "6: scoring: stem needs rouge_tokens 'rouge'",
    ),
    (
        "model:\n  attention: {kind: none}",
        "4: model: decoder 'stacked' needs attention; with attention 'none' use 'luong'",
    ),
    (
        "model:\n  attention: {kind: hard}",
        "5: model: attention 'hard' needs a decoder whose recurrence reads no context: expected "
        "decoder 'luong', found 'stacked'",
    ),
    (
        "model:\n  attention: {kind: hard, score: {kind: dot, heads: 2}}\n  decoder: {kind: luong}",
        "5: model: attention.score.heads: attention 'hard' has one alignment, and so one head; "
        "remove it",
    ),
    *(
        (MONOTONIC % (inside, beside), expected)
        for inside, beside, expected in (
            (
                ", input_feeding: true",
                "",
                "4: model: decoder.input_feeding feeds a context, which attention "
                "'hard_monotonic' does not have; remove it",
            ),
            (
                "",
                ", copy: pointer",
                "4: model: copy 'pointer' copies by soft attention, not by attention "
                "'hard_monotonic'; remove it",
            ),
            (
                "",
                ", coverage: true",
                "4: model: coverage is of soft attention, not of attention 'hard_monotonic'; "
                "remove it",
            ),
            (
                "",
                ", context_gate: true",
                "4: model: context_gate weighs a context, which attention 'hard_monotonic' does "
                "not have; remove it",
            ),
        )
    ),
    *(
        (f"{HARD}\n{beside}", f"5: {expected}")
        for beside, expected in (
            (
                "train: {coverage_loss: 1.0}",
                "train.coverage_loss is of soft attention, not of model.attention 'hard'; remove "
                "it",
            ),
            (
                "train: {r_drop: 1.0}",
                "train.r_drop is not for model.attention 'hard', whose loss sums over alignments; "
                "remove it",
            ),
            (
                "train: {scheduled_sampling: {kind: constant}}",
                "train.scheduled_sampling is not for model.attention 'hard', whose loss sums over "
                "alignments; remove it",
            ),
            (
                "search: {kind: greedy, shortlist: 10}",
                "search.shortlist is for large vocabularies, and model.attention 'hard' is for "
                "small ones; remove it",
            ),
        )
    ),
    # what YAML allows and a recipe does not
    ("seed: .inf", "4: seed: expected a finite number, found .inf"),
    ("train: {clip_norm: 1e999}", "4: train.clip_norm: expected a finite number, found 1e999"),
    (
        "model: {dropout: {word: .nan}}",
        "4: model.dropout.word: expected a finite number, found .nan",
    ),
    ("seed: 9223372036854775808", "4: seed: the number is too large: 9223372036854775808"),
    ("seed: 0x" + "f" * 9000, "4: seed: the number is too large: 0xffffffffffffffffff"),
    ("seed: " + "9" * 9000, "4: seed: the number is too large: 99999999999999999999"),
    ("seed: 1\nseed: 2", "5: seed: duplicate key (first on line 4)"),
    ("seed: !foo 1", "4: seed: unknown tag '!foo'"),
    ("model: !foo {a: 1}", "4: model: unknown tag '!foo'"),
    ("name: !!python/object:os.system rm", "4: name: unknown tag '!!python/object:os.system'"),
    ("name: !!binary aGk=", "4: name: unknown tag '!!binary'"),
    ("? [a]\n: 1", "4: expected a name as key, found a list or a section"),
    (r'name: "\ud800"', r"4: name: not valid text: '\ud800'"),
    (r'name: "a\0b"', r"4: name: not valid text: 'a\x00b'"),
    ("model: &a {<<: *a}", "4: model: '<<' can add only another section"),
    ("model: {<<: 3}", "4: model: '<<' can add only another section"),
    ("model: &a {encoder: *a}", "4: model: nested too deeply, or far too large"),
    # times
    (
        "train: {budget: 15}",
        "4: train.budget: expected a time with its unit, found 15; write '15 min', or s or h",
    ),
    (
        "train: {budget: 15 hours}",
        "4: train.budget: expected a time such as '90 s', '15 min' or '1.5 h', found '15 hours'",
    ),
]


@pytest.mark.parametrize(("yaml", "expected"), BAD_FIELDS)
def test_one_fault_of_a_field(yaml: str, expected: str) -> None:
    assert faults(BASE + yaml + "\n") == [f"recipe.yaml:{expected}"]


FILES = """task: translation
tokenizer: {kind: unigram}
data: {kind: files, train: {table: a.tsv}}
"""
DATASET = """task: translation
tokenizer: {kind: unigram}
data: {kind: dataset, dataset: a/b}
"""
BAD_DATA = [
    (
        FILES + "train:\n  schedule: {kind: plateau}\n",
        (),
        "recipe.yaml:5: train.schedule 'plateau' needs validation pairs, and data has none; "
        "data.hold_out takes some from training",
    ),
    (
        FILES,
        ("data.hold_out={}", "data.validation.table=b.tsv"),
        "--set data.hold_out: data: hold_out excludes 'validation'; give one or the other",
    ),
    (
        DATASET,
        ("data.hold_out={}",),
        "--set data.hold_out: data: hold_out excludes splits.validation; make the latter null",
    ),
]


@pytest.mark.parametrize(("text", "overrides", "expected"), BAD_DATA)
def test_data_that_do_not_fit(text: str, overrides: tuple[str, ...], expected: str) -> None:
    assert faults(text, *overrides) == [expected]


SEPARATE = "tokenizer={kind: separate, source: {kind: word}, target: {kind: word}}"


def test_features_need_a_tokenizer_and_a_column() -> None:
    both = (SEPARATE, "tokenizer.source_features={kind: word}", "data.columns.source_features=f")
    assert load(FILES, *both).data.columns.source_features == "f"
    assert faults(FILES, both[0], both[2]) == [
        "--set data.columns.source_features: data.columns.source_features needs "
        "tokenizer.source_features "
        "(of a 'separate' tokenizer)"
    ]
    assert faults(DATASET, *both[:2]) == [
        "--set tokenizer.source_features: tokenizer.source_features needs "
        "data.columns.source_features, the column to "
        "read them from"
    ]
    assert faults(FILES, *both[:2]) != []
    assert faults(FILES, *both, "data.truncate.source=9") == [
        "--set data.truncate.source: data.truncate.source would cut source features off, or the "
        "source that they belong to; remove it"
    ]
    before = "tokenizer.source_features_place=before"
    assert faults(FILES, *both, before, "data.truncate.source=9") != []
    assert faults(FILES, both[0], before) == [
        "--set tokenizer.source_features_place: tokenizer: source_features_place needs "
        "source_features, the tokenizer of them"
    ]
    text = "data.train={source: a, target: b}"  # lines may be source, tab, features
    assert load(FILES, *both[:2], text).data.columns.source_features is None


def test_r_drop_needs_something_to_drop() -> None:
    weight = "train.r_drop=1"
    nothing = "model.dropout={embedding: 0, encoder: 0, decoder: 0, readout: 0}"
    assert load(FILES, weight, nothing, "model.dropout.word=0.1").train.r_drop == 1.0
    assert load(FILES, nothing).train.r_drop == 0.0
    assert faults(FILES, weight, nothing) == [
        "--set train.r_drop: train.r_drop needs model.dropout; without it two passes are equal"
    ]


def test_data_held_out_count_as_validation() -> None:
    plateau = "train.schedule={kind: plateau}"
    assert load(FILES, plateau, "data.hold_out={}").data.has_validation
    assert not load(FILES).data.has_validation
    assert load(DATASET, plateau).data.has_validation
    without = "data.splits.validation=null"
    assert not load(DATASET, without).data.has_validation
    assert load(DATASET, plateau, without, "data.hold_out={share: 0.3}").data.has_validation


BAD_FILES = [
    ("", "1: expected sections (key: value), found nothing"),
    ("# only a comment\n", "1: expected sections (key: value), found nothing"),
    ("- a\n", "1: expected sections (key: value), found a list"),
    ("text\n", "1: expected sections (key: value), found text"),
    ("a: [1", "1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    ("a: 1\n\tb: 2", "2: not valid YAML: found character '\\t' that cannot start any token"),
    ("a: *b", "1: not valid YAML: found undefined alias 'b'"),
    ("a: 1\n---\nb: 2", "2: expected one YAML document, found another one ('---')"),
    ("a: 1\nb: \a", "2: not valid YAML: character 7 is not allowed"),
    (b"a: 1\nb: \xff\xfe", "2: not valid UTF-8"),
    ("task: x\n".encode("utf-16"), "1: not valid UTF-8"),
    ("[" * 500, "1: not valid YAML: nested too deeply"),
]


@pytest.mark.parametrize(("content", "expected"), BAD_FILES)
def test_a_file_that_is_no_recipe(content: str | bytes, expected: str) -> None:
    assert faults(content) == [f"recipe.yaml:{expected}"]


def test_missing_sections_and_keys() -> None:
    assert faults("task: translation\ndata:\n  kind: dataset\n") == [
        "recipe.yaml:2: data.dataset: missing key",
    ]
    (fault,) = faults(
        "task: translation\ntokenizer: {vocabulary: 9}\ndata: {kind: generated, corpus: dates}\n"
    )
    assert fault == f"recipe.yaml:2: tokenizer.kind: missing key, one of {KINDS}"


def test_all_faults_in_one_pass_sorted_by_line() -> None:
    text = """task: translate
data:
  kind: files
  train: {source: a}
  colums: {}
tokenizer:
  kind: separate
  source: {kind: wrd}
  target: {kind: bpe, vocabulary: 3}
model:
  tied: al
  tied: all
search: {kind: beam, width: 0}
"""
    assert faults(text, "seed=x", "train.epochs=-1") == [
        "recipe.yaml:1: task: expected one of 'translation', 'captioning', 'lm', 'classify', "
        "'tag', found 'translate' (did you mean 'translation'?)",
        "recipe.yaml:4: data.train: expected 'source' and 'target' (parallel text), "
        "'target' alone (of a language model), or 'table'",
        "recipe.yaml:5: data.colums: unknown key (did you mean 'columns'?)",
        "recipe.yaml:8: tokenizer.source.kind: expected one of 'unigram', 'bpe', 'character',"
        " 'word', 'from_run', 'sentencepiece', found 'wrd' (did you mean 'word'?)",
        "recipe.yaml:9: tokenizer.target.vocabulary: expected at least 6, found 3",
        "recipe.yaml:11: model.tied: expected one of 'none', 'output', 'all', found 'al'"
        " (did you mean 'all'?)",
        "recipe.yaml:12: model.tied: duplicate key (first on line 11)",
        "recipe.yaml:13: search.width: expected at least 1, found 0",
        "--set seed: expected a whole number, found 'x' (text)",
        "--set train.epochs: expected at least 1, found -1",
    ]


BAD_OVERRIDES = [
    ("seed", "--set seed: expected PATH=VALUE, such as seed=2"),
    ("=1", "--set : expected PATH=VALUE, such as seed=2"),
    ("a..b=1", "--set a..b: expected PATH=VALUE, such as seed=2"),
    ("modle.tied=all", "--set modle.tied: modle: unknown key (did you mean 'model'?)"),
    ("model.tide=all", "--set model.tide: unknown key (did you mean 'tied'?)"),
    ("model={tide: all}", "--set model: model.tide: unknown key (did you mean 'tied'?)"),
    ("data.corpus.x=1", "--set data.corpus.x: 'data.corpus' is not a section"),
    ("seed=[", "--set seed: not valid YAML: expected the node content, but found '<stream end>'"),
    ("seed=!foo 1", "--set seed: unknown tag '!foo'"),
    ("seed=.nan", "--set seed: expected a finite number, found .nan"),
    ("seed=", "--set seed: expected a whole number, found null"),
    (
        "data.filters.unseen=all",
        "--set data.filters.unseen: expected one of false, 'pairs', 'sources', found 'all'",
    ),
    ("metrics=[x]", f"--set metrics: metrics[0]: expected one of {METRIC_NAMES}, found 'x'"),
    ("search.width=0", "--set search.width: expected at least 1, found 0"),
]


@pytest.mark.parametrize(("override", "expected"), BAD_OVERRIDES)
def test_a_bad_override(override: str, expected: str) -> None:
    assert faults(BASE, override) == [expected]


def test_overrides_change_fields_and_create_sections() -> None:
    recipe = load(
        BASE + "train: {epochs: 3}\n",
        "train.epochs=7",
        "train.optimizer.learning_rate=1e-4",
        "search.width=10",
        "metrics=[chrf, bleu]",
        "data.pairs=200",
        "name=other",
    )
    assert (recipe.train.epochs, recipe.train.optimizer.learning_rate) == (7, 1e-4)
    assert recipe.search == BeamSearch(kind="beam", width=10)
    assert recipe.metrics == ("chrf", "bleu")
    assert recipe.name == "other"


def test_overrides_are_texts_or_a_mapping() -> None:
    """JSON is YAML, so that a value of Python means what the same text means."""
    texts = [
        "train.epochs=7",
        "search={kind: greedy}",
        "name='1e3'",
        "train.optimizer.epsilon=1e-7",
        "train.max_updates=null",
    ]
    mapping = {
        "train.epochs": 7,
        "search": {"kind": "greedy"},
        "name": "1e3",
        "train.optimizer.epsilon": 1e-7,
        "train.max_updates": None,
    }
    Path("recipe.yaml").write_text(BASE)
    recipe = load_recipe(Path("recipe.yaml"), mapping)
    assert recipe == load_recipe("recipe.yaml", texts)
    assert recipe.name == "1e3"
    assert recipe.train.optimizer.epsilon == 1e-7


def test_a_recipe_in_memory_is_overridden_and_checked_as_a_whole() -> None:
    recipe = load(BASE)
    assert override_recipe(recipe, {}) == recipe
    changed = override_recipe(recipe, {"seed": 7, "search": {"kind": "greedy"}})
    assert changed == load(BASE, "seed=7", "search.kind=greedy")
    with pytest.raises(RecipeError) as caught:
        override_recipe(recipe, {"seed": "x", "train.epoch": 2})
    assert caught.value.faults == (
        "overrides, seed: expected a whole number, found 'x' (text)",
        "overrides, train.epoch: unknown key (did you mean 'epochs'?)",
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"seed": object()}, "overrides, seed: expected a number, a text, a list or a mapping, "),
        ({"seed": float("nan")}, "overrides, seed: expected a whole number, found 'NaN'"),
        ({1: 2}, "overrides, 1: unknown key"),
        ([3], "--set 3: expected PATH=VALUE, such as seed=2"),
        ("train.epoch=2", "--set train.epoch: unknown key"),
    ],
)
def test_overrides_that_are_none(overrides: Any, expected: str) -> None:
    Path("recipe.yaml").write_text(BASE)
    with pytest.raises(RecipeError) as caught:
        load_recipe("recipe.yaml", overrides)
    (fault,) = caught.value.faults
    assert fault.startswith(expected)


def test_an_override_replaces_a_section_and_its_faults() -> None:
    recipe = load(
        BASE + "search:\n  kind: beam\n  width: 0\n", "search={kind: beam, width: 3}", "seed=1_000"
    )
    assert recipe.search == BeamSearch(kind="beam", width=3)
    assert recipe.seed == 1000


def test_yaml_12_scalars_anchors_and_merge_keys() -> None:
    recipe = load(
        "task: translation\n"
        "data:\n  kind: files\n"
        "  train: &f {source: yes, target: 2024-01-01}\n  test: {<<: *f, source: no}\n"
        "tokenizer: {kind: unigram, vocabulary: 1_000}\n"
        "train: {optimizer: {learning_rate: 1e-3}, clip_norm: ~}\nseed: 0o17\n"
    )
    assert recipe.data == FilesData(
        kind="files",
        train=FileSet(source="yes", target="2024-01-01"),
        test=FileSet(source="no", target="2024-01-01"),
    )
    assert recipe.tokenizer == SubwordTokenizer(kind="unigram", vocabulary=1000)
    assert recipe.train.optimizer.learning_rate == 1e-3
    assert recipe.train.clip_norm is None
    assert recipe.seed == 15


def test_aliases_cannot_explode() -> None:
    rows = [f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(9)]
    found = faults(BASE + "a0: &a0 [x]\n" + "\n".join(rows))
    assert any("far too large" in fault for fault in found)


def test_a_recipe_of_many_faults_is_refused_soon() -> None:
    """Of very many faults the first are reported; only so many have suggestions."""
    found = faults(BASE + "".join(f"sed{number}: 1\n" for number in range(5000)))
    assert len(found) == 51
    assert found[0] == "recipe.yaml:4: sed0: unknown key (did you mean 'seed'?)"
    assert found[-1] == "and 4,950 more faults"


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"unknown{number}: 1\n" for number in range(30_000)),
        f"x: [{'1,' * 200_000}]\n",
        "x:\n" + "- 1\n" * 100_000,
        "#\n" * 500_000,  # for which the parser takes half a minute
    ],
)
def test_a_recipe_far_too_large_is_not_parsed_to_its_end(text: str) -> None:
    (fault,) = faults(BASE + text)
    assert fault.startswith("recipe.yaml:")
    assert re.search(r": far too large: more than (20,000 keys and values|50,000 lines)", fault)


def test_a_recipe_of_too_many_bytes_is_not_parsed() -> None:
    found = faults(BASE + "#" + "x" * 2**20)
    assert found == ["recipe.yaml:1: far too large: more than 1,048,576 bytes"]


@pytest.mark.parametrize(
    "text",
    [
        "seed: {}",
        "seed: 1{}",
        'name: "\\0{}"',
        "? {}\n: 1",
        "metrics: {}",
        "train: {{{}: 1}}",
        "base: {}",
        "name: !{} 1",
        "train: {{budget: {}}}",
        "search: {{kind: {}}}",
    ],
)
def test_a_value_of_a_megabyte_does_not_come_back(text: str) -> None:
    for letter in ("x", "9"):
        for fault in faults(BASE + text.format(letter * 1_000_000) + "\n"):
            assert len(fault) < 1200


def test_the_name_comes_from_the_file_or_its_folder(folder: Path) -> None:
    assert load(BASE).name == "here"
    for file, name in [
        ("my run!.yaml", "my-run"),
        ("-ü-.yml", "run-cb6306"),
        ("de-en.yaml.gz", "de-en"),
        ("de-en.v2.yaml", "de-en.v2"),
    ]:
        Path(file).write_text(BASE)
        assert load_recipe(Path(file)).name == name
    assert load_recipe(folder / "recipe.yaml").name == "here"


def test_a_compressed_recipe(folder: Path) -> None:
    Path("my.yaml.gz").write_bytes(gzip.compress(BASE.encode() + b"seed: 7\n"))
    assert load_recipe(Path("my.yaml.gz")).seed == 7
    Path("my.yaml.gz").write_bytes(gzip.compress(BASE.encode())[:-9])
    with pytest.raises(RecipeError, match=r"^'my.yaml.gz': cannot read the recipe: damaged"):
        load_recipe(Path("my.yaml.gz"))


def test_no_recipe_at_all() -> None:
    with pytest.raises(RecipeError, match=r"^recipe\.yaml: no such recipe; 's2s recipes copy"):
        load_recipe()
    with pytest.raises(RecipeError, match=r"^\.: expected a recipe file, found a folder$"):
        load_recipe(Path())
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(Path("a\0b"))

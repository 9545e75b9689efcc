"""A wrong `kind` hides nothing else of its section."""

from pathlib import Path

import pytest

from s2s.errors import RecipeError
from s2s.recipe.load import dump_recipe, load_recipe

BASE = """task: translation
data: {kind: generated, corpus: dates}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults(text: str) -> list[str]:
    Path("recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe()
    return [fault.removeprefix("recipe.yaml:") for fault in caught.value.faults]


RIGHT = {
    "tokenizer": ("unigram", "unigrm", "{kind: KIND, vocabulary: x, sampling: {alpha: 7}}"),
    "model.decoder": ("luong", "lung", "{kind: KIND, width: a, layers: 0, wdth: 3}"),
    "train.optimizer": ("adam", "adm", "{kind: KIND, learning_rate: fast}"),
    "search": ("beam", "beem", "{kind: KIND, width: 0, temperature: 3}"),
    "data": ("files", "file", "{kind: KIND, train: {sorce: a, target: 3}, hedder: no}"),
}
"""By section: a kind, a misspelling of it, and a section with other faults."""


@pytest.mark.parametrize("section", RIGHT)
def test_the_faults_are_those_of_the_kind_that_was_meant(section: str) -> None:
    kind, misspelled, text = RIGHT[section]
    *above, last = section.split(".")

    def recipe(named: str) -> str:
        base = BASE if section != "data" else BASE.splitlines()[0] + "\n"
        opening = "".join(f"{name}:\n  " for name in above)
        return f"{base}{opening}{last}: {text.replace('KIND', named)}\n"

    expected = faults(recipe(kind))
    found = faults(recipe(misspelled))
    of_kind = [fault for fault in found if f"{section}.kind: expected one of" in fault]
    assert len(of_kind) == 1
    assert f"found '{misspelled}' (did you mean '{kind}'?)" in of_kind[0]
    assert sorted(found) == sorted([*expected, *of_kind])
    assert expected


def test_without_a_similar_kind_only_what_is_wrong_for_all_is_a_fault() -> None:
    found = faults(BASE + "tokenizer: {kind: zzz, vocabulary: x, min_count: 0, colour: red}\n")
    assert found[1].startswith("3: tokenizer.kind: expected one of 'unigram', ")
    # `min_count` belongs to other kinds than the first, and `colour` to none.
    assert [found[0], *found[2:]] == [
        "3: tokenizer.colour: unknown key",
        "3: tokenizer.min_count: expected at least 1, found 0",
        "3: tokenizer.vocabulary: expected a whole number, found 'x' (text)",
    ]


def test_a_missing_kind_hides_nothing_either() -> None:
    assert faults(BASE + "train: {schedule: {warmup: -3}}\n")[1:] == [
        "3: train.schedule.warmup: expected at least 0, found -3"
    ]


def test_kinds_within_kinds() -> None:
    text = "tokenizer: {kind: seprate, source: {kind: wrod, min_count: 0}, target: {kind: word}}\n"
    found = faults(BASE + text)
    assert [fault.split(": ")[1] for fault in found] == [
        "tokenizer.kind",
        "tokenizer.source.kind",
        "tokenizer.source.min_count",
    ]


def test_a_kind_that_is_no_text() -> None:
    for kind in ("3", "[a]", "{a: b}", "null"):
        found = faults(BASE + f"tokenizer: {{kind: {kind}, vocabulary: x}}\n")
        assert [fault.split(": ")[1] for fault in found] == [
            "tokenizer.kind",
            "tokenizer.vocabulary",
        ]


def test_all_rules_between_sections_that_are_broken() -> None:
    text = (
        "model: {attention: {kind: none}, decoder: {kind: luong}, dropout: "
        "{embedding: 0, encoder: 0, decoder: 0, readout: 0}}\n"
        "train: {coverage_loss: 1.0, doubly_stochastic: 1.0, r_drop: 1.0, best: wer}\n"
    )
    found = faults(BASE + text)
    assert [fault.split(": ", 1)[1].split()[0] for fault in found] == [
        "train.best",
        "train.coverage_loss",
        "train.doubly_stochastic",
        "train.r_drop",
    ]


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("model: {encoder: {cell: gru}}", "model.encoder.cell",
         "found 'gru' (text); write {kind: gru}"),
        ("model: {decoder: {kind: luong, cell: lstmm}}", "model.decoder.cell",
         "'minlstm' (did you mean 'lstm'?)"),
        ("model: {attention: dot}", "model.attention", "write {kind: dot}"),
        ("search: greedy", "search", "write {kind: greedy}"),
        ("train: {optimizer: adamw}", "train.optimizer", "write {kind: adamw}"),
        ("tokenizer: {kind: separate, source: word, target: {kind: word}}", "tokenizer.source",
         "write {kind: word}"),
        ("model: {decoder: gru}", "model.decoder",
         "its kind is one of 'luong', 'bahdanau', 'stacked', 'conditional', 'plain', "
         "'classifier', 'tagger'"),
    ],
)  # fmt: skip
def test_a_kind_in_place_of_a_section_is_told_how_to_be_written(
    text: str, place: str, remedy: str
) -> None:
    (found,) = faults(BASE + text + "\n")
    assert found.startswith(f"3: {place}: expected a section (key: value), found '")
    assert found.endswith(remedy)


def test_an_encoder_that_a_language_model_does_not_have_is_refused() -> None:
    text = "task: lm\ndata: {kind: files, train: {target: t}}\n"
    for encoder in ("{width: 256}", "{}", "{layers: 2}"):
        (found,) = faults(f"{text}model: {{encoder: {encoder}}}\n")
        assert found == (
            "3: model.encoder: has no effect in task 'lm', whose model is the decoder alone; "
            "remove it"
        )
    Path("recipe.yaml").write_text(text)
    recipe = load_recipe()
    Path("complete.yaml").write_text(dump_recipe(recipe))  # as a run stores it
    assert load_recipe("complete.yaml") == recipe
    # A run that an earlier version stored lacks the fields that came later.
    stored = Path("complete.yaml").read_text()
    assert "    transitions: 1\n" in stored
    Path("complete.yaml").write_text(stored.replace("    transitions: 1\n", ""))
    assert load_recipe("complete.yaml") == recipe

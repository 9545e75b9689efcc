"""Placeholders from data to output: numbers and addresses come back, whatever the model writes."""

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sacrebleu

import s2s
from s2s import pipeline
from s2s.data.preparation.prepare import fingerprints_of, is_prepared, open_corpus, open_splits
from s2s.errors import DataError, RecipeError, UsageError
from s2s.inference.constraint_compiler import ConstraintCompiler
from s2s.inference.continuations import continuations
from s2s.inference.load import load_ensemble, load_translator
from s2s.inference.translator import LineTranslator
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import SampleSearch
from s2s.run.directory import Run
from s2s.search.loop import search
from s2s.serve.jobs import TranslateOptions, TranslationJob
from s2s.text.tokenizer_pair import load_tokenizers

Called = Callable[..., tuple[int, str, str]]

RECIPE = """\
task: translation
name: toy
data:
  kind: files
  train: {source: train.x, target: train.y}
  validation: {source: validation.x, target: validation.y}
  test: {source: test.x, target: test.y}
  placeholders: [number, url]
  filters: {max_length: 12}
tokenizer: {kind: word}
model:
  embeddings: 24
  encoder: {width: 32}
  decoder: {kind: luong, width: 32}
  dropout: {embedding: 0.0, encoder: 0.0, decoder: 0.0, readout: 0.0}
train:
  epochs: 6
  batch_tokens: 400
  optimizer: {learning_rate: 1e-2}
  precision: fp32
search: {kind: beam, width: 3}
"""
WORDS = {"call": "ruf", "see": "sieh", "ask": "frag", "at": "um", "or": "oder", "now": "jetzt"}
LINES = ["call 123456 or www.x-y.com/q", "", "ask 7 or 8", "now", "see <num2> or 5"]
LEFT = re.compile(r"<(?:num|url|email)\d>")


def pair(draw: random.Random) -> tuple[str, str]:
    """Words, and numbers and URLs that no other line has."""
    address = f"www.{''.join(draw.choices('abcdefgh', k=6))}.org"
    same = [str(draw.randrange(100_000)), str(draw.randrange(100_000)), address]
    words = draw.choices([*WORDS, *same, *same[:2]], k=draw.randint(1, 5))
    return " ".join(words), " ".join(WORDS.get(word, word) for word in words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A folder with a run that has learned to translate words, and to carry over the rest."""
    folder = tmp_path_factory.mktemp("placeholders")
    draw = random.Random(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, count in (("train", 1500), ("validation", 40), ("test", 40)):
            pairs = [pair(draw) for _ in range(count)]
            for side, suffix in enumerate("xy"):
                Path(f"{name}.{suffix}").write_text("".join(f"{one[side]}\n" for one in pairs))
        Path("recipe.yaml").write_text(RECIPE)
        pipeline.train(load_recipe(), device="cpu")
    return folder


@pytest.fixture
def model(run: Run) -> s2s.TrainedModel:
    return s2s.load(run.folder, device="cpu", quiet=True)


@pytest.fixture
def translator(run: Run) -> LineTranslator:
    return load_ensemble([run], device="cpu")


def expected(line: str) -> str:
    """The translation of a line."""
    return " ".join(WORDS.get(word, word) for word in line.split())


# ----------------------------------------------------------------------------------------- data


def test_prepared_pairs_have_placeholders_and_texts_do_not(run: Run) -> None:
    train, pair = open_corpus(run.folder, "train"), load_tokenizers(run.tokenizer_folder)
    ids = set(train.source_values.tolist()), set(train.target_values.tolist())
    for tokenizer, used in zip((pair.source, pair.target), ids, strict=True):
        digits = {one for one in tokenizer.pieces(sorted(used)) if re.search(r"\d", one)}
        assert {"<num1>", "<num2>", "<url1>"} <= digits
        assert all(map(LEFT.fullmatch, digits))
    corpus = open_corpus(run.folder, "test")
    assert corpus.source_texts is not None
    assert list(corpus.source_texts) == Path("test.x").read_text().splitlines()
    assert not any(map(LEFT.search, corpus.source_texts))
    assert any(re.search(r"\d", text) for text in corpus.source_texts)


def test_data_prepared_without_placeholders_stay_up_to_date(run: Run) -> None:
    def of(*changes: str) -> list[str]:
        recipe = load_recipe(overrides=list(changes))
        found = fingerprints_of(recipe, open_splits(recipe), Path("runs/toy"))
        return [found[name].now for name in ("tokenizer", "data")]

    assert is_prepared(load_recipe(), run.folder)
    own, without = of(), of("data.placeholders=[]")
    assert all(one != other for one, other in zip(own, without, strict=True))
    assert of("data.placeholders=[url]") != own
    assert len(set(map(tuple, (own, without, of("tokenizer.symbols=['<b>']"))))) == 3


# ------------------------------------------------------------------------------------- translation


def test_entities_come_back_whatever_the_batch(run: Run, call: Called) -> None:
    draw = random.Random(2)
    lines = [*LINES, *(pair(draw)[0] for _ in range(40))]
    Path("in").write_text("".join(f"{line}\n" for line in lines))
    arguments = ("translate", "--run", "toy", "--input", "in", "--device", "cpu")
    status, found, _ = call(*arguments)
    assert status == 0
    outputs = found.split("\n")[:-1]
    assert len(outputs) == len(lines)
    assert sum(map(str.__eq__, outputs, map(expected, lines))) > 0.8 * len(lines)
    assert outputs[0] == expected(LINES[0])
    assert call(*arguments, "--batch-size", "1")[1] == found
    Path("in").write_text("".join(f"{line}\n" for line in reversed(lines)))
    assert call(*arguments, "--batch-size", "7")[1].split("\n")[:-1] == outputs[::-1]


def test_python_nbest_and_exported_models_say_the_same(
    model: s2s.TrainedModel, run: Run, call: Called
) -> None:
    outputs = model.translate(LINES)
    assert [found[0].text for found in model.translate(LINES, n_best=3)] == outputs
    assert call("export", "toy", "--output", "toy.s2s")[0] == 0
    assert s2s.load("toy.s2s", device="cpu", quiet=True).translate(LINES) == outputs
    assert not any(
        LEFT.search(one.text)
        for line, found in zip(LINES, model.translate(LINES, n_best=3), strict=True)
        for one in found
        if not LEFT.search(line)
    )


def test_metrics_compare_text(model: s2s.TrainedModel, call: Called) -> None:
    status, found, _ = call("evaluate", "--run", "toy", "--device", "cpu")
    assert status == 0
    sources, references = (Path(f"test.{side}").read_text().splitlines() for side in "xy")
    bleu = sacrebleu.corpus_bleu(model.translate(sources), [references])
    assert f"BLEU = {bleu.score:.2f}" in found
    assert bleu.score > 50.0


def test_a_line_in_pieces_numbers_each_of_them(translator: LineTranslator) -> None:
    numbers = [str(number) for number in range(100, 140)]
    line = " or ".join(numbers)
    pieces = translator.pieces([line])
    assert len(pieces.sources) > 1
    written = [translator.placeholders.as_written(source) for source in pieces.sources]
    assert " ".join(written) == line
    assert {LEFT.findall(source.text)[0] for source in pieces.sources} == {"<num1>"}
    kept = [one for source in pieces.sources for _, one in source.entities]
    (output,) = translator([line])
    assert not LEFT.search(output)
    assert set(output.split()) - {"oder", *WORDS, *WORDS.values(), "⁇"} <= set(kept)


def test_what_a_model_makes_up_is_resolved_and_counted(translator: LineTranslator) -> None:
    notes: list[str] = []
    settings = SampleSearch(kind="sample", temperature=3.0, samples=1)
    sampled = replace(translator, search=settings, report=notes.append)
    lines = [line for line in LINES if "<num2>" not in line]
    pieces = sampled.pieces(lines)
    found = search(sampled.scorer, pieces.ids, settings, "cpu", places=pieces.places)
    sampled.report_outputs(found, pieces)
    raw = [set(LEFT.findall(sampled.target.decode([one[0].tokens])[0])) for one in found]
    own = [{symbol for symbol, _ in source.entities} for source in pieces.sources]
    counts = [
        sum(len(one - other) for one, other in zip(*sides, strict=True))
        for sides in ((own, raw), (raw, own))
    ]
    total = sum(map(len, own))
    assert min(counts) > 0
    assert notes[0].startswith(
        f"placeholders: outputs lack {counts[0]} of the {total} in their sources and make up "
        f"{counts[1]}: line"
    )
    outputs = sampled.outputs_of(found, pieces)
    assert not any(LEFT.search(one.text) for several in outputs for one in several)


def test_a_given_translation_is_read_as_outputs_are(model: s2s.TrainedModel) -> None:
    for line in (LINES[0], LINES[2]):
        (best,) = model.translate(line, n_best=1)
        assert model.score((line, best.text)).log_prob == pytest.approx(best.log_prob, abs=1e-4)


def test_constraints_have_the_placeholders_of_their_lines(model: s2s.TrainedModel) -> None:
    def of(line: str, **terms: object) -> str:
        (best,) = model.translate(
            line,
            constraints=s2s.LineConstraints(**terms),
            n_best=1,  # type: ignore[arg-type]
        )
        assert best.unmet == ()
        return best.text

    assert of(LINES[2], prefix="frag 7") == expected(LINES[2])
    assert of(LINES[2], prefix="frag 8").startswith("frag 8 ")  # as text, 8 would be unknown
    assert "7" not in of(LINES[2], avoid=("7",)).split()
    assert of(LINES[2], must=("8 8",)).count("8 8") == 1
    found = model.translate("ask 7 or 8", glossary={"ask 7": "8 frag"}, beam=12)
    assert found.count("8 frag") == 1


def test_a_prefix_goes_on_with_entities(translator: LineTranslator) -> None:
    found = continuations(translator, LINES[2], "frag", 2)
    assert (found[0].next, found[0].text) == ("7", expected(LINES[2]))
    for begun in ("frag 7", "frag 7 "):
        found = continuations(translator, LINES[2], begun, 2)
        assert (found[0].prefix, found[0].text) == ("frag 7 oder", expected(LINES[2]))


def test_attention_maps_show_entities(model: s2s.TrainedModel) -> None:
    shown = model.attention(LINES[0])
    assert shown.source_tokens == (*LINES[0].split(), "</s>")
    assert shown.target_tokens == (*expected(LINES[0]).split(), "</s>")
    assert shown.translation == expected(LINES[0])


# -------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.placeholders=[number, number]"], "expected each once, found 'number' twice"),
        (
            ["tokenizer={kind: bpe, sampling: {alpha: 0.1}}"],
            "data.placeholders: subword sampling would split them",
        ),
        (["metrics=[copied]"], "metrics: 'copied' compares outputs with training targets"),
        (["data.placeholders=[date]"], "data.placeholders[0]: expected"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(run: Run, changes: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(overrides=changes)


def prepared(*changes: str) -> Recipe:
    recipe = load_recipe(overrides=list(changes))
    pipeline.prepare(recipe)
    return recipe


def test_a_tokenizer_without_the_symbols_is_refused(run: Run) -> None:
    prepared("name=plain", "data.placeholders=[]")
    with pytest.raises(DataError, match=r"the source tokenizer, .* has no symbol <url1>; take"):
        prepared("name=other", "tokenizer={kind: from_run, run: plain}")
    again = prepared("name=again", "tokenizer={kind: from_run, run: toy}")
    assert is_prepared(again, Path("runs/again"))


def test_models_of_an_ensemble_have_the_same_placeholders(run: Run) -> None:
    text = (run.folder / "recipe.yaml").read_text()
    other = Run(run.folder.with_name("other"))
    shutil.copytree(run.folder, other.folder)
    (other.folder / "recipe.yaml").write_text(text.replace("- url", "- email"))
    with pytest.raises(UsageError, match="expected models with the same placeholders"):
        load_ensemble([run, Run.open(other.folder)], device="cpu")
    assert load_translator(run, device="cpu").placeholders.placeholders.kinds == ("url", "number")


@pytest.mark.parametrize("kind", ["character", "unigram", "bpe"])
def test_every_tokenizer_has_one_token_for_a_placeholder(run: Run, kind: str) -> None:
    section = f"{{kind: {kind}{'' if kind == 'character' else ', vocabulary: 54'}}}"
    prepared("name=made", f"tokenizer={section}")
    pair = load_tokenizers(Path("runs/made/tokenizer"))
    (ids,) = pair.target.encode(["ruf <num1>, x<num2>: <url1>."])
    pieces = pair.target.pieces(ids)
    assert [one for one in pieces if LEFT.search(one)] == ["<num1>", "<num2>", "<url1>"]
    assert pair.target.decode([ids])[0].count("<") == 3


def test_a_server_puts_entities_back(translator: LineTranslator) -> None:
    job = TranslationJob(lines=LINES, options=TranslateOptions(search=translator.search))
    job.prepare(translator, ConstraintCompiler(translator.target))
    assert job.pieces is not None
    places = job.pieces.places
    job.found = search(translator.scorer, job.pieces.ids, translator.search, "cpu", places=places)
    assert [one.outputs[0].text for one in job.finish()] == translator(LINES)

"""Labels from the command line: trained, predicted, scored, resumed, and refused elsewhere."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

import s2s
from s2s.errors import Interrupted
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s_cli.main import run as command_line
from tests.training.test_resume import stop_after
from tests.training.toys import differing

TAG = """\
task: tag
name: tag
data:
  kind: files
  train: {source: train.words, target: train.tags}
  validation: {source: validation.words, target: validation.tags}
  test: {source: test.words, target: test.tags}
model: {embeddings: 8, encoder: {width: 8}, characters: {width: 6}, decoder: {crf: true}}
train: {epochs: 12, batch_tokens: 150, optimizer: {learning_rate: 3e-2}, average: 0.0}
metrics: [token_accuracy, accuracy]
"""
CLASSIFY = """\
task: classify
name: classify
data:
  kind: files
  train: {source: train.words, target: train.label}
  validation: {source: validation.words, target: validation.label}
  test: {source: test.words, target: test.label}
tokenizer: {kind: character}
model: {embeddings: 8, encoder: {width: 8}, decoder: {pooling: max}}
train: {epochs: 12, batch_tokens: 100, optimizer: {learning_rate: 3e-2}, average: 0.0}
"""
RECIPES = {"tag": TAG, "classify": CLASSIFY}
every_task = pytest.mark.parametrize("task", RECIPES)
TAGS = {"a": "NUM", "b": "NUM", "c": "VERB", "d": "ADJ", "e": "NOUN"}
TOO_MANY = " ".join(["NUM"] * 8)
INPUT = "a b c\n\nzzz\n  \nd e a a\n"

Command = Callable[..., str]

pytestmark = pytest.mark.usefixtures("one_thread")


def write_data() -> None:
    """Words whose first letter is their tag, and texts whose first word is their label."""
    draw = random.Random(1)
    for name, count in (("train", 120), ("validation", 20), ("test", 20)):
        rows = []
        for _ in range(count):
            letters = draw.choices(sorted(TAGS), k=draw.randint(1, 6))
            rows.append([letter + draw.choice(["", "x", "yy"]) for letter in letters])
        tags = [[TAGS[word[0]] for word in row] for row in rows]
        Path(f"{name}.words").write_text("".join(" ".join(row) + "\n" for row in rows))
        Path(f"{name}.tags").write_text("".join(" ".join(row) + "\n" for row in tags))
        labels = [f"begins with {row[0]}" for row in tags]
        Path(f"{name}.label").write_text("".join(label + "\n" for label in labels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    made = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        write_data()
        for task, recipe in RECIPES.items():
            Path(f"{task}.yaml").write_text(recipe)
            assert command_line(["train", f"{task}.yaml", "--device", "cpu"]) == 0
    return made


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs s2s; what it prints, or where `fails`, its error."""
    monkeypatch.chdir(folder)

    def called(*arguments: str, fails: bool = False) -> str:
        status = command_line([*arguments])
        found = capfd.readouterr()
        assert (status != 0) == fails, found.err
        return found.err.splitlines()[-1] if fails else found.out

    return called


@every_task
def test_what_is_learned_is_predicted_and_scored(command: Command, task: str) -> None:
    scored = json.loads(command("evaluate", "--run", f"runs/{task}", "--json", "--confusion"))
    names = list(scored["scores"])
    assert names[0] == ("token_accuracy" if task == "tag" else "accuracy")
    assert scored["scores"][names[0]]["value"] > 90
    counts = scored["confusion"]["counts"]
    hits = sum(counts[place][place] for place in range(len(counts)))
    total = sum(map(sum, counts))
    assert scored["scores"][names[0]]["value"] == pytest.approx(100 * hits / total, abs=0.01)
    table = command("evaluate", "--run", f"runs/{task}", "--confusion").splitlines()
    assert table[-len(counts) - 1].startswith("reference \\ output")


@every_task
@pytest.mark.parametrize("size", ["1", "2", "100"])
def test_a_line_out_for_each_line_in(command: Command, task: str, size: str) -> None:
    Path("in").write_text(INPUT)
    found = command("predict", f"runs/{task}", "--input", "in", "--batch-size", size).split("\n")
    assert len(found) == 6
    assert found[1] == found[3] == found[5] == ""
    if task == "tag":
        assert [len(line.split()) for line in found] == [3, 0, 1, 0, 4, 0]
        assert found[0] == "NUM NUM VERB"
    else:
        assert found[0] == "begins with NUM"
    whole = command("predict", f"runs/{task}", "--input", "in").split("\n")
    assert found == whole


def test_a_long_line_keeps_its_labels_aligned(command: Command) -> None:
    words = ["a", "c", "d", "e", "zz"] * 300
    Path("long").write_text(" ".join(words) + "\na\n")
    first, second = command("predict", "runs/tag", "--input", "long").splitlines()
    assert len(first.split()) == len(words)
    assert second == "NUM"


def test_the_best_labels_are_listed_by_probability(command: Command) -> None:
    Path("in").write_text("c a\n")
    listed = command("predict", "runs/classify", "--input", "in", "--nbest", "3")
    rows = [row.split("\t") for row in listed.splitlines()]
    assert len(rows) == 3
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert rows[0][-1] == command("predict", "runs/classify", "--input", "in").rstrip("\n")
    everything = command("predict", "runs/classify", "--input", "in", "--nbest", "50")
    probabilities = [2.718281828459045 ** float(r.split("\t")[2]) for r in everything.splitlines()]
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-4)
    assert len(probabilities) == len(set(TAGS.values()))


@every_task
def test_python_predicts_the_same(command: Command, task: str) -> None:
    Path("in").write_text(INPUT)
    model = s2s.load(f"runs/{task}", device="cpu")
    lines = command("predict", f"runs/{task}", "--input", "in").splitlines()
    assert list(model.translate(INPUT.splitlines())) == lines


@every_task
def test_scores_of_pairs_are_those_of_predictions(command: Command, task: str) -> None:
    Path("in").write_text("a b c\nd e a a\n")
    listed = command("predict", f"runs/{task}", "--input", "in", "--scores").splitlines()
    rows = [row.split("\t") for row in listed]
    Path("out").write_text("".join(row[-1] + "\n" for row in rows))
    scored = command("score", "--run", f"runs/{task}", "in", "out").splitlines()
    for row, line in zip(rows, scored, strict=True):
        assert float(line.split("\t")[1]) == pytest.approx(float(row[2]), abs=1e-4)


@every_task
def test_an_exported_model_predicts_the_same(command: Command, task: str, tmp_path: Path) -> None:
    Path("in").write_text(INPUT)
    exported = tmp_path / f"{task}.s2s"
    command("export", f"runs/{task}", "-o", str(exported))
    lines = command("predict", str(exported), "--input", "in")
    assert lines == command("predict", f"runs/{task}", "--input", "in")


def test_labels_that_cannot_be_are_not_scored(command: Command) -> None:
    Path("in").write_text("a b\n")
    for labels in ("NUM", "NUM NUM NUM", "NUM ZZZ"):
        Path("out").write_text(f"{labels}\n")
        error = command("score", "--run", "runs/tag", "in", "out", fails=True)
        assert "in:1: the labels given for this line cannot be" in error


def test_the_length_of_outputs_is_that_of_the_input(command: Command) -> None:
    """Whatever a search that is given in Python or over HTTP says of lengths."""
    model = s2s.load("runs/tag", device="cpu")
    (found,) = model.translate(["a b c d e a b"], max_ratio=0.1, max_offset=0)
    assert len(found.split()) == 7


def test_an_encoder_is_taken_over_without_the_labels(command: Command) -> None:
    recipe = TAG.replace("name: tag", "name: other").replace(", decoder: {crf: true}", "")
    recipe = recipe.replace("average: 0.0", "average: 0.0, init_from: {run: tag, parts: [encoder]}")
    Path("other.yaml").write_text(recipe)
    command("train", "other.yaml", "--device", "cpu", "--set", "train.epochs=1")
    assert len(command("predict", "runs/other", "--input", "test.words").splitlines()) == 20


@every_task
def test_resumed_is_uninterrupted(
    command: Command, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(Path(f"{task}.yaml"), overrides=["train.epochs=3"])
    found = []
    for name, stops in (("straight", []), ("stopped", [4, 9])):
        with monkeypatch.context() as patch:
            stop_after(stops, patch)
            for _ in stops:
                with pytest.raises(Interrupted):
                    s2s.pipeline.train(recipe, runs=tmp_path / name, device="cpu")
            s2s.pipeline.train(recipe, runs=tmp_path / name, device="cpu")
        found.append(Run.open(tmp_path / name / task))
    assert found[0].checkpoints() == found[1].checkpoints()
    assert differing(found[0].read_weights("last"), found[1].read_weights("last")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "runs/tag"], "task 'tag'; 's2s translate' translates sources"),
        (["generate", "runs/tag", "--prompt", "a"], "and 's2s predict' uses this run"),
        (["bleu", "--run", "runs/classify"], "'bleu' compares texts, and task 'classify' predicts"),
        (
            ["evaluate", "--run", "runs/tag", "--metric", "macro_f1"],
            "expected token_accuracy or span_f1 or accuracy",
        ),
        (["evaluate", "--run", "runs/tag", "--metric", "span_f1"], "expected tags such as B-PER"),
        (["bench", "tag.yaml"], "'s2s bench' measures models that write sequences"),
        (["tune-search", "runs/tag"], "task 'tag' has no search to tune"),
    ],
)
def test_what_a_model_of_labels_cannot_do_is_one_line(
    command: Command, arguments: list[str], message: str
) -> None:
    assert message in command(*arguments, fails=True)


@pytest.mark.parametrize(
    ("task", "file", "line", "change", "message"),
    [
        ("tag", "train.tags", 3, TOO_MANY, "train.words:3 and train.tags:3"),
        ("tag", "test.tags", 2, TOO_MANY, "expected a label for each word"),
        ("classify", "validation.label", 5, "begins with NUN",
         "validation.label:5: label 'begins with NUN' does not occur in the training data (did you "
         "mean 'begins with NOUN'?)"),
        ("classify", "test.label", 1, "",
         "test.words:1 and test.label:1: expected one label, found none"),
    ],
)  # fmt: skip
def test_wrong_labels_are_named_with_their_line(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    file: str,
    line: int,
    change: str,
    message: str,
) -> None:
    recipe = Path(f"{task}.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    write_data()
    rows = Path(file).read_text().split("\n")
    rows[line - 1] = change
    Path(file).write_text("\n".join(rows))
    Path("recipe.yaml").write_text(recipe)
    assert message in command("prep", fails=True)
    assert not Path("runs", task, "data").exists()


@pytest.mark.parametrize(
    ("task", "added", "message"),
    [
        ("tag", "tokenizer: {kind: unigram}", "needs the source tokenizer 'word'"),
        ("tag", "search: {kind: beam, shortlist: 4}", "search.shortlist"),
        (
            "tag",
            "search: {kind: greedy, max_ratio: 0.5}",
            "search.max_ratio has no effect in task 'tag'",
        ),
        ("classify", "search: {kind: beam, min_offset: 3}", "search.min_offset has no effect"),
    ],
)
def test_recipes_that_do_not_fit_are_one_line(
    command: Command, task: str, added: str, message: str
) -> None:
    Path("wrong.yaml").write_text(
        RECIPES[task].replace("tokenizer: {kind: character}\n", "") + added
    )
    assert message in command("check", "wrong.yaml", fails=True)


def test_lists_of_words_are_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of tagged text have lists: of JSON and of Parquet alike."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from s2s.data.preparation.prepare import open_corpus, prepare

    monkeypatch.chdir(tmp_path)
    rows = [
        {"tokens": ["a", "New York", "b"], "tags": [1, 2, 1]},
        {"tokens": ["b"], "tags": [2]},
    ]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), "t.parquet")
    for table in ("t.jsonl", "t.parquet"):
        Path("recipe.yaml").write_text(
            "task: tag\n"
            f"data: {{kind: files, train: {{table: {table}}}, validation: {{table: {table}}},\n"
            "  columns: {source: tokens, target: tags}}\n"
            "tokenizer: {kind: word}\n"
        )
        folder = tmp_path / table.replace(".", "-")
        prepare(load_recipe(Path("recipe.yaml")), folder)
        corpus = open_corpus(folder, "validation")
        assert corpus.source_texts == ["a New_York b", "b"]
        assert corpus.target_texts == ["1 2 1", "2"]


def test_a_label_is_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s2s.recipe.tokenizer import WordTokenizer
    from s2s.text.vocabulary import WordTrainer

    trainer = WordTrainer(WordTokenizer(kind="word", separators="\n"))
    trainer.add(["very good ", " very  good", "bad", "very good"])
    words = trainer.train()
    assert words.size == 4 + 2
    assert words.encode(["very\u00a0good", "bad "]) == words.encode(["very good", "bad"])
    assert words.decode(words.encode([" very good"])) == ["very good"]


@pytest.mark.parametrize(
    "changed",
    [
        {"task": "{tag: 1}"},
        {"task": "[tag]"},
        {"model": "[1]"},
        {"model": "{decoder: [1], characters: 1}"},
        {"tokenizer": "[word]"},
        {"tokenizer": "{kind: {kind: word}}"},
        {"tokenizer": "{kind: separate, source: 1, target: [2]}"},
        {"search": "1"},
        {"data": "x"},
        {"train": "[x]"},
    ],
    ids=str,
)
def test_odd_sections_are_faults_of_the_recipe(changed: dict[str, str]) -> None:
    from s2s.errors import RecipeError
    from s2s.recipe.load import parse_draft

    fields = {"task": "tag", "data": "{kind: files, train: {source: a, target: b}}", **changed}
    text = "".join(f"{key}: {value}\n" for key, value in fields.items())
    with pytest.raises(RecipeError):
        parse_draft(Path("recipe.yaml"), text.encode())

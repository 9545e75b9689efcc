"""The functions of `import s2s` give what the commands print, and one clear line for a mistake."""

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s2s
from s2s import pipeline
from s2s.pipeline.options import SearchOptions
from s2s.run.directory import Run
from s2s_cli.options.search import AllSearchOptions
from tests.commands import INPUT, Call, call, write_example

__all__ = ["call"]

LINES = INPUT.split("\n")
SHORT = "4 5 6"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A folder with two trained runs, `spell` and `other`; `other` is the newest."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_example()
        s2s.train(device="cpu", quiet=True)
        changes = {"name": "other", "seed": 2, "train.epochs": 2}
        s2s.train("recipe.yaml", changes, device="cpu", quiet=True)
    return folder


@pytest.fixture(autouse=True)
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(home)
    yield


@pytest.fixture(scope="module")
def model(home: Path) -> s2s.TrainedModel:
    return s2s.load(home / "runs" / "spell", device="cpu", quiet=True)


def texts(output: bytes) -> list[str]:
    return output.decode().split("\n")[:-1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"search": "greedy"},
        {"beam": 2, "length_penalty": 0.5},
        {"precision": "int8"},
        {"search": "sample", "seed": 3, "temperature": 1.3},
        {"max_ratio": 0.5, "max_offset": 1},
    ],
)
def test_translations_are_those_of_the_command(
    model: s2s.TrainedModel, call: Call, options: dict[str, Any]
) -> None:
    arguments = [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    output = call.output("translate", "--run", "spell", *arguments, stdin=INPUT.encode())
    assert model.translate(LINES, **options) == texts(output)
    assert model.translate(LINES, batch_size=3, **options) == texts(output)


@pytest.mark.parametrize("options", [{"beam": 4}, {"samples": 3, "seed": 5}])
def test_several_outputs_are_those_of_the_command(
    model: s2s.TrainedModel, call: Call, options: dict[str, int]
) -> None:
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    listed = call.output(
        *("translate", "--run", "spell", "--nbest", "3", "--format", "jsonl", *arguments),
        stdin=INPUT.encode(),
    )
    rows = [json.loads(row) for row in texts(listed)]
    found = model.translate(LINES, n_best=3, **options)  # type: ignore[arg-type]
    assert [
        (line, rank, one.log_prob, one.score, one.length, one.status, one.text)
        for line, outputs in enumerate(found, start=1)
        for rank, one in enumerate(outputs, start=1)
    ] == [tuple(row.values()) for row in rows]


def test_a_line_in_gives_a_line_out(model: s2s.TrainedModel) -> None:
    (text,) = model.translate([SHORT])
    assert model.translate(SHORT) == text
    assert model.translate(iter([SHORT + "\n"])) == [text]
    assert [one.text for one in model.translate(SHORT, n_best=1)] == [text]
    assert model.translate([]) == []
    assert model.translate("") == ""
    assert model.attention(SHORT).translation == text


def test_constraints_are_those_of_the_command(model: s2s.TrainedModel, call: Call) -> None:
    terms = s2s.LineConstraints(must=["acht"], avoid=("vier", "fünf"))  # type: ignore[arg-type]
    common = ("translate", "--run", "spell")
    output = call.output(
        *common, "--must", "acht", "--avoid", "vier", "--avoid", "fünf", stdin=SHORT.encode()
    )
    assert [model.translate(SHORT, constraints=terms)] == texts(output)
    rows = [("4 5", "", "vier"), ("1 2", "drei", "")]
    table = "".join("\t".join(row) + "\n" for row in rows)
    columns = ("--columns", "source,prefix,avoid")
    each = [s2s.LineConstraints(prefix=p, avoid=(a,) if a else ()) for _, p, a in rows]
    lines = [line for line, _, _ in rows]
    found = texts(call.output(*common, *columns, stdin=table.encode()))
    assert model.translate(lines, constraints=each) == found
    assert model.translate(lines, constraints=each, batch_size=1) == found
    assert found[1].startswith("drei")
    assert found != model.translate(lines)


def test_a_glossary_is_that_of_the_command(
    model: s2s.TrainedModel, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text("1\tsieben\n")
    output = call.output(
        "translate", "--run", "spell", "--glossary", str(path), stdin=INPUT.encode()
    )
    found = model.translate(LINES, glossary={"1": "sieben"})
    assert found == model.translate(LINES, glossary=path) == texts(output)
    assert found != model.translate(LINES)
    with pytest.raises(s2s.UsageError, match=r"^glossary_ignore_case: has no effect without"):
        model.translate(LINES, glossary_ignore_case=True)


def test_unknown_words_are_replaced_as_by_the_command(model: s2s.TrainedModel, call: Call) -> None:
    line = "3 zebra 4"
    output = call.output("translate", "--run", "spell", "--replace-unknown", stdin=line.encode())
    assert [model.translate(line, replace_unknown=True)] == texts(output)
    Path("words.tsv").write_text("zebra\tokapi\n")
    output = call.output(
        *("translate", "--run", "spell", "--replace-unknown", "--dictionary", "words.tsv"),
        stdin=line.encode(),
    )
    assert [model.translate(line, replace_unknown={"zebra": "okapi"})] == texts(output)


def test_an_ensemble_is_that_of_the_command(call: Call) -> None:
    both = s2s.load(["spell", Path("runs/other")], device="cpu")
    assert [run.name for run in both.runs] == ["spell", "other"]
    output = call.output("translate", "--run", "spell", "--run", "other", stdin=INPUT.encode())
    assert both.translate(LINES) == texts(output)
    assert both.translate(LINES, precision="int8") == texts(
        call.output(
            *("translate", "--run", "spell", "--run", "other", "--precision", "int8"),
            stdin=INPUT.encode(),
        )
    )


def test_scores_are_those_of_the_command(model: s2s.TrainedModel, call: Call) -> None:
    sources, targets = (Path(f"test.{side}").read_text().splitlines() for side in "xy")
    pairs = [*zip(sources, targets, strict=True), ("", "")]
    for side, name in enumerate(("s", "t")):
        Path(name).write_text("".join(f"{pair[side]}\n" for pair in pairs))
    rows = [row.split("\t") for row in texts(call.output("score", "--run", "spell", "s", "t"))]
    found = model.score(pairs)
    assert [(f"{one.log_prob:.6f}", str(one.length)) for one in found] == [
        (log_prob, length) for _, log_prob, length in rows
    ]
    for one, other in zip(found, model.score(pairs, batch_size=7), strict=True):
        assert one == pytest.approx(other)
    assert model.score(pairs[0]) == pytest.approx(found[0])
    assert found[0].per_token == found[0].log_prob / found[0].length
    assert found[-1] == (0.0, 0)
    assert found[-1].per_token == 0.0


def test_attention_is_that_of_the_command(model: s2s.TrainedModel, call: Call) -> None:
    lines = [line for line in LINES if line.strip()]
    arguments = ("attention", "--run", "spell")
    stdin = "\n".join(lines).encode()
    links = texts(call.output(*arguments, "--alignments", stdin=stdin))
    call.output(*arguments, "--npz", "maps.npz", stdin=stdin)
    found = model.attention(lines)
    assert [" ".join(f"{s}-{t}" for s, t in one.alignment()) for one in found] == links
    with np.load("maps.npz") as arrays:
        for number, one in enumerate(found, start=1):
            assert np.array_equal(one.weights, arrays[f"weights_{number}"])
            assert one.source_tokens == tuple(arrays[f"source_{number}"])
            assert one.target_tokens == tuple(arrays[f"target_{number}"])
            assert one.weights.shape == (len(one.target_tokens), len(one.source_tokens))
            assert one.weights.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_evaluation_is_that_of_the_command(model: s2s.TrainedModel, call: Call) -> None:
    printed = json.loads(call.output("bleu", "--run", "spell", "--json"))
    found = s2s.evaluate(model, metrics=["bleu", "chrf", "exact"])
    assert found.as_json()["scores"] == printed["scores"]
    assert found["bleu"].value == printed["scores"]["bleu"]["value"]
    assert found["bleu"].signature in str(found)
    with pytest.raises(KeyError, match="rouge1: there are bleu, chrf, exact"):
        found["rouge1"]
    (event,) = model.events("evaluation")[-1:]
    assert event["scores"] == printed["scores"]
    printed = json.loads(
        call.output(
            *("evaluate", "--run", "spell", "--split", "validation", "--metric", "cer"),
            *("--search", "greedy", "--lowercase", "--confidence", "--json"),
        )
    )
    found = s2s.evaluate(
        "spell",
        "validation",
        metrics=["cer"],
        search="greedy",
        scoring={"lowercase": True},
        confidence=True,
        device="cpu",
    )
    assert found.as_json()["scores"] == printed["scores"]


def test_the_newest_run_is_loaded_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert s2s.load(device="cpu").run.folder == Path("runs/other")
    assert capsys.readouterr().err == "s2s: using the newest run, runs/other\n"
    assert s2s.load(device="cpu", quiet=True).run.folder == Path("runs/other")
    assert capsys.readouterr() == ("", "")


def test_a_model_says_what_it_is(model: s2s.TrainedModel, home: Path) -> None:
    index = model.run.checkpoints()
    assert model.checkpoints == (index.best,)
    assert s2s.load("spell", checkpoint="last", device="cpu").checkpoints == (index.last,)
    assert s2s.load("spell", checkpoint=str(index.best), device="cpu").checkpoints == (index.best,)
    assert model.recipe == Run.open(home / "runs" / "spell").recipe
    assert model.num_parameters == sum(p.numel() for p in model.models[0].parameters())
    assert repr(model) == (
        f"TrainedModel({home}/runs/spell (checkpoint {index.best}), {model.num_parameters:,} "
        "parameters, cpu)"
    )
    assert model.tokenize("3  4") == ["3", "4"]
    assert model.tokenize("drei vier", "target") == ["drei", "vier"]
    assert {event["event"] for event in model.events()} >= {"start", "update", "validation", "end"}


def test_overrides_are_texts_or_a_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["train.epochs=7", "search={kind: greedy}", "seed=9", "train.optimizer.epsilon=1e-7"]
    mapping = {
        "train.epochs": 7,
        "search": {"kind": "greedy"},
        "seed": 9,
        "train.optimizer": {"kind": "adam", "learning_rate": 1e-2, "epsilon": 1e-7},
    }
    recipe = s2s.load_recipe("recipe.yaml", mapping)
    assert recipe == s2s.load_recipe(Path("recipe.yaml"), texts)
    report = s2s.prepare(recipe, {"name": "prepared", "data.filters.max_length": 5})
    assert report.splits["train"].kept < report.splits["train"].read == 400
    assert Run.open(Path("runs/prepared")).recipe.seed == 9
    again = s2s.prepare(recipe, ["name=prepared", "data.filters.max_length=5"], quiet=True)
    assert again.redone == ()


def test_a_training_goes_on_in_a_thread(capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook's widget may train in one: signals cannot be caught there, and none is needed."""
    found: list[Any] = []

    def work(epochs: int) -> None:
        schedule = {"kind": "constant"}  # does not depend on the length of the training
        changes = {"name": "thread", "train.epochs": epochs, "train.schedule": schedule}
        found.append(s2s.train("recipe.yaml", changes, device="cpu", quiet=True))

    for epochs in (1, 2):
        thread = threading.Thread(target=work, args=(epochs,))
        thread.start()
        thread.join()
    assert [event["is_resumed"] for event in found[1].events("start")] == [False, True]
    ends = [event["update"] for event in found[1].events("end")]
    assert ends[0] < ends[1] == found[1].run.checkpoints().last
    assert capsys.readouterr() == ("", "")


def test_progress_and_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    s2s.train("recipe.yaml", {"name": "loud", "train.epochs": 1}, device="cpu")
    out, err = capsys.readouterr()
    assert out == ""
    assert "runs/loud: training begins" in err


FAULTS: list[tuple[Callable[[s2s.TrainedModel], object], type[s2s.S2sError], str]] = [
    (
        lambda model: model.translate(SHORT, bean=3),  # type: ignore[call-overload]
        s2s.UsageError,
        "bean: no such option (did you mean 'beam'?)",
    ),
    (
        lambda model: model.translate(3),  # type: ignore[call-overload]
        s2s.UsageError,
        "lines: expected a line or a list of lines, found int",
    ),
    (
        lambda model: model.translate([SHORT, None]),  # type: ignore[list-item]
        s2s.UsageError,
        "lines, line 2: expected text, found NoneType",
    ),
    (
        lambda model: model.translate("1\n2"),
        s2s.UsageError,
        "lines, line 1: expected one line, found a line break; text.splitlines() makes a list",
    ),
    (
        lambda model: model.translate("1\ud800"),
        s2s.UsageError,
        "lines, line 1: expected Unicode text, found U+D800 at character 2, which is no character",
    ),
    (
        lambda model: model.translate(SHORT, samples=3),
        s2s.UsageError,
        "samples: add n_best=3, which returns them all",
    ),
    (
        lambda model: model.translate(SHORT, beam=2, n_best=3),
        s2s.UsageError,
        "the 3 best outputs need a beam of width 3 or more, found 2",
    ),
    (
        lambda model: model.translate(SHORT, search="greedy", temperature=0.5),
        s2s.UsageError,
        "greedy search does not use temperature; leave it out, or use search sample or mbr",
    ),
    (
        lambda model: model.translate(SHORT, beam=0),
        s2s.UsageError,
        "beam: expected at least 1, found 0",
    ),
    (
        lambda model: model.translate(SHORT, beam=[5]),  # type: ignore[call-overload]
        s2s.UsageError,
        "beam: expected a number or a text, found list",
    ),
    (
        lambda model: model.translate([SHORT], batch_size=0),
        s2s.UsageError,
        "batch_size: expected 1 or more, found 0",
    ),
    (
        lambda model: model.translate(SHORT, constraints=s2s.LineConstraints(must="acht")),  # type: ignore[arg-type]
        s2s.UsageError,
        "must: expected terms such as ['ice cream'], found 'acht'",
    ),
    (
        lambda model: model.translate([SHORT], constraints=[]),
        s2s.UsageError,
        "constraints: expected one for each of 1 lines, found 0",
    ),
    (
        lambda model: model.translate(SHORT, tag="<2de>"),
        s2s.UsageError,
        "tag: expected none: the run's data have no tags, found '<2de>'",
    ),
    (
        lambda model: model.score(["ab"]),  # type: ignore[list-item]
        s2s.UsageError,
        "pairs, pair 1: expected a source and its translation, found 'ab'",
    ),
    (
        lambda model: model.tokenize("3", "both"),  # type: ignore[arg-type]
        s2s.UsageError,
        "side: expected source or target, found 'both'",
    ),
    (
        lambda model: model.evaluate(metrics=["blue"]),
        s2s.UsageError,
        "metrics: blue: no such metric (did you mean 'bleu'?)",
    ),
    (
        lambda model: model.evaluate("train"),
        s2s.UsageError,
        "split: expected test or validation, found 'train'",
    ),
    (
        lambda model: model.evaluate(scoring={"lower": True}),
        s2s.RecipeError,
        "overrides, scoring.lower: unknown key (did you mean 'lowercase'?)",
    ),
    (
        lambda model: model.attention(SHORT).save("map.gif"),
        s2s.UsageError,
        "map.gif: expected a name that ends in .html, .png or .npz",
    ),
    (
        lambda model: s2s.load("spel"),
        s2s.UsageError,
        "spel: no such run, neither as a folder nor in runs (did you mean 'spell'?); runs has ",
    ),
    (
        lambda model: s2s.load([]),
        s2s.UsageError,
        "run: expected a run or several, found an empty list",
    ),
    (
        lambda model: s2s.load("spell", checkpoint="!"),
        s2s.UsageError,
        "checkpoint: expected best, last, a number of updates or a name, found !",
    ),
    (
        lambda model: s2s.load("spell", checkpoint=7),
        s2s.RunError,
        "runs/spell/checkpoints: no checkpoint 7; there: ",
    ),
    (
        lambda model: s2s.train("none.yaml"),
        s2s.RecipeError,
        "none.yaml: no such recipe; ",
    ),
    (
        lambda model: s2s.train("recipe.yaml", {"train.epoch": 2}),
        s2s.RecipeError,
        "overrides, train.epoch: unknown key (did you mean 'epochs'?)",
    ),
    (
        lambda model: s2s.prepare(model.recipe, {"seed": object()}),
        s2s.RecipeError,
        "overrides, seed: expected a number, a text, a list or a mapping, found object",
    ),
    (
        lambda model: s2s.copy_recipe("quickstart", "recipe.yaml"),
        s2s.UsageError,
        "recipe.yaml: exists; choose another file, or add force=True",
    ),
]


@pytest.mark.parametrize(("made", "kind", "line"), FAULTS, ids=[line for _, _, line in FAULTS])
def test_a_mistake_is_one_line(
    made: Callable[[s2s.TrainedModel], object],
    kind: type[s2s.S2sError],
    line: str,
    model: s2s.TrainedModel,
) -> None:
    with pytest.raises(kind) as caught:
        made(model)
    message = str(caught.value)
    assert message.startswith(line)
    assert message == line or line.endswith(" ")
    assert "\n" not in message


def test_keywords_of_a_search_are_the_options_of_the_command() -> None:
    names = {"kind": "search", "width": "beam"}
    fields = [names.get(name, name) for name in AllSearchOptions.__dataclass_fields__]
    assert sorted(SearchOptions.__annotations__) == sorted(fields)


def test_the_functions_can_be_sent_to_other_processes() -> None:
    for function in (s2s.train, s2s.load, s2s.evaluate, s2s.prepare, pipeline.train):
        assert pickle.loads(pickle.dumps(function)) is function

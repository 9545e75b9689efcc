"""A language model that helps translation: every command that takes --lm, what is refused, and a
decoder that begins with the weights of one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import s2s
from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import UsageError
from s2s.inference.fusion import Fusion
from s2s.inference.load import load_ensemble, load_translator
from s2s.inference.resume import note_path
from s2s.recipe.load import load_draft, load_recipe
from s2s.run.directory import Run
from s2s.search.ensemble import forcible
from s2s.search.forced_decoding import forced
from s2s.tasks.build import build_task
from s2s.text.tokenizer_pair import load_tokenizers
from s2s.training.begin import begin
from s2s_cli.main import run as command_line

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 300, held_out: 12, filters: {max_dropped: 1.0}}
tokenizer: {kind: separate, source: {kind: character}, target: {kind: word}}
model: {embeddings: 13, encoder: {width: 11}, decoder: {kind: luong, width: 17}}
train: {max_updates: 150, batch_tokens: 300, best: loss, precision: fp32,
  optimizer: {learning_rate: 1e-2}}
search: {kind: beam, width: 3, length_penalty: 0.0, max_ratio: 1.0, max_offset: 20, precision: fp32}
"""
LM = """\
task: lm
name: lm
data: {kind: files, train: {target: lines.txt}}
tokenizer: {kind: from_run, run: toy}
model: {embeddings: 13, decoder: {kind: plain, width: 17, layers: 1}}
train: {max_updates: 30, batch_tokens: 300, optimizer: {learning_rate: 1e-2}, precision: fp32}
"""
LINES = ["1 March 1999", "", "Tuesday 12 May 2020", "31/12/1987", "???"]

pytestmark = pytest.mark.usefixtures("one_thread")

Command = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    made = tmp_path_factory.mktemp("fusion")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        Path("recipe.yaml").write_text(RECIPE)
        Path("lm.yaml").write_text(LM)
        Path("in").write_text("".join(f"{line}\n" for line in LINES))
        pipeline.train(load_recipe(), device="cpu")
        corpus = open_corpus(Path("runs/toy"), "validation")
        assert corpus.references is not None
        texts = [str(one) for one, *_ in corpus.references] * 9
        Path("lines.txt").write_text("".join(f"{line}\n" for line in texts))
        assert command_line(["train", "lm.yaml", "--device", "cpu"]) == 0
    return made


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs s2s on a CPU; what it prints, or where `fails`, its error."""
    monkeypatch.chdir(folder)

    def called(*arguments: str, fails: bool = False) -> str:
        status = command_line([*arguments, "--device", "cpu"])
        found = capfd.readouterr()
        assert (status != 0) == fails, found.err
        if fails:
            assert found.out == ""
            errors = [line for line in found.err.splitlines() if "error:" in line]
            assert len(errors) == 1
            return errors[0]
        return found.out

    return called


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_the_tokenizer_of_a_translation_run_is_that_of_a_language_model(command: Command) -> None:
    own, taken = (load_tokenizers(Path("runs") / name / "tokenizer") for name in ("toy", "lm"))
    assert (taken.source, taken.target) == (own.source, own.target)
    model = load_translator(Run.open(Path("runs/lm")), device="cpu").scorer
    assert model.vocabulary == own.target.size
    rows_of = rows(command("score", "--run", "lm", "lines.txt"))
    lengths = [
        len(ids) + 1 for ids in own.target.encode(Path("lines.txt").read_text().splitlines())
    ]
    assert [int(row[2]) for row in rows_of] == lengths


def test_the_scores_are_the_weighted_sums(command: Command) -> None:
    found = command("translate", "toy", "--input", "in", "--lm", "lm", "--lm-weight", "0.4",
                    "--nbest", "3", "--format", "jsonl")  # fmt: skip
    listed = [json.loads(line) for line in found.splitlines()]
    loaded = [load_translator(Run.open(Path("runs") / n), device="cpu") for n in ("toy", "lm")]
    translator = loaded[0]
    checked = 0
    for entry in listed:
        if entry["status"] != "finished" or not entry["text"]:
            continue
        pair = (translator.source.encode([LINES[entry["line"] - 1]])[0],
                translator.target.encode([entry["text"]])[0])  # fmt: skip
        if len(pair[1]) + 1 != entry["length"]:
            continue  # search found other tokens of the same text
        own, other = (forced(forcible(one.scorer), [pair], "cpu")[0] for one in loaded)
        assert entry["log_prob"] == pytest.approx(own + 0.4 * other, abs=1e-3)
        checked += 1
    assert checked > 2


def test_a_weight_of_zero_changes_nothing_and_others_do(command: Command) -> None:
    options = ("translate", "toy", "--input", "in", "--scores")
    plain = command(*options)
    assert command(*options, "--lm", "lm", "--lm-weight", "0") == plain
    assert command(*options, "--lm", "lm") == command(*options, "--lm", "lm", "--lm-weight", "0.2")
    assert command(*options, "--lm", "lm") != plain
    assert command(*options, "--lm", "lm", "--search", "sample", "--temperature", "0") == command(
        *options, "--lm", "lm", "--search", "greedy"
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_batches_workers_and_python_agree(command: Command, precision: str) -> None:
    options = ("translate", "toy", "--input", "in", "--precision", precision)
    with_lm = (*options, "--lm", "lm", "--lm-weight", "0.7")
    whole = command(*with_lm, "--scores")
    assert command(*with_lm, "--scores", "--batch-size", "1") == whole
    if precision == "fp32":
        assert command(*with_lm, "--scores", "--workers", "2", "--batch-size", "2") == whole
    model = s2s.load("toy", lm="lm", lm_weight=0.7, device="cpu", quiet=True)
    assert model.translate(LINES, precision=precision) == command(*with_lm).splitlines()


def test_python_scores_as_search_does(command: Command) -> None:
    model = s2s.load("toy", lm="lm", lm_weight=0.7, device="cpu", quiet=True)
    outputs = [best for (best,) in model.translate(LINES, n_best=1)]
    scores = model.score([(line, out.text) for line, out in zip(LINES, outputs, strict=True)])
    same = [
        (score.log_prob, out.log_prob)
        for score, out in zip(scores, outputs, strict=True)
        if score.length == out.length and out.status == "finished"
    ]
    assert len(same) > 1
    for score, log_prob in same:
        assert score == pytest.approx(log_prob, abs=1e-3)


def test_resume_knows_the_language_model_and_its_weight(command: Command) -> None:
    with_lm = ("translate", "toy", "--input", "in", "--output", "out", "--lm", "lm")
    command(*with_lm, "--lm-weight", "0.7")
    whole = Path("out").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s2s.pipeline.translation.remove_note", lambda path: None)
        command(*with_lm, "--lm-weight", "0.7")
    assert note_path(Path("out")).exists()
    Path("out").write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    for other in (("--lm-weight", "0.6"), ()):
        assert "out" in command(*with_lm, *other, "--resume", fails=True)
    assert "out" in command("translate", "toy", "--input", "in", "--output", "out", "--resume",
                            fails=True)  # fmt: skip
    command(*with_lm, "--lm-weight", "0.7", "--resume")
    assert Path("out").read_bytes() == whole


def test_evaluations_name_the_language_model(command: Command) -> None:
    options = ("evaluate", "--run", "toy", "--metric", "chrf", "--metric", "perplexity", "--json")
    plain = json.loads(command(*options))
    found = json.loads(command(*options, "--lm", "lm", "--lm-weight", "0.7"))
    assert Path(found["hypotheses"]) != Path(plain["hypotheses"])
    assert "-lm-lm@" in found["hypotheses"] and found["hypotheses"].endswith("-0.7.txt")
    # Weighted sums are no distribution: perplexity stays that of the translation model.
    assert found["scores"]["perplexity"] == plain["scores"]["perplexity"]
    *_, event = Run.open(Path("runs/toy")).read_events()
    assert event["lm"][::2] == ["lm", 0.7]
    lines = Path(found["hypotheses"]).read_text().splitlines()
    model = s2s.load("toy", lm="lm", lm_weight=0.7, device="cpu", quiet=True)
    sources = open_corpus(Path("runs/toy"), "test").source_texts
    assert sources is not None and model.translate(sources) == lines
    assert model.evaluate(metrics=["chrf"])["chrf"].value == found["scores"]["chrf"]["value"]
    assert "chrF" in command("bleu", "--run", "toy", "--lm", "lm")


def test_the_weight_is_tuned_and_printed(
    command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Run.open(Path("runs/toy"))
    before = run.recipe_path.read_bytes()
    options = ("--beams", "1,3", "--length-penalties", "0,1", "--lm-weights", "0,0.7")
    found = json.loads(
        command("tune-search", "toy", *options, "--metric", "chrf", "--lm", "lm", "--json")
    )
    assert run.recipe_path.read_bytes() == before
    assert [
        (one["lm_weight"], one["width"], one["length_penalty"]) for one in found["searches"]
    ] == [(weight, *search) for weight in (0.0, 0.7) for search in ((1, None), (3, 0.0), (3, 1.0))]
    for one in found["searches"][::2]:
        search = ("--beam", str(one["width"]), "--length-penalty", str(one["length_penalty"] or 0))
        scored = json.loads(
            command("evaluate", "--run", "toy", "--split", "validation", "--metric", "chrf",
                    "--json", "--lm", "lm", "--lm-weight", str(one["lm_weight"]), *search)
        )  # fmt: skip
        assert scored["scores"]["chrf"]["value"] == one["value"]
    best = max(found["searches"], key=lambda one: one["value"])
    assert found["best"]["lm_weight"] == best["lm_weight"]
    status = command_line(["tune-search", "toy", *options, "--lm", "lm", "--device", "cpu"])
    printed = capfd.readouterr()
    assert status == 0 and printed.out.splitlines()[0].split()[:2] == ["lm", "weight"]
    assert printed.err.splitlines()[-1].startswith("s2s: the best is --beam ")
    assert " --lm lm --lm-weight " in printed.err.splitlines()[-1]


def test_an_ensemble_has_one_language_model(command: Command) -> None:
    runs = [Run.open(Path("runs/toy"))] * 2
    fusion = Fusion(run=Run.open(Path("runs/lm")), weight=0.4)
    both = load_ensemble(runs, device="cpu", fusion=fusion)
    one = load_ensemble(runs[:1], device="cpu", fusion=fusion)
    assert [out.text for (out,) in both.outputs(LINES)] == [
        out.text for (out,) in one.outputs(LINES)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "toy", "--lm", "toy"], "expected a language model (task: lm) to add"),
        (["translate", "lm", "--lm", "lm"], "runs/lm: a language model (task: lm), to which"),
        (["bleu", "--run", "lm", "--lm", "lm"], "runs/lm: a language model (task: lm), to which"),
        (["translate", "toy", "--lm-weight", "0.1"], "--lm-weight: has no effect without --lm RUN"),
        (["bleu", "--run", "toy", "--lm-weight", "0.1"], "--lm-weight: has no effect without"),
        (["translate", "toy", "--lm", "lm", "--lm-weight", "-1"],
         "--lm-weight: expected a number of at least 0, found -1"),
        (["translate", "toy", "--lm", "lm", "--lm-weight", "nan"],
         "--lm-weight: expected a number of at least 0, found nan"),
        (["translate", "toy", "--lm", "nowhere"], "--lm: nowhere: no such run"),
        (["translate", "toy", "--lm", "lm", "--shortlist", "4"], "search with --shortlist 0"),
        (["tune-search", "toy", "--lm-weights", "0"], "--lm-weights: has no effect without --lm"),
        (["tune-search", "toy", "--lm", "lm", "--lm-weights", "0,-1"],
         "--lm-weights: expected a number of at least 0, found -1"),
        (["tune-search", "toy", "--lm", "toy"], "expected a language model (task: lm) to add"),
        (["bleu", "in", "--lm", "lm"], "--lm: with reference files"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(
    command: Command, arguments: list[str], message: str
) -> None:
    assert message in command(*arguments, fails=True)


def test_another_tokenizer_is_one_line_with_the_remedy(command: Command) -> None:
    Path("other.yaml").write_text(LM.replace("{kind: from_run, run: toy}", "{kind: word}"))
    command("train", "other.yaml", "--set", "name=other", "--set", "train.max_updates=1")
    message = command("translate", "toy", "--lm", "other", "--input", "in", fails=True)
    assert message == (
        "s2s: error: runs/other: expected the target tokenizer of runs/toy, found another one; "
        "'tokenizer: {kind: from_run, run: runs/toy}' in the recipe of the language model takes "
        "it over"
    )


def test_a_model_that_copies_is_refused(command: Command) -> None:
    command("train", "recipe.yaml", "--set", "name=copying", "--set", "model.copy=pointer",
            "--set", "train.max_updates=1")  # fmt: skip
    assert "copies source words (model.copy)" in command(
        "translate", "copying", "--lm", "lm", "--input", "in", fails=True
    )
    with pytest.raises(UsageError, match="copies source words"):
        s2s.load("copying", lm="lm", device="cpu")


def test_mistakes_in_python_are_one_line(command: Command) -> None:
    with pytest.raises(UsageError, match="lm_weight: has no effect without lm"):
        s2s.load("toy", lm_weight=0.3)
    with pytest.raises(UsageError, match="lm_weight: expected a number of at least 0, found -1"):
        s2s.load("toy", lm="lm", lm_weight=-1)


def test_a_server_adds_it_to_its_runs(command: Command) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")
    from s2s.serve.models import Source, load_models
    from s2s.serve.settings import Settings

    run = Run.open(Path("runs/toy"))
    fusion = Fusion(run=Run.open(Path("runs/lm")), weight=0.7)
    source = Source(name="toy", run=run, search=run.recipe.search, device="cpu", fusion=fusion)
    models = load_models([source], Settings(), lambda *_: None)
    translator = models["toy"].translator
    expected = load_ensemble([run], device="cpu", fusion=fusion).outputs(LINES)
    assert translator.outputs(LINES) == expected
    assert expected != load_ensemble([run], device="cpu").outputs(LINES)
    models.stop(60.0)


# ------------------------------------------------------------------------------ initial weights

BEGUN = """\
task: translation
name: begun
data: {kind: generated, corpus: dates, pairs: 300, held_out: 12, filters: {max_dropped: 1.0}}
tokenizer: {kind: separate, source: {kind: character}, target: {kind: from_run, run: lm}}
train:
  max_updates: 2
  epochs: 1
  batch_tokens: 300
  precision: fp32
  init_from: {run: lm, parts: [decoder, target_embeddings, output]}
"""


def test_a_decoder_begins_with_the_layers_of_a_language_model(command: Command) -> None:
    Path("begun.yaml").write_text(BEGUN)
    command("train", "begun.yaml")
    run, lm = (Run.open(Path("runs") / name) for name in ("begun", "lm"))
    # What the recipe does not say is that of the language model, where it fits.
    model, own = run.recipe.model, lm.recipe.model
    assert (model.decoder.kind, model.attention.kind) == ("luong", "general")
    assert (model.decoder.width, model.decoder.layers) == (own.decoder.width, own.decoder.layers)
    assert (model.embeddings, model.tied) == (own.embeddings, own.tied)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    assert tokenizers.target == load_tokenizers(lm.tokenizer_folder).target
    corpus = open_corpus(run.folder, "train")
    untrained = build_task(run.recipe, tokenizers).initial_model(corpus)
    before = {name: one.detach().clone() for name, one in untrained.named_parameters()}
    first, second = begin(untrained, run, run.recipe, tokenizers, corpus)
    weights = lm.read_weights("best")
    taken = [name for name, one in untrained.named_parameters() if not one.equal(before[name])]
    layers = [name for name in weights if name.startswith("decoder.layers.")]
    assert sorted(taken) == sorted([*layers, "target_embedding.weight", "output.bias"])
    assert layers
    for name, one in untrained.named_parameters():
        assert name not in taken or one.equal(weights[name])
    count = sum(weights[name].numel() for name in taken)
    assert first.startswith(f"begins with {count:,} of ")
    assert second == (
        f"runs/lm, checkpoint {lm.checkpoints().best} is a language model: of its decoder the "
        "layers are taken over; decoder.bridge, decoder.readout begin as in any training"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.init_from=lm", "cannot take over 'encoder' .*output\\] fit"),
        ("model.decoder={kind: luong, width: 18}", "'decoder' \\(decoder.layers.0.*here, .*there"),
        ("model.decoder={kind: luong, width: 17, layers: 2}", "decoder.layers.1.*none there"),
        ("model.decoder={kind: luong, width: 17, input_feeding: true}", "decoder.layers.0.*here"),
    ],
)
def test_layers_that_do_not_fit_are_one_line(command: Command, change: str, message: str) -> None:
    Path("begun.yaml").write_text(BEGUN)
    with pytest.raises(UsageError, match=message) as caught:
        pipeline.train(load_draft("begun.yaml", [change, "name=misfit"]), device="cpu")
    assert "\n" not in str(caught.value)

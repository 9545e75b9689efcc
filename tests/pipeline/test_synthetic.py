"""Training pairs that other runs make: back-translation, forward translation, distillation."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch

from s2s import pipeline
from s2s.data.batches import collate
from s2s.data.distributions import DISTRIBUTIONS_FOLDER, Distributions
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import DataError, Interrupted, RecipeError, RunError, UsageError
from s2s.inference.load import load_ensemble
from s2s.inference.translator import LineTranslator
from s2s.pipeline.loading import load
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s.search.ensemble import forcible
from s2s.text.tokenizer_pair import load_tokenizers
from tests.commands import RECIPE, pairs, write_example
from tests.training.test_resume import figures, stop_after
from tests.training.toys import differing

SWAPPED = RECIPE.replace("source: ", "SIDE: ").replace("target: ", "source: ")
SWAPPED = SWAPPED.replace("SIDE: ", "target: ").replace("name: spell", "name: reverse")

LM = """\
task: lm
data: {kind: files, train: {target: train.y}, validation: {target: validation.y}}
model: {decoder: {kind: plain}}
"""

TEXT = [target for _, target in pairs(60, seed=11)]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A folder with the example, its run and one that translates the other way."""
    folder = tmp_path_factory.mktemp("teachers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_example()
        Path("reverse.yaml").write_text(SWAPPED)
        Path("text.y").write_text("".join(f"{line}\n" for line in ["", *TEXT]))
        Path("text.x").write_text("".join(f"{source}\n" for source, _ in pairs(25, seed=12)))
        for name in ("recipe.yaml", "reverse.yaml"):
            pipeline.train(load_recipe(name), device="cpu")
    return folder


@pytest.fixture(autouse=True)
def here(teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shutil.copytree(teachers, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return


def recipe(*changes: str, name: str = "new") -> Any:
    return load_recipe("recipe.yaml", [f"name={name}", *changes])


BACK = "data.synthetic=[{run: reverse, target: text.y}]"


def made(name: str = "1", run: str = "new") -> tuple[list[str], list[str]]:
    folder = Path("runs") / run / "synthetic" / name
    return tuple(  # type: ignore[return-value]
        (folder / file).read_text().splitlines() for file in ("source.txt", "target.txt")
    )


def outputs(run: str, lines: list[str], n_best: int = 1) -> list[list[Any]]:
    return load(run, device="cpu", quiet=True).translate(lines, n_best=n_best)


def whole(run: str, lines: list[str], n_best: int = 1) -> list[list[str]]:
    """The outputs that end by themselves and are not blank, equal ones once."""
    return [
        list(dict.fromkeys(one.text for one in found if one.status == "finished" and one.text))
        for found in outputs(run, lines, n_best)
    ]


# ------------------------------------------------------------------------------ back-translation


def test_sources_are_what_the_reverse_run_writes() -> None:
    report = pipeline.prepare(recipe(BACK))
    expected = [
        (texts[0], line) for line, texts in zip(TEXT, whole("reverse", TEXT), strict=True) if texts
    ]
    assert list(zip(*made(), strict=True)) == expected
    assert 0 < len(expected) <= len(TEXT)
    (found,) = report.made
    assert (found.read, found.pairs, found.blank) == (len(TEXT) + 1, len(expected), 1)
    assert found.pairs + found.blank + found.cut == found.read
    assert report.splits["train"].corpora[1] == len(expected)
    assert any("data.synthetic[0]" in line and "runs/reverse" in line for line in report.lines())


def test_made_sources_have_a_tag_and_true_ones_do_not() -> None:
    pipeline.prepare(recipe(BACK))
    tokenizer = load_tokenizers(Path("runs/new/tokenizer")).source
    corpus = open_corpus(Path("runs/new"), "train")
    firsts = corpus.source_values[corpus.source_offsets[:-1]]
    (tag,) = set(firsts[corpus.sizes[0] :].tolist())
    assert tokenizer.pieces([tag]) == ["<bt>"]
    assert tag not in corpus.source_values[: corpus.source_offsets[corpus.sizes[0]]]


def test_without_a_tag_and_with_a_weight() -> None:
    one = recipe("data.synthetic=[{run: reverse, target: text.y, tag: none, weight: 3.0}]")
    pipeline.train(one, device="cpu")
    assert not hasattr(load_tokenizers(Path("runs/new/tokenizer")).source, "tags")
    weighed = Run.open(Path("runs/new"))
    plain = recipe("data.synthetic=[{run: reverse, target: text.y, tag: none}]", name="plain")
    pipeline.train(plain, device="cpu")
    assert len_of_epoch(weighed) > len_of_epoch(Run.open(Path("runs/plain")))


def test_forward_translation_makes_targets() -> None:
    pipeline.prepare(recipe("data.synthetic=[{run: spell, source: text.x}]"))
    lines = Path("text.x").read_text().splitlines()
    expected = [
        (line, texts[0]) for line, texts in zip(lines, whole("spell", lines), strict=True) if texts
    ]
    assert list(zip(*made(), strict=True)) == expected
    corpus = open_corpus(Path("runs/new"), "train")
    assert corpus.sizes == (400, len(expected))


def test_several_outputs_are_pairs_of_their_own() -> None:
    pipeline.prepare(recipe("data.synthetic=[{run: reverse, target: text.y, outputs: 3}]"))
    found = whole("reverse", TEXT, 3)
    expected = [(one, line) for line, texts in zip(TEXT, found, strict=True) for one in texts]
    assert list(zip(*made(), strict=True)) == expected
    assert len(expected) > len(TEXT)


# ------------------------------------------------------------------------- what is made when again


def translations(patch: pytest.MonkeyPatch) -> list[int]:
    """Counts the lines that are translated from now on, a number for each window."""
    counts = []
    plain = LineTranslator.outputs

    def counted(self: LineTranslator, lines: list[str], *more: Any, **named: Any) -> Any:
        counts.append(len(lines))
        return plain(self, lines, *more, **named)

    patch.setattr(LineTranslator, "outputs", counted)
    return counts


def test_pairs_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.prepare(recipe(BACK))
    counts = translations(monkeypatch)
    assert pipeline.prepare(recipe(BACK)).redone == ()
    assert counts == []
    pipeline.prepare(recipe(BACK), force=True)
    assert sum(counts) == len(TEXT) + 1


@pytest.mark.parametrize("what", ["text", "run", "search"])
def test_a_change_makes_them_anew(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.prepare(recipe(BACK))
    before = made()
    changed = recipe(BACK)
    if what == "text":
        Path("text.y").write_text("".join(f"{line}\n" for line in TEXT[:30]))
    elif what == "run":
        pipeline.train(load_recipe("reverse.yaml", ["seed=2"]), device="cpu", restart=True)
    else:
        search = "search: {kind: sample, seed: 3}"
        changed = recipe(f"data.synthetic=[{{run: reverse, target: text.y, {search}}}]")
    counts = translations(monkeypatch)
    if what == "search":
        shutil.rmtree("runs/new")
    report = pipeline.prepare(changed)
    assert sum(counts)
    assert report.redone == ("tokenizer", "data")
    assert made() != before


def test_a_run_that_has_begun_keeps_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after([9], patch)
        with pytest.raises(Interrupted):
            pipeline.train(recipe(BACK), device="cpu")
    shutil.rmtree("runs/reverse")
    Path("text.y").unlink()
    pipeline.train(recipe(BACK), device="cpu")
    interrupted = Run.open(Path("runs/new"))
    shutil.copytree("runs/new/synthetic", "kept")
    assert interrupted.checkpoints().last == 4 * len_of_epoch(interrupted)


def len_of_epoch(run: Run) -> int:
    return int(next(e for e in run.read_events() if e["event"] == "validation")["update"])


def test_an_interrupted_translation_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.prepare(recipe(BACK, name="whole"))
    shutil.move("runs/whole", "whole")  # where no run takes pairs from it
    monkeypatch.setattr("s2s.inference.stream.FIRST_WINDOW", 4)
    plain, calls = LineTranslator.outputs, []

    def interrupted(self: LineTranslator, lines: list[str], *more: Any, **named: Any) -> Any:
        calls.append(len(lines))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return plain(self, lines, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(LineTranslator, "outputs", interrupted)
        with pytest.raises(Interrupted, match=r"data.synthetic\[0\]: interrupted"):
            pipeline.prepare(recipe(BACK))
    assert not Path("runs/new/synthetic/1").exists()
    counts = translations(monkeypatch)
    pipeline.prepare(recipe(BACK))
    assert made() == made(run="../whole")
    assert 0 < sum(counts) < len(TEXT) + 1
    assert [path.name for path in Path("runs/new/synthetic").iterdir()] == ["1"]


def test_runs_that_want_the_same_pairs_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    back = "data.synthetic=[{run: reverse, target: text.y, tag: none}]"
    same = (back, "train.distill={teacher: spell, level: both}", TAKEN)
    pipeline.prepare(recipe(*same))
    counts = translations(monkeypatch)
    more = "data.synthetic=[{run: spell, source: text.x}, {run: reverse, target: text.y}]"
    pipeline.prepare(recipe(more, name="more"))
    assert sum(counts) == 25
    assert made("2", "more") == made()
    files = [Path("runs") / name / "source.txt" for name in ("new/synthetic/1", "more/synthetic/2")]
    assert files[0].stat().st_ino == files[1].stat().st_ino
    monkeypatch.setattr("s2s.pipeline.distillation._Maker", None)
    pipeline.train(recipe(*same, "seed=2", "train.max_updates=3", name="other"), device="cpu")
    assert len(list(Path("runs").glob("*/distributions/ids.npy"))) == 2


def test_pairs_that_the_recipe_no_longer_names_are_removed() -> None:
    pipeline.prepare(recipe(BACK))
    shutil.copytree("runs/new/synthetic/1", "runs/new/synthetic/2")
    pipeline.prepare(recipe(BACK))
    assert [path.name for path in Path("runs/new/synthetic").iterdir()] == ["1"]


# -------------------------------------------------------------------------------- distillation


def test_sequence_level_targets_are_the_teachers() -> None:
    pipeline.prepare(recipe("train.distill={teacher: spell, originals: false}"))
    sources = Path("train.x").read_text().splitlines()
    expected = [
        (line, texts[0])
        for line, texts in zip(sources, whole("spell", sources), strict=True)
        if texts
    ]
    assert list(zip(*made("distilled"), strict=True)) == expected
    assert len(open_corpus(Path("runs/new"), "train")) == len(expected)


def test_originals_stay_beside_them() -> None:
    pipeline.prepare(recipe("train.distill={teacher: [spell, spell]}"))
    sizes = open_corpus(Path("runs/new"), "train").sizes
    assert sizes[0] == 400
    assert sizes[1] == len(made("distilled")[0])
    (report,) = (Run.open(Path("runs/new")).recipe,)
    assert report.train.distill.teacher == ("spell", "spell")


def test_a_teacher_reads_no_tag_that_it_does_not_know() -> None:
    pipeline.prepare(recipe("data.tag=<a>", "train.distill={teacher: spell, originals: false}"))
    sources = Path("train.x").read_text().splitlines()
    expected = [
        (f"<a> {line}", texts[0])
        for line, texts in zip(sources, whole("spell", sources), strict=True)
        if texts
    ]
    assert list(zip(*made("distilled"), strict=True)) == expected


def test_the_closest_output_has_the_best_sentence_bleu() -> None:
    pipeline.prepare(recipe("train.distill={teacher: spell, outputs: 3, choose: closest}"))
    sources = Path("train.x").read_text().splitlines()
    references = Path("train.y").read_text().splitlines()
    found = dict(zip(*made("distilled"), strict=True))
    is_other = 0
    candidates = whole("spell", sources, 3)
    for source, reference, texts in zip(sources, references, candidates, strict=True):
        if not texts:
            continue
        scores = [sacrebleu.sentence_bleu(text, [reference]).score for text in texts]
        assert sacrebleu.sentence_bleu(found[source], [reference]).score == max(scores)
        is_other += found[source] != texts[0]
    assert is_other


WORD = "train.distill={teacher: spell, level: word, top_k: 5, temperature: 2.0}"
TAKEN = "tokenizer={kind: from_run, run: spell}"


def test_distributions_are_the_teachers_of_forced_decoding() -> None:
    pipeline.prepare(recipe(WORD, TAKEN))
    pair = load_tokenizers(Path("runs/new/tokenizer"))
    corpus = open_corpus(Path("runs/new"), "train")
    total = len(corpus.target_values) + len(corpus)
    opened = Distributions.open(Path("runs/new") / DISTRIBUTIONS_FOLDER, total, pair.target.size)
    teacher = forcible(load_ensemble([Run.open(Path("runs/spell"))], device="cpu").scorer)
    place = 0
    for row in range(40):
        batch = collate(corpus, np.array([row]))
        with torch.inference_mode():
            logits = teacher(batch.source, batch.source_lengths, batch.target_input)[0].double()
        expected = (logits.log_softmax(-1) / 2.0).topk(5)
        steps = slice(place, place + len(logits))
        assert opened.ids_NK[steps].tolist() == expected.indices.tolist()
        found = torch.from_numpy(opened.probabilities_NK[steps].astype("float64"))
        torch.testing.assert_close(found, expected.values.softmax(-1), atol=1e-3, rtol=1e-3)
        place = steps.stop
    rows = np.array([7, 3, 5])
    starts, lengths = corpus.target_offsets[rows] + rows, corpus.target_lengths[rows] + 1
    ids, probabilities = opened.gather(starts, lengths, 12)
    for i, row in enumerate(rows):
        for t in range(12):
            if t >= lengths[i]:
                assert not probabilities[i, t].any()
                continue
            at = corpus.target_offsets[row] + row + t
            assert (ids[i, t] == opened.ids_NK[at]).all()
            assert (probabilities[i, t] == opened.probabilities_NK[at]).all()


def test_a_model_learns_nothing_from_itself() -> None:
    """The cross-entropy with one's own distribution is least where one is."""
    changes = (
        "train.init_from={run: spell}",
        "model.dropout={embedding: 0.0, encoder: 0.0, decoder: 0.0, readout: 0.0}",
        "train.label_smoothing=0.0",
        "train.max_updates=1",
        "train.validate_every=1",
        "train.optimizer.learning_rate=1e-9",
    )
    distill = "{teacher: spell, level: word, top_k: 1000, mix: %s}"
    norms = []
    for name, mix in (("self", "1.0"), ("half", "0.5"), ("data", "1e-6")):
        one = recipe(TAKEN, *changes, f"train.distill={distill % mix}", name=name)
        pipeline.train(one, device="cpu")
        events = Run.open(Path("runs") / name).read_events()
        norms.append(next(e["gradient_norm"] for e in events if e["event"] == "update"))
    assert norms[0] < 1e-2 * norms[2]
    assert norms[1] == pytest.approx(norms[2] / 2, rel=1e-2)


def test_a_training_with_teachers_resumes_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    both = WORD.replace("level: word", "level: both")
    pipeline.train(recipe(both, TAKEN, name="straight"), device="cpu")
    with monkeypatch.context() as patch:
        stop_after([7, 30], patch)
        for _ in range(2):
            with pytest.raises(Interrupted):
                pipeline.train(recipe(both, TAKEN), device="cpu")
    shutil.rmtree("runs/spell")
    pipeline.train(recipe(both, TAKEN), device="cpu")
    runs = [Run.open(Path("runs") / name) for name in ("straight", "new")]
    assert differing(*(run.read_weights("last") for run in runs)) == []
    assert figures(runs[0]) == figures(runs[1])


def test_interrupted_teachers_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.prepare(recipe(WORD, TAKEN, name="whole"))
    shutil.move("runs/whole", "whole")
    monkeypatch.setattr("s2s.pipeline.distillation.SHARD", 100)
    from s2s.pipeline.distillation import _Maker

    plain, shards = _Maker._shard, []

    def interrupted(self: Any, corpus: Any, rows: Any, *more: Any) -> None:
        shards.append(int(rows[0]))
        if len(shards) == 3:
            raise KeyboardInterrupt
        plain(self, corpus, rows, *more)

    monkeypatch.setattr(_Maker, "_shard", interrupted)
    with pytest.raises(Interrupted, match=r"train\.distill\.teacher: interrupted"):
        pipeline.prepare(recipe(WORD, TAKEN))
    pipeline.prepare(recipe(WORD, TAKEN))
    assert shards == [0, 100, 200, 200, 300]
    for file in ("ids.npy", "probabilities.npy"):
        contents = [
            (folder / DISTRIBUTIONS_FOLDER / file).read_bytes()
            for folder in (Path("whole"), Path("runs/new"))
        ]
        assert contents[0] == contents[1]


# ------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ("{run: nobody, target: text.y}", r"data.synthetic\[0\].run: nobody: no such run"),
        ("{run: new, target: text.y}", "is this run itself"),
        ("{run: spell, target: text.y}", "spell translates sources into targets"),
        ("{run: reverse, source: text.x}", "reverse translates targets into sources"),
        ("{run: reverse, target: text.z}", "text.z: no such file"),
        (
            "{run: reverse, target: text.y, filters: {max_length: 4, max_dropped: 0.1}}",
            r"train, data.synthetic\[0\]: .* than data.synthetic\[0\].filters.max_dropped 0.1",
        ),
        ("{run: lm, source: text.x}", r"synthetic\[0\].run: runs/lm: a language model"),
        ("{run: reverse, target: blank.y}", r"data.synthetic\[0\]: blank.y: expected a line of te"),
        ("{run: reverse, target: test.y}", r"has \d+ of the \d+ different lines of test"),
        ("{run: reverse, target: text.y, outputs: 9}", r"\[0\].outputs: search 'beam' finds 3"),
    ],
)
def test_what_cannot_be_made_is_one_line(section: str, what: str) -> None:
    Path("blank.y").write_text("\n \n")
    Path("runs/lm").mkdir()
    Path("runs/lm/recipe.yaml").write_text(LM)
    with pytest.raises((UsageError, DataError), match=what) as error:
        pipeline.prepare(recipe(f"data.synthetic=[{section}]"))
    assert "\n" not in str(error.value)
    assert not Path("runs/new/data").exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("data.synthetic=[{run: reverse}]", "found neither"),
        (
            "data.synthetic=[{run: r, target: a, tag: bt}]",
            r"synthetic\[0\].tag: expected one symbol such as <2en>, .*, or 'none', found 'bt'$",
        ),
        ("data.synthetic=[{run: reverse, target: a, source: b}]", "found both"),
        ("data.synthetic=[{run: r, target: a, search: {kind: greedy}, outputs: 2}]", "finds 1"),
        ("train.distill={teacher: spell, choose: closest}", "needs several outputs"),
        ("train.distill={teacher: spell, level: words}", "did you mean 'word'"),
    ],
)
def test_faults_of_the_recipe_are_named(change: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        recipe(change)


def test_teachers_with_other_tokens_are_refused_before_training() -> None:
    with pytest.raises(UsageError, match=r"runs/spell has another target tokenizer.*from_run"):
        pipeline.prepare(recipe(WORD, "tokenizer={kind: character}", "data.filters.max_length=90"))
    with pytest.raises(UsageError, match=r"teacher: .*reverse translates targets into sources"):
        pipeline.prepare(recipe(WORD.replace("spell", "reverse"), name="other"))


def damage_distributions(damage: str) -> None:
    folder = Path("runs/new") / DISTRIBUTIONS_FOLDER
    ids = np.load(folder / "ids.npy")
    if damage == "missing":
        (folder / "probabilities.npy").unlink()
    elif damage == "short":
        np.save(folder / "ids.npy", ids[:-1])
    else:
        ids[3, 2] = 60000
        np.save(folder / "ids.npy", ids)


@pytest.mark.parametrize("damage", ["missing", "short", "ids"])
def test_damaged_distributions_of_a_begun_run_are_one_line(
    damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after([3], patch)
        with pytest.raises(Interrupted):
            pipeline.train(recipe(WORD, TAKEN), device="cpu")
    damage_distributions(damage)
    with pytest.raises(RunError, match="distributions: missing or damaged"):
        pipeline.train(recipe(WORD, TAKEN), device="cpu")


@pytest.mark.parametrize("damage", ["missing", "short", "ids"])
def test_damaged_distributions_are_made_anew_before_training(damage: str) -> None:
    pipeline.prepare(recipe(WORD, TAKEN))
    folder = Path("runs/new") / DISTRIBUTIONS_FOLDER
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage_distributions(damage)
    pipeline.prepare(recipe(WORD, TAKEN))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_missing_pairs_are_made_anew() -> None:
    pipeline.prepare(recipe(BACK))
    before = made()
    Path("runs/new/synthetic/1/target.txt").unlink()
    pipeline.prepare(recipe(BACK))
    assert made() == before


def test_a_damaged_report_of_pairs_makes_them_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.prepare(recipe(BACK))
    before = made()
    Path("runs/new/synthetic/1/made.json").write_text(json.dumps({"report": [], "digest": 3}))
    counts = translations(monkeypatch)
    pipeline.prepare(recipe(BACK))
    assert sum(counts) == len(TEXT) + 1
    assert made() == before

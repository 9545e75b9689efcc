"""Subword sampling: valid segmentations, reproducible for every seed and epoch."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import sentencepiece

from s2s import pipeline
from s2s.data import subword_sampling
from s2s.data.epochs import Epochs, sampled_pairs
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.store import Corpus
from s2s.data.subword_sampling import Stopped, SubwordSampler, open_subword_sampler
from s2s.errors import Interrupted, RecipeError, RunError
from s2s.recipe.data import FilesData, FileSet, SeveralData
from s2s.recipe.filters import Truncate
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    Sampling,
    SeparateTokenizers,
    SubwordTokenizer,
    Tokenizers,
    WordTokenizer,
    sampling_alphas,
)
from s2s.recipe.train import Train
from s2s.run.directory import Run
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import Subwords
from s2s.text.tags import Tagged
from s2s.text.tokenizer_pair import load_tokenizers, sampling, train_tokenizers
from tests.training.test_resume import figures, stop_after
from tests.training.toys import Listener, differing, small_recipe, weights, write_task

RANDOM = Random(11)
WORDS = ["".join(RANDOM.choices("abcdefgh", k=RANDOM.randint(3, 9))) for _ in range(60)]
PAIRS = [tuple(" ".join(RANDOM.choices(WORDS, k=n)) for n in (5, 7)) for _ in range(70)]
KINDS = ["unigram", "bpe"]


def subwords(kind: Any = "unigram", **sampled: Any) -> SubwordTokenizer:
    chosen = Sampling(**{"alpha": 0.3, **sampled})
    return SubwordTokenizer(kind=kind, vocabulary=70, sampling=chosen)


def recipe_of(folder: Path, tokenizer: Tokenizers, **data: Any) -> Recipe:
    paths = []
    for place, side in enumerate(("source", "target")):
        path = folder / f"train.{side}"
        if not path.exists():
            path.write_text("".join(f"{pair[place]}\n" for pair in PAIRS))
        paths.append(str(path))
    files = FileSet(source=paths[0], target=paths[1])
    corpus = FilesData(kind="files", train=files, validation=files, **data)
    return Recipe(task="translation", data=corpus, tokenizer=tokenizer)


def resampler_of(recipe: Recipe, folder: Path, threads: int = 1) -> SubwordSampler:
    prepare(recipe, folder)
    found = open_subword_sampler(
        open_corpus(folder, "train"),
        load_tokenizers(folder / "tokenizer"),
        recipe,
        folder / "sampling",
        threads,
    )
    assert found is not None
    return found


def rows(corpus: Corpus, side: str) -> list[list[int]]:
    values, offsets = getattr(corpus, f"{side}_values"), getattr(corpus, f"{side}_offsets")
    return [values[offsets[i] : offsets[i + 1]].tolist() for i in range(len(corpus))]


def both(corpus: Corpus) -> tuple[list[list[int]], list[list[int]]]:
    return rows(corpus, "source"), rows(corpus, "target")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subword_sampling, "CHUNK_ROWS", 16)


# Tokenizers.


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_another_segmentation_of_the_same_text(kind: str) -> None:
    lines = [pair[0] for pair in PAIRS]
    best = train_tokenizers(subwords(kind), [(lines, lines)], seed=1).source
    drawing = sampling(best, 0.1, (1, 0))
    found = drawing.encode(lines)
    assert drawing.decode(found) == best.decode(best.encode(lines)) == lines
    changed = sum(one != other for one, other in zip(found, best.encode(lines), strict=True))
    assert changed > len(lines) / 3
    assert drawing == best and drawing.size == best.size


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_depends_on_the_seed_and_on_no_call_before(kind: str) -> None:
    lines = [pair[0] for pair in PAIRS]
    best = train_tokenizers(subwords(kind), [(lines, lines)], seed=1).source
    drawing = sampling(best, 0.3, (1, 0))
    first = drawing.encode(lines)
    assert drawing.encode(lines[3:]) != first[3:]
    assert drawing.encode(lines) == first
    assert sampling(best, 0.3, (1, 1)).encode(lines) != first
    assert sampling(best, 0.3, (1, 0)).encode(lines) == first
    assert best.encode(lines) == train_tokenizers(
        subwords(kind), [(lines, lines)], seed=1
    ).source.encode(lines)


def test_smaller_alphas_of_a_unigram_model_draw_more_pieces() -> None:
    """As in the flattened distribution; sentencepiece is the oracle for the best."""
    lines = [pair[0] for pair in PAIRS]
    best = train_tokenizers(subwords(), [(lines, lines)], seed=1).source
    assert isinstance(best, Subwords)

    def num_pieces(tokenizer: Any) -> int:
        return sum(map(len, tokenizer.encode(lines)))

    counts = [num_pieces(sampling(best, alpha, (2,))) for alpha in (0.05, 0.4, 1.0)]
    assert counts[0] > counts[1] > counts[2]
    model = sentencepiece.SentencePieceProcessor(model_proto=best._model)
    assert num_pieces(best) == sum(map(len, model.encode(lines)))


def test_every_merge_of_a_bpe_model_left_out_leaves_characters() -> None:
    lines = [pair[0] for pair in PAIRS]
    best = train_tokenizers(subwords("bpe"), [(lines, lines)], seed=1).source
    (found,) = sampling(best, 1.0, (1,)).encode(["abc def"])
    assert best.pieces(found) == ["▁", "a", "b", "c", "▁", "d", "e", "f"]


def test_tags_and_features_are_not_drawn() -> None:
    lines = [pair[0] for pair in PAIRS]
    base = train_tokenizers(subwords(), [(lines, lines)], seed=1).source
    features = train_tokenizers(WordTokenizer(kind="word"), [(["V PST"], [""])], seed=1).source
    tokenizer = Tagged(SourceFeatureTokenizer(base, features), ("<bt>",))
    texts = [f"<bt> {line}\tV PST" for line in lines]
    found = sampling(tokenizer, 0.1, (1,)).encode(texts)
    best = tokenizer.encode(texts)
    assert tokenizer.decode(found) == tokenizer.decode(best)
    assert {row[0] for row in found} == {base.size + features.size - 4 + 1}
    assert {tuple(row[-3:]) for row in found} == {tuple(best[0][-3:])}
    assert found != best


# Epochs.


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_a_function_of_seed_and_number(tmp_path: Path, kind: str) -> None:
    recipe = recipe_of(tmp_path, subwords(kind))
    one = resampler_of(recipe, tmp_path / "run")
    first = both(one.epoch(0, None))
    second = both(one.epoch(1, None))
    assert both(one.epoch(0, None)) == first
    assert all(a != b for a, b in zip(first, second, strict=True))
    for threads in (2, 5):
        other = replace(one, threads=threads)
        assert [both(other.epoch(n, None)) for n in (1, 0)] == [second, first]
    assert both(replace(one, recipe=replace(recipe, seed=2)).epoch(0, None)) != first
    assert not (tmp_path / "run" / "sampling").exists()
    tokenizers = load_tokenizers(tmp_path / "run" / "tokenizer")
    assert tokenizers.source.decode(first[0]) == [pair[0] for pair in PAIRS]
    assert tokenizers.target.decode(first[1]) == [pair[1] for pair in PAIRS]


def test_equal_texts_on_both_sides_are_cut_differently(tmp_path: Path) -> None:
    for side in ("source", "target"):
        (tmp_path / f"train.{side}").write_text("".join(f"{pair[0]}\n" for pair in PAIRS))
    recipe = recipe_of(tmp_path, subwords(alpha=0.02))
    source, target = both(resampler_of(recipe, tmp_path).epoch(0, None))
    same = sum(one == other for one, other in zip(source, target, strict=True))
    assert same < len(source) / 4


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("sampled", ["source", "target"])
@pytest.mark.parametrize("is_shared", [True, False])
def test_only_the_sides_asked_for_are_drawn(tmp_path: Path, sampled: str, is_shared: bool) -> None:
    if is_shared:
        tokenizer: Any = subwords(sides=sampled)
    else:
        sides = {side: WordTokenizer(kind="word") for side in ("source", "target")}
        tokenizer = SeparateTokenizers(kind="separate", **{**sides, sampled: subwords()})
    assert [alpha is not None for alpha in sampling_alphas(tokenizer)] == [
        sampled == "source",
        sampled == "target",
    ]
    recipe = recipe_of(tmp_path, tokenizer)
    epoch = resampler_of(recipe, tmp_path / "run").epoch(0, None)
    best = open_corpus(tmp_path / "run", "train")
    for side in ("source", "target"):
        assert (rows(epoch, side) == rows(best, side)) == (side != sampled)


@pytest.mark.usefixtures("small_chunks")
def test_what_is_drawn_is_cut_and_weighted_and_batched_by_its_own_lengths(tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path, subwords(alpha=0.05), truncate=Truncate(source=9), weight=1.5, tag="<bt>"
    )
    recipe = replace(recipe, train=Train(batch_tokens=80))
    sampler = resampler_of(recipe, tmp_path / "run")
    epoch = Epochs(sampler.corpus, recipe, 1, sampler)(3)
    chosen = sampled_pairs((70,), (1.5,), seed=1, epoch=3)
    assert chosen is not None and len(epoch.corpus) == len(chosen) == 105
    assert epoch.corpus.source_lengths.max() == 9
    source = load_tokenizers(tmp_path / "run" / "tokenizer").source
    assert {row[0] for row in rows(epoch.corpus, "source")} == {source.size - 1}
    decoded = load_tokenizers(tmp_path / "run" / "tokenizer").target.decode(
        rows(epoch.corpus, "target")
    )
    assert decoded == [PAIRS[row][1] for row in np.sort(chosen)]
    assert sorted(epoch.plan.order.tolist()) == list(range(105))
    for pairs in epoch.plan:
        longest = int(epoch.corpus.target_lengths[pairs].max()) + 1
        assert len(pairs) == 1 or len(pairs) * longest <= 80
    assert Epochs(sampler.corpus, recipe, 1, None)(3).corpus is sampler.corpus


def test_epochs_made_ahead_are_those_made_when_asked_for(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, subwords())
    sampler = resampler_of(recipe, tmp_path / "run")
    direct = [both(sampler.epoch(number, None)) for number in range(3)]
    epochs = Epochs(sampler.corpus, recipe, 4, sampler)
    found = []
    for number in range(3):
        found.append(both(epochs(number).corpus))
        assert epochs(number) is epochs(number)
        epochs.prepare(number + 1)
    assert found == direct
    assert both(epochs(0).corpus) == direct[0]  # while the fourth one may still be in the making
    epochs.close()
    assert not (tmp_path / "run" / "sampling").exists()
    with pytest.raises(Stopped):
        sampler.epoch(5, None)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = resampler_of(recipe_of(tmp_path, subwords()), tmp_path / "run")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(subword_sampling, "write_corpus", full)
    with pytest.raises(RunError) as error:
        sampler.epoch(2, None)
    assert str(error.value) == (
        f"{tmp_path}/run/sampling/epoch2.arrow: cannot write the epoch: No space left on device"
    )


# Preparation.


def test_texts_are_kept_where_they_are_drawn_from_and_nowhere_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    without = recipe_of(tmp_path, replace(subwords(), sampling=None))
    prepare(without, run)
    assert open_corpus(run, "train").source_texts is None
    ids = both(open_corpus(run, "train"))
    assert prepare(recipe_of(tmp_path, subwords()), run).redone == ("data",)
    train = open_corpus(run, "train")
    assert train.source_texts == [pair[0] for pair in PAIRS]
    assert train.target_texts == [pair[1] for pair in PAIRS]
    assert both(train) == ids == both(open_corpus(run, "validation"))
    assert prepare(recipe_of(tmp_path, subwords(alpha=0.9)), run).redone == ()
    assert open_subword_sampler(train, load_tokenizers(run / "tokenizer"), without, run, 1) is None


# Training.


def train(recipe: Recipe, root: Path) -> Run:
    pipeline.train(recipe, runs=root, device="cpu", reporter=Listener())
    return Run.open(root / "toy")


def test_interrupted_and_resumed_is_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within an epoch and at its end; with two corpora, one of them sampled in part."""
    first = write_task(tmp_path / "one", longest=9)
    second = write_task(tmp_path / "two", str.upper, longest=9, validation=False)
    second = replace(second, test=None, weight=0.6, tag="<up>")
    data = SeveralData(kind="several", corpora=(first, second))
    tokenizer = SubwordTokenizer(kind="bpe", vocabulary=50, sampling=Sampling(alpha=0.2))
    recipe = small_recipe(first, batch_tokens=200, average=0.9, epochs=3)
    recipe = replace(recipe, data=data, tokenizer=tokenizer)
    straight = train(recipe, tmp_path / "straight")
    updates = [
        event["update"] for event in straight.read_events() if event["event"] == "validation"
    ]
    stops = [2, updates[0], updates[1] + 3]
    with monkeypatch.context() as patch:
        stop_after(stops, patch)
        for _ in stops:
            with pytest.raises(Interrupted):
                train(recipe, tmp_path / "stopped")
    stopped = train(recipe, tmp_path / "stopped")
    assert figures(stopped) == figures(straight)
    assert differing(weights(stopped), weights(straight)) == []
    assert not list(tmp_path.rglob("sampling"))


TRAINING = """
import os, signal, sys
from pathlib import Path
from s2s import pipeline
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.training.reporter import PlainReporter
from s2s.training.update import Updater

make = Updater.__call__

def killed(self, *arguments, **named):
    if self.state.position.update == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return make(self, *arguments, **named)

Updater.__call__ = killed
pipeline.train(load_recipe(Path("toy.yaml")), runs=Path(sys.argv[1]), device="cpu",
               reporter=PlainReporter())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("kind", KINDS)
def test_processes_train_the_same_model(tmp_path: Path, kind: Any) -> None:
    """Also if one was killed within its second epoch, and whatever the seed of their hashes."""
    task = write_task(tmp_path / "task", longest=9)
    recipe = small_recipe(task, batch_tokens=400, epochs=3, validate_every=2)
    recipe = replace(recipe, tokenizer=subwords(kind))
    (tmp_path / "toy.yaml").write_text(dump_recipe(recipe))

    def run(root: str, hashes: int, kill_at: int = -1) -> int:
        done = subprocess.run(
            [sys.executable, "-c", TRAINING, root, str(kill_at)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": str(hashes)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode

    assert run("straight", 1) == 0
    straight = Run.open(tmp_path / "straight" / "toy")
    updates = figures(straight)[-1][0]
    assert run("killed", 2, updates // 2) == -signal.SIGKILL
    assert run("killed", 3) == 0
    killed = Run.open(tmp_path / "killed" / "toy")
    assert figures(killed) == figures(straight)
    assert differing(weights(killed), weights(straight)) == []


def test_training_sees_another_segmentation_in_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Corpus] = []
    make = SubwordSampler.epoch

    def remembered(self: SubwordSampler, number: int, chosen: Any) -> Corpus:
        seen.append(make(self, number, chosen))
        return seen[-1]

    monkeypatch.setattr(SubwordSampler, "epoch", remembered)
    recipe = small_recipe(write_task(tmp_path / "task", longest=9), batch_tokens=400, epochs=3)
    train(replace(recipe, tokenizer=subwords()), tmp_path)
    assert len(seen) == 3
    sources = [rows(corpus, "source") for corpus in seen]
    assert sources[0] != sources[1] != sources[2] != sources[0]


# Recipes.

BASE = "task: translation\ndata: {kind: generated, corpus: dates}\ntokenizer:\n"
FAULTS = [
    (
        "  kind: word\n  sampling: {alpha: 0.1}\n",
        "5: tokenizer.sampling: unknown key ('sampling' belongs to kind 'unigram' or 'bpe' "
        "or 'from_run' or 'sentencepiece')",
    ),
    (
        "  kind: character\n  sampling: {alpha: 0.1}\n",
        "5: tokenizer.sampling: unknown key ('sampling' belongs to kind 'unigram' or 'bpe' "
        "or 'from_run' or 'sentencepiece')",
    ),
    (
        "  kind: separate\n  source: {kind: unigram}\n  target: {kind: word, sampling: {}}\n",
        "6: tokenizer.target.sampling: unknown key ('sampling' belongs to kind 'unigram' or 'bpe' "
        "or 'from_run' or 'sentencepiece')",
    ),
    (
        "  kind: unigram\n  sampling: {alpha: 0}\n",
        "5: tokenizer.sampling.alpha: expected more than 0, found 0",
    ),
    (
        "  kind: bpe\n  sampling: {alpha: 1.5}\n",
        "5: tokenizer.sampling.alpha: expected at most 1, found 1.5",
    ),
    ("  kind: bpe\n  sampling: {}\n", "5: tokenizer.sampling.alpha: missing key"),
    (
        "  kind: separate\n  target: {kind: word}\n"
        "  source: {kind: bpe, sampling: {alpha: 0.1, sides: source}}\n",
        "6: tokenizer: source.sampling.sides is for a tokenizer that both sides share; here each "
        "side has its own 'sampling'",
    ),
    (
        "  kind: separate\n  target: {kind: word}\n  source: {kind: word}\n"
        "  source_features: {kind: bpe, sampling: {alpha: 0.1}}\n",
        "7: tokenizer: source_features.sampling: source features are never sampled",
    ),
]


@pytest.mark.parametrize(("tokenizer", "fault"), FAULTS)
def test_a_fault_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(BASE + tokenizer)
    with pytest.raises(RecipeError) as error:
        load_recipe(Path("r.yaml"))
    assert str(error.value) == f"r.yaml:{fault}"

"""Names that no vocabulary holds, and that no training saw, come out as they went in."""

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2s import pipeline
from s2s.data.preparation.prepare import is_prepared, open_corpus
from s2s.errors import UsageError
from s2s.inference.attention.maps import attention_maps
from s2s.inference.constrained_translator import ConstrainedTranslator
from s2s.inference.line_constraints import LineConstraintsReader
from s2s.inference.load import load_ensemble
from s2s.metrics.corpus import Request
from s2s.pipeline import scoring as pipeline_score
from s2s.pipeline.averaging import average
from s2s.pipeline.shortlist import learn_shortlist
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.model import (
    AnyDecoder,
    Dropout,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    StackedDecoder,
)
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.recipe.tokenizer import SeparateTokenizers, Tokenizers, WordTokenizer
from s2s.recipe.train import CosineSchedule, Optimizer, Train
from s2s.run.directory import Run
from s2s.text.tokenizer_pair import load_tokenizers
from tests.training.toys import Listener, write_side

FRAMES = [
    ("{a} sees {b} today", "today {b} is seen by {a}"),
    ("does {a} know {b}", "{b} knows {a}"),
    ("{a} and {a} or {b}", "{b} {b} {a}"),
    ("{a} likes the cat", "the cat likes {a}"),
]
WORDS = WordTokenizer(kind="word", min_count=8)
SHARED: Tokenizers = WORDS
SEPARATE: Tokenizers = SeparateTokenizers(kind="separate", source=WORDS, target=WORDS)
STACKED = StackedDecoder(kind="stacked", width=24)
LUONG = LuongDecoder(kind="luong", width=24)


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    draw = random.Random(seed)

    def name() -> str:
        return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)).title()

    made = []
    for _ in range(count):
        source, target = draw.choice(FRAMES)
        names = {"a": name(), "b": name()}
        made.append((source.format(**names), target.format(**names)))
    return made


def names_task(folder: Path) -> FilesData:
    splits = {}
    for split, (size, seed) in {"train": (1000, 1), "validation": (20, 2), "test": (60, 3)}.items():
        sources, targets = zip(*pairs(size, seed), strict=True)
        splits[split] = FileSet(
            source=write_side(folder / f"{split}.source", sources),
            target=write_side(folder / f"{split}.target", targets),
        )
    return FilesData(kind="files", **splits)


def recipe_of(
    folder: Path, tokenizer: Tokenizers, decoder: AnyDecoder, *, coverage: bool
) -> Recipe:
    return Recipe(
        task="translation",
        name="toy",
        data=names_task(folder),
        tokenizer=tokenizer,
        model=Model(
            embeddings=20,
            encoder=Encoder(width=16),
            attention=GeneralAttention(kind="general"),
            decoder=decoder,
            dropout=Dropout(embedding=0.0, encoder=0.0, decoder=0.0, readout=0.0),
            copy="pointer",
            coverage=coverage,
        ),
        train=Train(
            epochs=6,
            batch_tokens=200,
            optimizer=Optimizer(learning_rate=1e-2),
            schedule=CosineSchedule(kind="cosine", warmup=20),
            label_smoothing=0.0,
            coverage_loss=0.1 if coverage else 0.0,
            coverage_start=60,
            precision="fp32",
            best="loss",
            validate_every=150,
            keep=2,
        ),
        metrics=("exact", "perplexity"),
    )


@pytest.mark.parametrize(
    ("tokenizer", "decoder", "coverage"),
    [(SHARED, STACKED, False), (SEPARATE, LUONG, True)],
    ids=["shared-stacked", "separate-luong-coverage"],
)
def test_unseen_names_are_copied(
    tmp_path: Path, tokenizer: Tokenizers, decoder: AnyDecoder, coverage: bool
) -> None:
    recipe = recipe_of(tmp_path, tokenizer, decoder, coverage=coverage)
    pipeline.train(recipe, runs=tmp_path / "runs", device="cpu", reporter=Listener())
    run = Run.open(tmp_path / "runs" / "toy")
    found = pipeline.evaluate(run=run, device="cpu")
    assert found.scores.value("exact") == 100.0
    assert found.scores.value("perplexity") < 1.1
    check_store(run)
    check_use(run, tmp_path)
    check_demands(run)
    with pytest.raises(UsageError, match=r"metrics: 'copied' is not for a model with model\.copy"):
        pipeline.evaluate(run=run, device="cpu", request=Request(metrics=("copied",)))
    averaged = average(run=run, device="cpu")
    assert averaged.found is not None
    assert averaged.found.nll < 0.1
    assert is_prepared(recipe, run.folder)
    without = replace(recipe, model=replace(recipe.model, copy="none"))
    assert not is_prepared(without, run.folder)


def check_store(run: Run) -> None:
    """What was stored are ids alone; no target is unknown, for all names are in the source."""
    target = load_tokenizers(run.tokenizer_folder).target
    train = open_corpus(run.folder, "train")
    assert train.target_values.dtype == np.uint16
    assert (train.target_values != 1).all()
    assert (train.target_values >= target.size).mean() > 0.2


def check_use(run: Run, folder: Path) -> None:
    """Everything that reads the model knows what its ids stand for."""
    source, expected = "Ĝis-la_Revido! sees 漢字 today", "today 漢字 is seen by Ĝis-la_Revido!"
    translator = pipeline.load_translator(run, device="cpu")
    assert translator([source, "", source]) == [expected, "", expected]
    (best, *_) = translator.outputs([source])[0]
    (shown,) = attention_maps(translator, [source])
    assert shown.source == (*source.split(), "</s>")
    assert shown.target == (*expected.split(), "</s>")
    assert "0-4" in shown.alignments().split() or "0-5" in shown.alignments().split()
    write_side(folder / "s", [source, source])
    write_side(folder / "t", [expected, expected.replace("漢字", "Unheard-of")])
    output = io.BytesIO()
    pipeline_score.score_pairs(
        run=run, source=folder / "s", target=folder / "t", output=output, device="cpu"
    )
    rows = [row.split(b"\t") for row in output.getvalue().splitlines()]
    assert float(rows[0][1]) == pytest.approx(best.log_prob, abs=1e-4)
    assert float(rows[1][1]) < float(rows[0][1]) - 2.0


def check_demands(run: Run) -> None:
    """A prefix may hold what only the source knows; what cannot be combined is refused."""
    translator = pipeline.load_translator(run, device="cpu")
    line = "does Ĝis-la_Revido! know 漢字"
    demanding = ConstrainedTranslator(
        translator, LineConstraintsReader(columns=("source", "prefix"))
    )
    (one,) = demanding.outputs([f"{line}\t漢字 Ĝis-la_Revido!"])
    assert one[0].text.startswith("漢字 Ĝis-la_Revido!")
    assert one[0].unmet == ()
    demanding = ConstrainedTranslator(
        translator, LineConstraintsReader(columns=("source", "avoid"))
    )
    with pytest.raises(UsageError, match="this model copies words outside of it"):
        demanding.outputs([f"{line}\tknows"])
    listed = GreedySearch(kind="greedy", shortlist=10)
    with pytest.raises(UsageError, match="cannot use a shortlist"):
        load_ensemble((run,), search=listed, device="cpu")
    with pytest.raises(UsageError, match="has no use for a shortlist"):
        learn_shortlist(run)

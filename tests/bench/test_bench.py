"""`s2s bench`: counted operations against an oracle, consistent results, invalid options."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from s2s import pipeline
from s2s.bench import matmul as products
from s2s.bench.decoding import Decoding
from s2s.bench.flops import Operations
from s2s.bench.measure import Amounts, Plan, measure
from s2s.bench.report import PARTS, Report, read_report
from s2s.bench.startup import Program
from s2s.bench.tables import markdown, tables
from s2s.bench.timing import Turn, spread, take_turns
from s2s.bench.workload import PAIRS, TOKENS, random_corpus, random_workload
from s2s.nn.model import Seq2Seq
from s2s.recipe.data import GeneratedData
from s2s.recipe.model import (
    AdditiveAttention,
    BahdanauDecoder,
    ConditionalDecoder,
    DotAttention,
    Dropout,
    Encoder,
    GeneralAttention,
    HardAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SubwordTokenizer,
    WordTokenizer,
)
from s2s.recipe.train import Optimizer, Train
from s2s.run.directory import Run
from s2s_cli.main import run as command_line

NO_FUSED_KERNELS = pytest.mark.filterwarnings("ignore:TF32 acceleration")
"""PyTorch's warning of another device if oneDNN is switched off."""

CPU = torch.device("cpu")
PROGRAM = Program(start=(sys.executable, "-S", "-c", "pass"), commands=((), ("translate",)))
TINY = Amounts(updates=2, sentences=4, pairs=60, square=24)

RECIPE = Recipe(
    task="translation",
    name="tiny",
    data=GeneratedData(kind="generated", corpus="dates", pairs=120, held_out=50),
    tokenizer=SeparateTokenizers(
        kind="separate",
        source=WordTokenizer(kind="word", vocabulary=50),
        target=SubwordTokenizer(kind="bpe", vocabulary=90),
    ),
    model=Model(
        embeddings=12,
        encoder=Encoder(width=10),
        decoder=LuongDecoder(kind="luong", width=14),
    ),
    train=Train(
        epochs=1,
        batch_tokens=150,
        accumulate=2,
        precision="fp32",
        optimizer=Optimizer(learning_rate=1e-3),
    ),
    search=GreedySearch(kind="greedy", max_ratio=1.5),
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(products, "LEAST_SECONDS", 0.0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def silent(stage: str, done: int, total: int | None) -> None:
    """No progress."""


def tiny_plan(**changes: object) -> Plan:
    settings = {"repeats": 2, "amounts": TINY, "program": PROGRAM, "device": "cpu", **changes}
    return Plan(**settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report() -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "LEAST_SECONDS", 0.0)
        return measure(RECIPE, tiny_plan(), silent)


MODELS = {
    "luong": Model(
        encoder=Encoder(width=5, layers=2),
        attention=DotAttention(kind="dot"),
        decoder=LuongDecoder(kind="luong", width=10, layers=2),
    ),
    "luong, projected dot": Model(
        encoder=Encoder(width=5),
        attention=DotAttention(kind="scaled_dot"),
        decoder=LuongDecoder(kind="luong", width=11),
    ),
    "input feeding": Model(
        encoder=Encoder(width=5, bidirectional=False),
        attention=GeneralAttention(kind="general"),
        decoder=LuongDecoder(kind="luong", width=11, input_feeding=True),
    ),
    "bahdanau": Model(
        encoder=Encoder(width=5),
        attention=AdditiveAttention(kind="additive", width=6),
        decoder=BahdanauDecoder(kind="bahdanau", width=11),
    ),
    "conditional": Model(
        encoder=Encoder(width=5),
        attention=GeneralAttention(kind="general"),
        decoder=ConditionalDecoder(kind="conditional", width=11, layers=2),
    ),
    "transitions": Model(
        encoder=Encoder(width=5, transitions=2),
        attention=GeneralAttention(kind="general"),
        decoder=StackedDecoder(kind="stacked", width=11, transitions=3),
    ),
    "heads": Model(
        encoder=Encoder(width=5),
        attention=DotAttention(kind="dot", heads=3),
        decoder=StackedDecoder(kind="stacked", width=12),
    ),
    "additive heads": Model(
        encoder=Encoder(width=5),
        attention=AdditiveAttention(kind="additive", width=6, heads=2),
        decoder=BahdanauDecoder(kind="bahdanau", width=12),
    ),
    "stacked": Model(
        encoder=Encoder(width=5),
        attention=GeneralAttention(kind="general"),
        decoder=StackedDecoder(kind="stacked", width=11, layers=3),
        coverage=True,
    ),
    "bottleneck": Model(
        encoder=Encoder(width=5),
        attention=NoAttention(kind="none"),
        decoder=LuongDecoder(kind="luong", width=11),
    ),
    "hard": Model(
        encoder=Encoder(width=5),
        attention=HardAttention(kind="hard_monotonic"),
        decoder=LuongDecoder(kind="luong", width=11, layers=2),
    ),
    "pointer": Model(
        encoder=Encoder(width=5),
        attention=GeneralAttention(kind="general"),
        decoder=StackedDecoder(kind="stacked", width=11),
        copy="pointer",
    ),
}


@NO_FUSED_KERNELS
@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_that_pytorch_counts(name: str) -> None:
    """Without padding, and with LSTMs as products: the counter skips fused kernels."""
    recipe = MODELS[name]
    table = torch.arange(17) if recipe.copy == "pointer" else None
    model = Seq2Seq(recipe, 17, 23, None, table).eval()
    sentences, source, target = 3, 7, 4
    ids_BS, ids_BT = torch.full((sentences, source), 5), torch.full((sentences, target), 6)
    lengths_B = torch.full((sentences,), source)
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        model(ids_BS, lengths_B, ids_BT)
    none = np.zeros((sentences, 0), dtype=np.int64)
    counted = Operations.of(model).forward(
        np.full(sentences, source), none, np.full(sentences, target)
    )
    assert counted == counter.get_total_flops()


@NO_FUSED_KERNELS
def test_a_backward_pass_is_two_forward_passes() -> None:
    recipe = MODELS["stacked"]
    model = Seq2Seq(recipe, 17, 23)
    ids = (torch.full((3, 7), 5), torch.full((3,), 7), torch.full((3, 4), 6))
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        logits = model(*ids)
        forward = counter.get_total_flops()
        logits.sum().backward()
    assert counter.get_total_flops() == pytest.approx(3 * forward, rel=0.01)


def test_every_part_is_measured(report: Report) -> None:
    assert report.is_complete
    assert report.training is not None
    assert report.prep is not None
    kinds = {(one.search, one.precision) for one in report.decoding}
    assert {("greedy", "fp32"), ("beam 5", "fp32")} <= kinds
    for precision in {"bf16", "int8"} - {one.what for one in report.skipped}:
        assert {("greedy", precision), ("beam 5", precision)} <= kinds
    assert [one.command for one in report.startup] == ["s2s --help", "s2s translate --help"]
    assert report.prep.pairs == TINY.pairs
    assert len(report.training.seconds) == 4
    assert report.training.peak_memory > 2**20


def test_results_agree(report: Report) -> None:
    training = report.training
    assert training is not None
    rates = [(training.tokens_per_second, training.operations_per_token, training)]
    rates += [(one.tokens_per_second, one.operations_per_token, one) for one in report.decoding]
    limits = {
        one.precision: max(
            other.operations_per_second.median
            for other in report.matmul
            if other.precision == one.precision
        )
        for one in report.matmul
    }
    for speed, operations, found in rates:
        assert speed.repeats == 2
        assert speed.low <= speed.median <= speed.high
        done = found.operations_per_second
        assert done.median == pytest.approx(speed.median * operations)
        assert found.share == pytest.approx(done.median / limits[found.precision])
    for one in report.decoding:
        ratio = one.tokens_per_second.median / one.sentences_per_second.median
        assert ratio == pytest.approx(one.tokens / one.sentences)


def test_training_counts_what_it_trains_on(report: Report) -> None:
    training, model = report.training, random_workload(RECIPE, CPU).model
    assert training is not None
    assert training.updates == 2
    per_token = sum(p.numel() for p in model.parameters())
    # Each weight counts once a target token, forward; sources and attention come on top, and an
    # embedding is no product.
    assert training.operations_per_token > 6 * model.output.weight.numel()
    assert training.operations_per_token < 6 * 8 * per_token


def test_json_is_read_back_equal(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(report.to_json())
    assert read_report(path) == report
    content = json.loads(report.to_json())
    assert set(PARTS) <= set(content)
    assert {"s2s", "torch", "python", "commit"} <= set(content["versions"])


def test_tables_show_what_was_measured(report: Report) -> None:
    titles = [table.title for table in tables(report)]
    assert len(titles) == 6
    for table in tables(report):
        assert {len(row) for row in table.rows} == {len(table.header)}
    text = markdown(report)
    assert report.training is not None
    assert f"| target tokens/s | {report.training.tokens_per_second.median:,.0f} (" in text


def test_only_what_is_asked_for() -> None:
    found = measure(RECIPE, tiny_plan(only=("prep",), repeats=1), silent)
    assert found.prep is not None
    assert found.is_complete
    assert (found.matmul, found.training, found.decoding, found.startup) == ([], None, [], [])
    assert [table.title for table in tables(found)] == ["Measured", "Preparing"]


def test_a_run_is_measured_on_its_own_data(tmp_path: Path) -> None:
    pipeline.train(RECIPE, runs=tmp_path, device="cpu")
    run = Run(tmp_path / "tiny")
    only = ("training", "decoding", "startup")
    found = measure(run, tiny_plan(only=only, repeats=1), silent)
    assert found.sizes.data == "the run's own"
    assert found.sizes.target_vocabulary == 90
    assert found.training is not None
    assert found.decoding[0].sentences == 4
    assert found.startup[-1].command == "s2s translate"


def test_ctrl_c_leaves_what_was_measured() -> None:
    stages: list[str] = []

    def stop(stage: str, done: int, total: int | None) -> None:
        stages.append(stage)
        if stage == "repeat 2 of 3" and done == 1:
            raise KeyboardInterrupt

    found = measure(RECIPE, tiny_plan(only=("training", "decoding"), repeats=3), stop)
    assert not found.is_complete
    assert found.training is not None
    assert found.training.tokens_per_second.repeats == 2
    assert {one.tokens_per_second.repeats for one in found.decoding} == {1}
    assert "repeat 3 of 3" not in stages


def test_turns_are_taken_repeat_by_repeat() -> None:
    order: list[str] = []

    def of(name: str) -> Turn:
        return Turn(name, lambda: (float(len(order)), order.append(name))[:1])

    taken: dict[str, list[tuple[float, ...]]] = {}
    take_turns([of("a"), of("b")], 2, silent, taken)
    assert order == ["a", "b"] * 3
    assert taken == {"a": [(2.0,), (4.0,)], "b": [(3.0,), (5.0,)]}
    assert spread(s for (s,) in taken["a"]).median == 3.0


def test_drawn_lengths_are_like_real_ones() -> None:
    subwords = SubwordTokenizer(kind="unigram", vocabulary=300)
    recipe = Recipe(task="translation", data=RECIPE.data, tokenizer=subwords)
    corpus = random_corpus(recipe)
    assert len(corpus) == PAIRS
    assert corpus.source_lengths.mean() == pytest.approx(15.21, rel=0.02)  # Multi30k's
    assert corpus.source_lengths.std() == pytest.approx(5.65, rel=0.05)
    assert corpus.target_lengths.mean() == pytest.approx(14.66, rel=0.02)
    assert corpus.target_lengths.std() == pytest.approx(4.93, rel=0.05)
    assert corpus.target_values.min() == 4
    assert corpus.target_values.max() == 299
    again = random_corpus(recipe)
    assert (again.target_values == corpus.target_values).all()


def test_of_long_sentences_fewer_are_searched() -> None:
    characters = dataclasses.replace(RECIPE, tokenizer=CharacterTokenizer(kind="char"))
    pieces, letters = (random_workload(recipe, CPU).sources(50) for recipe in (RECIPE, characters))
    assert len(pieces) == 50
    assert 40 * TOKENS < sum(map(len, letters)) <= 50 * TOKENS and len(letters) < 20
    assert len(random_workload(characters, CPU).sources(1)) == 1


def test_random_weights_write_as_much_as_they_read() -> None:
    decoding = Decoding(random_workload(RECIPE, CPU), 6, ["fp32"])
    for turn in decoding.turns:
        turn.run()
    wanted = sum(len(source) + 1 for source in decoding.sources)
    assert {work.tokens for work in decoding.work.values()} == {wanted}
    greedy, beam = (work.operations for work in decoding.work.values())
    assert 3 * greedy < beam < 5 * greedy


def test_measuring_leaves_the_model_as_it_is() -> None:
    workload = random_workload(RECIPE, CPU)
    before = [p.clone() for p in workload.model.parameters()]
    for turn in Decoding(workload, 3, ["fp32"]).turns:
        turn.run()
    after = workload.model.parameters()
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


def test_a_copying_model_is_measured() -> None:
    model = Model(
        embeddings=12,
        encoder=Encoder(width=10),
        decoder=StackedDecoder(kind="stacked", width=14),
        copy="pointer",
        dropout=Dropout(),
    )
    recipe = dataclasses.replace(RECIPE, model=model)
    found = measure(recipe, tiny_plan(only=("training", "decoding"), repeats=1), silent)
    assert found.training is not None
    assert found.decoding


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "matmul,cooking"], "--only: expected some of matmul, training"),
        (["--repeats", "0"], "--repeats"),
        (["--threads", "0"], "--threads"),
        (["--device", "tpu"], "--device tpu: expected"),
        (["--run", "nowhere"], "nowhere"),
        (["other.yaml", "--run", "nowhere"], "--run: a run has its own recipe"),
        (["missing.yaml"], "missing.yaml: no such recipe"),
        (["--json", "--markdown"], "--json, --markdown: expected one"),
        (["--show", "missing.json"], "missing.json: no such file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        status = command_line(["bench", *arguments])
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    errors = [line for line in captured.err.splitlines() if "no recipe.yaml here" not in line]
    assert len(errors) == 1
    assert complaint in errors[0]


def test_the_command_writes_json_and_shows_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(
        "task: translation\n"
        "data: {kind: generated, corpus: dates, pairs: 120}\n"
        "tokenizer: {kind: character}\n"
        "model: {embeddings: 8, encoder: {width: 6}, decoder: {kind: luong, width: 10}}\n"
        "train: {batch_tokens: 300}\n"
    )
    quick = ["bench", "--quick", "--repeats", "1", "--only", "training", "--threads", "1"]
    assert command_line([*quick, "--json"]) == 0
    Path("bench.json").write_text(capsys.readouterr().out)
    found = read_report(Path("bench.json"))
    assert (found.machine.threads, found.repeats) == (1, 1)
    assert command_line(["bench", "--show", "bench.json", "--markdown"]) == 0
    assert capsys.readouterr().out == markdown(found)
    assert command_line(["bench", "--show", "bench.json"]) == 0
    assert "Training" in capsys.readouterr().out

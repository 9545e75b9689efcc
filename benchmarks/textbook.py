"""Two claims of textbooks, measured: the bottleneck without attention, and exposure bias.

    python benchmarks/textbook.py bottleneck [RECIPE] [--seeds 1 2 3] [--plot bottleneck.png]
    python benchmarks/textbook.py exposure [RECIPE] [--seeds 1 2 3] [--plot exposure.png]

`bottleneck` trains one small model with attention, with the encoder's last state at every step and
with it at the start alone, and scores greedy outputs of the test split by the length of the source.

`exposure` trains it with teacher forcing alone and with scheduled sampling, whose settings the
validation score of the first seed chooses. Then it forces the first tokens of the reference, lets
the model go on greedily, and compares this with what follows as many tokens of the model's own.

RECIPE is by default `recipes/multi30k-de-en.yaml`; its model and training are made smaller
(`SMALL`). Runs are kept under `runs/textbook/`: those that are complete are not trained again,
others resume. All is computed on one thread.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.inference.load import load_translator
from s2s.inference.translator import LineTranslator
from s2s.metrics.build import build
from s2s.recipe.load import load_recipe
from s2s.recipe.scoring import Scoring
from s2s.recipe.search import GreedySearch
from s2s.run.directory import Run
from s2s.search.constraints.prefix import PrefixConstraint
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.loop import search

RECIPE = Path(__file__).parents[1] / "recipes" / "multi30k-de-en.yaml"

SMALL = [
    "tokenizer.vocabulary=5000",
    "model.embeddings=128",
    "model.encoder={layers: 1, width: 128}",
    "model.decoder={kind: luong, layers: 2, width: 256}",
    "model.dropout={embedding: 0.2, encoder: 0.2, decoder: 0.2, readout: 0.2}",
    "train.epochs=8",
    "train.batch_tokens=1000",
]

CONTEXTS = {
    "attention": [],
    "every_step": ["model.attention={kind: none, context: every_step}"],
    "start": ["model.attention={kind: none, context: start}"],
}
"""What the decoder knows of the source, and how a recipe says so."""

SAMPLING = {
    "linear": {"linear-0.5": "{kind: linear, updates: 3800, least: 0.5}"},
    "inverse sigmoid": {"sigmoid-600": "{kind: inverse_sigmoid, k: 600}"},
}
"""Candidates of each schedule, for trainings of 5,128 updates: a probability of true tokens at the
end of 0.5 and of 0.10."""

BUCKETS = ((1, 8), (9, 11), (12, 14), (15, 18), (19, None))
"""Shortest and longest source of each bucket, in words between spaces."""

PREFIXES = (0, 2, 4, 6, 8, 10)
"""Lengths of prefixes, in tokens. References that end with the longest one are left out of all."""

RESAMPLES = 1000

Metric = Literal["bleu", "chrf"]
METRICS: tuple[Metric, ...] = ("bleu", "chrf")

Ids = Sequence[Sequence[int]]
Rows = NDArray[np.intp]


def trained(name: str, sets: Iterable[str], seed: int, options: argparse.Namespace) -> Run:
    """A run of the small recipe with these overrides, trained to its end."""
    torch.set_num_threads(1)
    name = f"{name}-{seed}"
    recipe = load_recipe(
        options.recipe, [*SMALL, f"name={name}", f"seed={seed}", *sets, *options.sets]
    )
    pipeline.train(recipe, runs=options.runs, device="cpu")
    return Run.open(options.runs / name)


def best_on_validation(run: Run) -> float:
    """Greedy BLEU of the best checkpoint on the validation split."""
    events = (event for event in run.read_events() if event["event"] == "validation")
    return max(float(event["scores"]["bleu"]["value"]) for event in events)


class TestSplit:
    """The test split of a run, and its model."""

    def __init__(self, run: Run) -> None:
        corpus = open_corpus(run.folder, "test")
        sources, references = corpus.source_texts, corpus.references
        assert sources is not None and references is not None
        self.sources = sources
        self.references = [str(line) for line in references[0]]
        self.translator: LineTranslator = load_translator(
            run, search=GreedySearch(kind="greedy"), device="cpu"
        )

    @cached_property
    def wanted(self) -> list[list[int]]:
        """The tokens of the references."""
        pieces = self.translator.pieces(self.sources)
        return self.translator.read_targets(self.references, pieces.sources)

    def outputs(self, prefixes: Ids | None = None) -> list[tuple[int, ...]]:
        """Tokens of the greedy output of each line, which begins with its prefix."""
        pieces = self.translator.pieces(self.sources)
        assert len(pieces.sources) == len(self.sources), "no line is split"
        constraints = None
        if prefixes is not None:
            constraints = [ConstraintSpec((PrefixConstraint(tuple(one)),)) for one in prefixes]
        found = search(
            self.translator.scorer,
            pieces.ids,
            self.translator.search,
            self.translator.device,
            constraints=constraints,
        )
        return [one[0].tokens for one in found]

    def texts(self, rows: Ids, start: int = 0) -> list[str]:
        """The text of tokens from a position on."""
        return self.translator.target.decode([row[start:] for row in rows])


@dataclass(frozen=True)
class Interval:
    """A value, and the 2.5th and 97.5th percentile of its bootstrap over lines."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


class Scores:
    """A metric of several outputs of the same lines."""

    def __init__(
        self, metric: Metric, outputs: dict[str, list[str]], references: list[str]
    ) -> None:
        built = build(metric, Scoring())
        self.count = len(references)
        self.pool = built.measure(list(outputs.values()), [(one,) for one in references])
        self.offset = {name: place * self.count for place, name in enumerate(outputs)}
        self.signature = built.signature("1", None)

    def value(self, names: Sequence[str], rows: Rows | None = None) -> float:
        """The mean over these outputs of their score on some lines, or on all."""
        rows = np.arange(self.count) if rows is None else rows
        return float(np.mean([self.pool.values(rows + self.offset[name])[0] for name in names]))

    def interval(
        self, plus: Sequence[str], minus: Sequence[str] = (), rows: Rows | None = None
    ) -> Interval:
        """The score of `plus`, less that of `minus` if it names outputs, by the same lines."""
        chosen = np.arange(self.count) if rows is None else rows

        def value(lines: Rows) -> float:
            return self.value(plus, lines) - (self.value(minus, lines) if minus else 0.0)

        draw = np.random.default_rng(12345)
        drawn = [value(draw.choice(chosen, size=len(chosen))) for _ in range(RESAMPLES)]
        low, high = np.percentile(drawn, (2.5, 97.5))
        return Interval(value(chosen), float(low), float(high))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def bottleneck(options: argparse.Namespace) -> None:
    """Train the three models, print BLEU by source length, plot it."""
    outputs: dict[str, list[str]] = {}
    for name, sets in CONTEXTS.items():
        for seed in options.seeds:
            test = TestSplit(trained(name, sets, seed, options))
            outputs[f"{name}-{seed}"] = test.texts(test.outputs())
    scores = Scores("bleu", outputs, test.references)
    words = np.array([len(line.split()) for line in test.sources])
    buckets = {
        f"{first}-{last}" if last else f"{first}+": np.flatnonzero(
            (words >= first) & (words <= (last or words.max()))
        )
        for first, last in BUCKETS
    }
    buckets = {label: rows for label, rows in buckets.items() if len(rows)}
    buckets["all"] = np.arange(len(words))
    of = {name: [f"{name}-{seed}" for seed in options.seeds] for name in CONTEXTS}
    print(f"\nBLEU on test, greedy: {scores.signature}; seeds {options.seeds}\n")
    others = [name for name in CONTEXTS if name != "attention"]
    print_table(
        ["words", "lines", *CONTEXTS, *(f"attention - {name}" for name in others)],
        (
            [
                label,
                len(rows),
                *(f"{scores.value(of[name], rows):.1f}" for name in CONTEXTS),
                *(scores.interval(of["attention"], of[name], rows) for name in others),
            ]
            for label, rows in buckets.items()
        ),
    )
    print_each(scores, outputs)
    if options.plot:
        plot_bottleneck(
            options.plot,
            {
                name: [scores.interval(of[name], rows=rows) for rows in list(buckets.values())[:-1]]
                for name in CONTEXTS
            },
            [f"{label}\n({len(rows)})" for label, rows in list(buckets.items())[:-1]],
        )


def print_each(scores: Scores, names: Iterable[str]) -> None:
    """Print the score of each run on all lines."""
    print("\n" + ", ".join(f"{name} {scores.value([name]):.2f}" for name in names))


def choose_sampling(options: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """The candidate of each schedule, name and section, that is best on validation."""
    seed = options.seeds[0]
    print_table(["training", "validation, greedy"], [])
    teacher = best_on_validation(trained("attention", [], seed, options))
    print_table(["teacher forcing", f"{teacher:.2f}"], [])
    chosen = {}
    for schedule, candidates in SAMPLING.items():
        found = {}
        for name, section in candidates.items():
            sets = [f"train.scheduled_sampling={section}"]
            found[name] = best_on_validation(trained(name, sets, seed, options))
            print(f"| {name} | {found[name]:.2f} |", flush=True)
        best = max(found, key=lambda name: found[name])
        chosen[schedule] = best, candidates[best]
    return chosen


@dataclass(frozen=True)
class PrefixScore:
    """The score of what follows a prefix."""

    length: int
    given: float
    """After tokens of the reference."""
    own: float
    """After tokens of the model's own."""
    gap: Interval
    """`given` - `own`."""
    signature: str


class Prefixes:
    """The outputs of a training's runs after prefixes of the reference and of their own."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.given: dict[int, list[list[str]]] = {length: [] for length in PREFIXES}
        self.own: dict[int, list[list[str]]] = {length: [] for length in PREFIXES}
        for run in runs:
            test = TestSplit(run)
            chosen = [n for n, row in enumerate(test.wanted) if len(row) > max(PREFIXES)]
            free = test.outputs()
            for length in PREFIXES:
                forced = test.outputs([row[:length] for row in test.wanted]) if length else free
                for kept, rows in ((self.given, forced), (self.own, free)):
                    kept[length].append(test.texts([rows[n] for n in chosen], length))
        self.references = {
            length: test.texts([test.wanted[n] for n in chosen], length) for length in PREFIXES
        }

    def scores(self, metric: Metric) -> Iterator[PrefixScore]:
        """The scores of each length of a prefix."""
        for length in PREFIXES:
            names = {"given": self.given[length], "own": self.own[length]}
            outputs = {
                f"{name}-{n}": one for name, each in names.items() for n, one in enumerate(each)
            }
            scores = Scores(metric, outputs, self.references[length])
            given, own = ([name for name in outputs if name.startswith(one)] for one in names)
            gap = scores.interval(given, own)
            yield PrefixScore(length, scores.value(given), scores.value(own), gap, scores.signature)


def exposure(options: argparse.Namespace) -> None:
    """Train with and without scheduled sampling, print what prefixes are worth, plot it."""
    chosen = choose_sampling(options)
    trainings = {"teacher forcing": ("attention", [])}
    for schedule, (name, section) in chosen.items():
        trainings[schedule] = name, [f"train.scheduled_sampling={section}"]
    gaps: dict[str, dict[Metric, list[PrefixScore]]] = {}
    for label, (name, sets) in trainings.items():
        found = Prefixes([trained(name, sets, seed, options) for seed in options.seeds])
        gaps[label] = {metric: list(found.scores(metric)) for metric in METRICS}
    print(f"\nTest, greedy, {len(found.references[0])} lines; seeds {options.seeds}")
    for metric in METRICS:
        print(f"\n{metric}: {gaps['teacher forcing'][metric][0].signature}\n")
        print_table(
            ["training", "tokens", "after the reference's", "after its own", "gap"],
            (
                [label, one.length, f"{one.given:.1f}", f"{one.own:.1f}", one.gap]
                for label, of_metric in gaps.items()
                for one in of_metric[metric]
            ),
        )
    if options.plot:
        plot_exposure(options.plot, {label: one["bleu"] for label, one in gaps.items()})


def error_bars(found: Sequence[Interval]) -> list[list[float]]:
    """The distances of bounds from values, below and above."""
    return [[one.value - one.low for one in found], [one.high - one.value for one in found]]


def plot_bottleneck(path: Path, curves: dict[str, list[Interval]], labels: list[str]) -> None:
    """Plot BLEU over buckets."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.8))
    names = {
        "attention": "attention",
        "every_step": "no attention, last state at every step",
        "start": "no attention, last state at the start",
    }
    for place, (name, found) in enumerate(curves.items()):
        xs = np.arange(len(labels)) + 0.06 * (place - 1)
        values = [one.value for one in found]
        axes.errorbar(xs, values, error_bars(found), fmt=".-", capsize=2, label=names[name])
    axes.set_xticks(range(len(labels)), labels)
    axes.set(xlabel="words of the source (lines)", ylabel="BLEU on test, greedy", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def plot_exposure(path: Path, found: dict[str, list[PrefixScore]]) -> None:
    """Plot BLEU after both prefixes with teacher forcing alone, and the gap of every training."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.8))
    rows = found["teacher forcing"]
    left.plot(PREFIXES, [row.given for row in rows], ".-", label="after the reference's tokens")
    left.plot(PREFIXES, [row.own for row in rows], ".-", label="after the model's own tokens")
    left.set(title="teacher forcing", ylabel="BLEU of what follows, greedy", ylim=(0, None))
    for place, (label, rows) in enumerate(found.items()):
        xs = np.array(PREFIXES[1:]) + 0.15 * (place - 1)
        gaps = [row.gap for row in rows[1:]]
        values = [gap.value for gap in gaps]
        right.errorbar(xs, values, error_bars(gaps), fmt=".-", capsize=2, label=label)
    right.set(title="the gap of each training", ylabel="BLEU")
    for axes in (left, right):
        axes.set(xlabel="tokens of the prefix")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Parse, measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=["bottleneck", "exposure"])
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="A.B=C")
    parser.add_argument("--runs", type=Path, default=Path("runs/textbook"))
    parser.add_argument("--plot", type=Path, help="also write a plot (needs matplotlib)")
    options = parser.parse_args()
    {"bottleneck": bottleneck, "exposure": exposure}[options.part](options)


if __name__ == "__main__":
    main()

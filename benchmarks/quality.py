"""Minutes of training to reach a score: the validations of runs as a curve.

    python benchmarks/quality.py runs/multi30k-de-en [RUN ...] [--metric bleu] [--levels 35 38 40]
        [--plot curve.png]

For each run it prints every validation score (greedy search, as in training) and the minutes until
each level was first reached. Minutes are those of training, validation included. The time before a
run was resumed counts, the time between does not.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from s2s.run.directory import Run


@dataclass(frozen=True)
class Validation:
    """One point of a curve."""

    minutes: float
    update: int
    score: float


def curve(run: Run, metric: str) -> list[Validation]:
    """The validations of a run, in order; of an update repeated after an interruption, the last."""
    found: dict[int, Validation] = {}
    for event in run.read_events():
        if event["event"] == "validation":
            score = event["scores"][metric]
            value = score["value"] if isinstance(score, dict) else score
            found[event["update"]] = Validation(event["seconds"] / 60, event["update"], value)
    return [found[update] for update in sorted(found)]


def reached(points: list[Validation], level: float) -> str:
    """Minutes to the first validation at a level, or a dash."""
    return next((f"{point.minutes:.1f}" for point in points if point.score >= level), "-")


def plot(path: Path, curves: dict[str, list[Validation]], metric: str) -> None:
    """Plot scores over minutes, a line for each run."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.8))
    for name, points in curves.items():
        axes.plot([p.minutes for p in points], [p.score for p in points], ".-", label=name)
    axes.set(xlabel="minutes of training", ylabel=f"{metric} on validation, greedy")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Parse, read, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--metric", default="bleu")
    parser.add_argument("--levels", type=float, nargs="+", default=[35.0, 38.0, 40.0])
    parser.add_argument("--plot", type=Path, help="also write a plot (needs matplotlib)")
    arguments = parser.parse_args()
    curves = {path.name: curve(Run.open(path), arguments.metric) for path in arguments.runs}
    levels = arguments.levels
    print(f"| run | {' | '.join(f'{level:g}' for level in levels)} | best | end |")
    print(f"| {' | '.join(['---'] * (len(levels) + 3))} |")
    for name, points in curves.items():
        cells = [reached(points, level) for level in levels]
        best = max(points, key=lambda point: point.score)
        cells += [f"{best.score:.2f} after {best.minutes:.1f}", f"{points[-1].minutes:.1f}"]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, points in curves.items():
        print(f"\n{name}:", ", ".join(f"{p.score:.1f} ({p.minutes:.1f})" for p in points))
    if arguments.plot:
        plot(arguments.plot, curves, arguments.metric)


if __name__ == "__main__":
    main()

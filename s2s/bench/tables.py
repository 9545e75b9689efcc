"""Shows a report as tables, in a terminal or as Markdown."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as RichTable

from s2s.bench.report import Report, Sizes, Spread, TrainingResults
from s2s.messages import printable


class Table(NamedTuple):
    """A table of text."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers_from: int = 1
    """Columns before this one are text."""


def tables(report: Report) -> list[Table]:
    """The tables of all parts that were measured."""
    made = (
        _machine(report),
        _matmul(report),
        _training(report),
        _decoding(report),
        _prep(report),
        _startup(report),
        _comparison(report),
    )
    return [
        table._replace(rows=[tuple(map(printable, row)) for row in table.rows])
        for table in made
        if table.rows
    ]


def notes(report: Report) -> Iterator[str]:
    """Notes about the measurement, one line each."""
    if (warning := report.machine.warning) is not None:
        yield f"warning: {warning}"
    for one in report.skipped:
        yield f"{one.what} left out: {one.reason}"
    if not report.is_complete:
        yield "stopped before the end: some numbers have fewer repeats, or are missing"


def print_tables(report: Report, console: Console) -> None:
    """Print all tables to a terminal."""
    for table in tables(report):
        rendered = RichTable(title=table.title, title_justify="left", title_style="bold")
        for place, name in enumerate(table.header):
            rendered.add_column(name, justify="left" if place < table.numbers_from else "right")
        for row in table.rows:
            rendered.add_row(*row)
        console.print(rendered)


def markdown(report: Report) -> str:
    """All tables as Markdown, each under its title."""
    lines: list[str] = []
    for table in tables(report):
        lines += [f"**{table.title}**", ""]
        lines += [_line(table.header), _line(["---"] * len(table.header))]
        lines += [*map(_line, table.rows), ""]
    lines += [f"- {note}" for note in notes(report)]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine(report: Report) -> Table:
    machine, sizes = report.machine, report.sizes
    memory = "" if machine.memory is None else f", {machine.memory / 2**30:.0f} GiB"
    others = "unknown" if machine.others is None else f"{machine.others:.2f} cores"
    versions = [f"{name} {report.versions[name]}" for name in ("s2s", "torch", "python")]
    commit = report.versions["commit"]
    rows = [
        ("command", " ".join(["s2s", *report.command[1:]])),
        ("begun", report.time),
        ("processor", f"{machine.processor}, {machine.cores} cores{memory}"),
        ("device", machine.device if machine.gpu is None else f"{machine.device}, {machine.gpu}"),
        ("threads", str(machine.threads)),
        ("other processes", others),
        ("versions", ", ".join(versions) + (f" ({commit[:8]})" if commit else "")),
        ("model", f"{sizes.recipe}: {sizes.parameters:,} parameters"),
        *_sides(sizes),
        ("seed, repeats", f"{report.seed}, {report.repeats}"),
    ]
    return Table("Measured", ("", "what"), rows, numbers_from=2)


def _sides(sizes: Sizes) -> list[tuple[str, str]]:
    """The sizes of source and target: vocabularies, lengths, features."""
    target, length = f"{sizes.target_vocabulary:,}", f"{sizes.target_length}"
    if not sizes.source_vocabulary:
        rows = [("vocabulary", target), ("sentences", f"{sizes.data}; mean tokens {length}")]
    else:
        rows = [
            ("vocabularies", f"{sizes.source_vocabulary:,} and {target}"),
            ("sentences", f"{sizes.data}; mean tokens {sizes.source_length} and {length}"),
        ]
    if sizes.features:
        each = [f"{one.regions:g} regions x {one.width:,}" for one in sizes.features]
        rows.append(("features", ", ".join(each)))
    return rows


def _matmul(report: Report) -> Table:
    rows = [
        (
            one.name,
            one.kernel,
            one.precision,
            f"{one.rows:,} x {one.inputs:,} x {one.outputs:,}",
            _giga(one.operations_per_second),
        )
        for one in report.matmul
    ]
    header = ("product", "kernel", "precision", "size", "G operations/s")
    return Table("Matrix products alone", header, rows, numbers_from=3)


def _training(report: Report) -> Table:
    found = [one for one in (report.training, report.team_training) if one is not None]
    if not found:
        return Table("Training", (), [])
    columns = [_trained(one, report.sizes.batch_tokens) for one in found]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    more = [f"{one.processes} processes" for one in found[1:]]
    return Table("Training", ("", "value", *more), rows)


def _trained(found: TrainingResults, batch_tokens: int) -> dict[str, str]:
    whole, peak = sum(found.seconds.values()), found.peak_memory
    split = ", ".join(f"{name} {part / whole:.0%}" for name, part in found.seconds.items())
    return {
        "precision": found.precision,
        "target tokens/s": _whole(found.tokens_per_second),
        "G operations/s": _giga(found.operations_per_second),
        "share of the limit": _percentage(found.share),
        "M operations a target token": f"{found.operations_per_token / 1e6:.1f}",
        "time of an update": f"{whole * 1e3:.0f} ms: {split}",
        "batch tokens": f"{batch_tokens:,}",
        "peak memory": "unknown" if peak is None else f"{peak / 2**20:,.0f} MiB",
    }


def _decoding(report: Report) -> Table:
    are_several = any(one.processes > 1 for one in report.decoding)
    rows = [
        (
            one.search,
            one.precision,
            *([str(one.processes)] if are_several else []),
            _whole(one.sentences_per_second),
            _whole(one.tokens_per_second),
            _giga(one.operations_per_second),
            _percentage(one.share),
        )
        for one in report.decoding
    ]
    processes = ["processes"] if are_several else []
    speeds = ("sentences/s", "tokens/s", "G operations/s", "share")
    return Table("Decoding", ("search", "precision", *processes, *speeds), rows, numbers_from=2)


def _prep(report: Report) -> Table:
    found = report.prep
    if found is None:
        return Table("Preparing", (), [])
    rows = [
        ("tokenizer and data", _whole(found.pairs_per_second)),
        ("data alone", _whole(found.encoded_per_second)),
    ]
    return Table("Preparing", (f"{found.pairs:,} generated pairs", "pairs/s"), rows)


def _startup(report: Report) -> Table:
    rows = [(one.command, _range(one.seconds, 1.0, ".2f")) for one in report.startup]
    return Table("Starting", ("command", "seconds"), rows)


def _comparison(report: Report) -> Table:
    found = report.comparison
    if found is None:
        return Table("Comparison", (), [])
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    own = ", ".join(f"{name} {report.versions[name]}" for name in ("s2s", "torch", "python"))
    rows = [
        (
            f"{one.name}, {one.unit}/s",
            _whole(one.own),
            _whole(one.other),
            _range(one.ratio, 1.0, ".2f"),
        )
        for one in found.speeds
    ]
    rows += [
        ("parameters", f"{report.sizes.parameters:,}", f"{found.parameters:,}", ""),
        ("versions", own, versions, ""),
    ]
    title = (
        f"Comparison with {found.toolkit}, fp32, in turns: batches of {found.batch_pairs} pairs, "
        f"{found.sentences} sentences of {found.source_length} tokens"
    )
    return Table(title, ("", "s2s", found.toolkit, "ratio"), rows)


def _range(value: Spread, unit: float, form: str) -> str:
    """The median, and the range of the repeats."""
    median, low, high = (f"{x / unit:{form}}" for x in (value.median, value.low, value.high))
    return f"{median} ({low}–{high})"


def _giga(value: Spread) -> str:
    return _range(value, 1e9, ",.1f" if value.median < 1e10 else ",.0f")


def _whole(value: Spread) -> str:
    return _range(value, 1.0, ",.1f" if value.median < 10 else ",.0f")


def _percentage(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"

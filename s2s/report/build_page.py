"""One HTML page about a run: its recipe, data, training, outputs and environment.

The page makes no request. All text in it is escaped; besides, its policy (Content-Security-Policy)
allows no script and no style but its own, which it names by their hashes.
"""

import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from s2s.data.preparation.report import PrepareReport
from s2s.errors import UsageError
from s2s.files import read_json
from s2s.inference.attention.visible_tokens import visible, visible_line
from s2s.recipe.metrics import format_value
from s2s.report import keep
from s2s.report.charts import LABELS, MOST_POINTS, length_chart, part_norms, training_charts
from s2s.report.comparison import evaluated, logged_scores
from s2s.report.outputs import Outputs, Region, Score, plain_search
from s2s.report.runs_table import short_count
from s2s.report.svg import colour_class, svg
from s2s.report.translate_split import Wanted, translate_split
from s2s.run.history import History, read_history
from s2s.run.summary import RunSummary, as_number, summarize
from s2s.version import __version__

if TYPE_CHECKING:
    from s2s.data.sources.split import SplitName
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report shows, and how outputs are made."""

    split: "SplitName | None" = None
    """The split to translate; None for the test set, or validation where there is none."""
    search: "Search | None" = None
    """The recipe's if None."""
    checkpoint: "Which" = "best"
    limit: int | None = None
    """Translate only so many lines; 0 for none, None for all."""
    num_samples: int = 10
    device: str = "auto"
    batch_size: int = 1024
    fresh: bool = False
    """Translate although outputs were kept."""


class LoggedScore(NamedTuple):
    """A score of the log, for the page."""

    what: str
    update: str
    label: str
    value: str
    signature: str


def report_page(run: "Run", options: ReportOptions, note: Note) -> bytes:
    """The page of a run, in UTF-8. `note` gets lines for the user.

    Raises RecipeError or RunError for a run that cannot be read, UsageError where it lacks the
    split that `options` name and for an exported model, and what loading its model raises.
    """
    if run.is_exported:
        raise UsageError(
            f"{run.place}: an exported model, without log and data; its README.md has the scores"
        )
    recipe = run.recipe
    search = options.search or recipe.search
    history = read_history(run.read_events(), run.checkpoints().best)
    outputs = _outputs(run, replace(options, search=search), note)
    found = outputs if isinstance(outputs, Outputs) else None
    data = _data(run.data_folder / "report.json")
    return _render(
        {
            "summary": summarize(run.folder),
            "outputs": found,
            "no_outputs": None if found else outputs,
            "logged": _logged(history),
            "charts": training_charts(history),
            "parts": part_norms(history),
            "thinned": MOST_POINTS if len(history.update) > MOST_POINTS else None,
            "lengths": None if found is None else length_chart(found),
            "lists": _lists(found),
            "has_attention": any(one.output_tokens for _, _, some in _lists(found) for one in some),
            "data": None if isinstance(data, str) else data,
            "no_data": data,
            "search": _rows(found.search if found else plain_search(asdict(search))),
            "recipe": run.recipe_path.read_text(encoding="utf-8"),
            "environment": _environment(run, history),
        }
    )


def _outputs(run: "Run", options: ReportOptions, note: Note) -> Outputs | str:
    """The outputs to show, kept ones where nothing has changed; else why there are none."""
    if options.limit == 0:
        return "Without outputs, as requested."
    if run.checkpoints().last is None and options.checkpoint in ("best", "last"):
        return "No checkpoint yet: outputs come with the first."
    split = options.split or _default_split(run)
    if split is None:
        return "No outputs: data/ has neither a test nor a validation split."
    assert options.search is not None, "report_page has chosen one"
    wanted = Wanted(
        split=split,
        search=options.search,
        checkpoint=run.resolve_checkpoint(options.checkpoint),
        limit=options.limit,
        num_samples=options.num_samples,
    )
    path, key = keep.path_of(run, wanted), keep.key_of(run, wanted, options.device)
    kept = None if options.fresh else keep.read(path, key)
    if kept is not None:
        return kept
    found = translate_split(run, wanted, options.device, options.batch_size)
    try:
        keep.write(path, key, found)
    except OSError as error:
        reason = error.strerror or str(error)
        note(f"{path}: cannot write there ({reason}): the next report translates again")
    return found


def _default_split(run: "Run") -> "SplitName | None":
    splits: tuple[SplitName, ...] = ("test", "validation")
    return next((one for one in splits if (run.data_folder / f"{one}.arrow").exists()), None)


def _data(path: Path) -> PrepareReport | str:
    """The report of preparation, or why there is none."""
    try:
        return PrepareReport.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "No data: s2s prep has not made them, or data/ was deleted."
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read: {' '.join(str(error).split())}"


def _logged(history: History) -> list[LoggedScore]:
    """The scores of the best validation and of all evaluations."""
    events = [(evaluated(event), event) for event in history.evaluation]
    best = history.best_validation()
    if best is not None:
        events.insert(0, ("validation in training, greedy", best))
    rows = []
    for what, event in events:
        update = event.get("update", event.get("checkpoint", ""))
        where = f"{update:,}" if isinstance(update, int) else visible_line(str(update))
        for name, value, signature in logged_scores(event):
            text = format_value(name, value)
            rows.append(LoggedScore(what, where, LABELS.get(name, name), text, signature))
    return rows


def _lists(outputs: Outputs | None) -> list[tuple[str, str, tuple[Any, ...]]]:
    if outputs is None:
        return []
    return [
        ("sample", "Lines at equal distances", outputs.samples),
        ("worst", f"Worst {len(outputs.worst)} lines", outputs.worst),
        ("best", f"Best {len(outputs.best)} lines", outputs.best),
    ]


def _environment(run: "Run", history: History) -> list[tuple[str, str]]:
    """What `environment.json` and the last start of training say."""
    try:
        content = read_json(run.environment_path)
    except (OSError, ValueError):
        content = {}
    start = history.starts[-1] if history.starts else {}
    facts = {
        name: start[name]
        for name in ("device", "precision", "processes", "threads", "memory")
        if name in start
    }
    if isinstance(memory := facts.get("memory"), dict):
        facts["memory"] = {name: _memory(name, value) for name, value in memory.items()}
    training = {"training": facts} if facts else {}
    return _rows({**(content if isinstance(content, dict) else {}), **training})


def _memory(name: str, value: Any) -> Any:
    """A value of the event's `memory`; bytes for a reader."""
    number = as_number(value) if name in ("peak", "limit") else None
    return value if number is None else f"{number / 2**30:.1f} GiB"


def _rows(content: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Names and values, those of sections with the section's name in front."""
    rows = []
    for name, value in content.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{above}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            text = "-" if value is None else text
            rows.append((f"{above}{name}".replace("_", " "), text))
    return rows


def _tiles(summary: RunSummary, outputs: Outputs | None) -> list[tuple[str, str]]:
    """The numbers at the top: label and value."""
    tiles = [("task", summary.task or "-"), ("parameters", short_count(summary.parameters))]
    if summary.score is not None and summary.metric is not None:
        label = LABELS.get(summary.metric, summary.metric)
        tiles.append((f"{label}, best validation", format_value(summary.metric, summary.score)))
    for score in outputs.scores if outputs else ():
        of = outputs.split if outputs else ""
        tiles.append((f"{score.label}, {of}", format_value(score.name, score.value)))
    if summary.seconds is not None:
        tiles.append(("minutes of training", f"{summary.seconds / 60:.1f}"))
    if summary.updates is not None:
        tiles.append(("updates", f"{summary.updates:,}"))
    tiles.append(("on disk", f"{summary.size / 1e6:.1f} MB"))
    return tiles


def _sections(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchors and titles."""
    found = [("scores", "Scores"), ("curves", "Training")]
    if content["lengths"]:
        found.append(("lengths", "By source length"))
    if content["outputs"]:
        found.append(("lines", "Outputs"))
    rest = ("data", "search", "recipe", "environment")
    return [*found, *((name, name.capitalize()) for name in rest)]


def _render(content: dict[str, Any]) -> bytes:
    environment = Environment(
        loader=PackageLoader("s2s.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "line": visible_line,
        "token": visible,
        "block": visible_block,
        "svg": svg,
        "colour": colour_class,
        "columns": _columns,
        "value": _value,
    }
    style, script = (_asset(environment, name) for name in ("style.css", "script.js"))
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    page = environment.get_template("report.html.jinja").render(
        **content,
        tiles=_tiles(content["summary"], content["outputs"]),
        sections=_sections(content),
        policy=Markup(policy),
        style=style,
        script=script,
        version=__version__,
        now=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    # A path may have bytes that are no text: a letter in their place.
    return page.encode("utf-8", errors="replace")


def visible_block(text: str) -> str:
    """Lines of text without characters that are invisible or turn the text around."""
    return "\n".join(
        "".join(" " if letter == " " else visible(letter).removeprefix("◌") for letter in line)
        for line in text.splitlines()
    )


def _asset(environment: Environment, name: str) -> Markup:
    """A file of the page, as it is."""
    assert environment.loader is not None, "given above"
    source, _, _ = environment.loader.get_source(environment, name)
    return Markup(source)


def _hash(text: str) -> str:
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _columns(image: Region) -> int:
    """Columns of an image's regions: a square, or one row where they make none."""
    side = math.isqrt(image.count)
    return side if side * side == image.count else image.count


def _value(score: Score) -> str:
    return format_value(score.name, score.value)

"""Values that follow from others, where a recipe does not say them."""

from typing import Any

from s2s.recipe.metrics import VALUES
from s2s.recipe.train import Train
from s2s.recipe.yaml import Keys

LANGUAGE_MODEL: dict[Keys, Any] = {
    ("data", "columns", "source"): None,
    ("model", "attention"): {"kind": "none", "context": "start"},
    ("model", "decoder"): {"kind": "plain"},
    ("metrics",): ["perplexity"],
    ("train", "label_smoothing"): 0.0,
    ("search",): {"kind": "sample", "max_ratio": 1.0, "max_offset": 100},
}
"""What a recipe of task `lm` means where it does not say it."""

LABELS: dict[str, dict[Keys, Any]] = {
    "classify": {
        ("model", "decoder", "kind"): "classifier",
        ("metrics",): ["accuracy", "macro_f1"],
    },
    "tag": {
        ("model", "decoder", "kind"): "tagger",
        ("metrics",): ["token_accuracy"],
    },
}
"""The same of tasks of labels."""

ALL_LABELS: dict[Keys, Any] = {
    ("data", "columns", "labels"): True,
    ("model", "attention"): {"kind": "none", "context": "start"},
    ("train", "label_smoothing"): 0.0,
}
"""The same of both."""

LABEL_TOKENIZER: dict[str, dict[str, Any]] = {
    "classify": {"kind": "word", "separators": "\n"},  # a line is one label
    "tag": {"kind": "word"},
}


def _labels(data: dict[str, Any], task: str) -> dict[str, Any]:
    """The values of a recipe of labels, with those that follow from the task."""
    for keys, value in {**LABELS[task], **ALL_LABELS}.items():
        data = _with(data, keys, value)
    model = data.get("model", {})
    tokenizer = data.get("tokenizer", {"kind": "word", "min_count": 2})
    if isinstance(tokenizer, dict) and tokenizer.get("kind") not in ("separate", "from_run"):
        tokenizer = {"kind": "separate", "source": tokenizer, "target": LABEL_TOKENIZER[task]}
    if isinstance(tokenizer, dict):
        has_characters = isinstance(model, dict) and model.get("characters") is not None
        if has_characters and _kind_of(tokenizer.get("source")) == "word":
            tokenizer = _with({"t": tokenizer}, ("t", "source", "characters"), True)["t"]
        if task == "classify" and _kind_of(tokenizer.get("target")) == "word":
            separators = LABEL_TOKENIZER[task]["separators"]
            tokenizer = _with({"t": tokenizer}, ("t", "target", "separators"), separators)["t"]
    # A chain of labels is searched by a beam, single labels are each the most probable.
    decoder = model.get("decoder") if isinstance(model, dict) else None
    has_crf = isinstance(decoder, dict) and bool(decoder.get("crf"))
    search = {"kind": "beam", "width": 5} if has_crf else {"kind": "greedy"}
    limits = {"max_ratio": 1.0, "max_offset": 1}
    data = _with({**data, "tokenizer": tokenizer}, ("search",), search)
    for name, limit in limits.items():
        data = _with(data, ("search", name), limit)
    return data


def _kind_of(section: Any) -> Any:
    return section.get("kind") if isinstance(section, dict) else None


def _with(data: dict[str, Any], keys: Keys, value: Any) -> dict[str, Any]:
    """`data` with a value at `keys`, unless there is one or no place for one."""
    key, *below = (str(key) for key in keys)
    if not below:
        return data if key in data else {**data, key: value}
    section = data.get(key, {} if key != "data" else None)  # faults of data are of what is there
    return {**data, key: _with(section, tuple(below), value)} if isinstance(section, dict) else data


def filled(data: dict[str, Any]) -> dict[str, Any]:
    """The values, with those that follow from others and that the recipe does not say."""
    if data.get("task") == "lm":
        for keys, value in LANGUAGE_MODEL.items():
            data = _with(data, keys, value)
    elif isinstance(task := data.get("task"), str) and task in LABELS:
        data = _labels(data, task)
    train, metrics = data.get("train", {}), data.get("metrics")
    if isinstance(metrics, list) and metrics and isinstance(train, dict) and "best" not in train:
        values = [value for name in metrics for value in VALUES.get(str(name), ())]
        if values and Train().best not in values:
            data = {**data, "train": {**train, "best": values[0]}}
    corpus = data.get("data")
    columns = corpus.get("columns") if isinstance(corpus, dict) else None
    if "tokenizer" in data or not isinstance(columns, dict) or not columns.get("source_features"):
        return data
    characters = {"kind": "character"}
    features = {"kind": "word", "separators": ";(),"}
    sides = {"source": characters, "target": characters, "source_features": features}
    return {**data, "tokenizer": {"kind": "separate", **sides}}

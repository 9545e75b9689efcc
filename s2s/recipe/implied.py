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

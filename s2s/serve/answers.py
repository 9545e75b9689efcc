"""Answers: outcomes of jobs as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from s2s.inference.attention.maps import AttentionMap
from s2s.inference.nbest import Output
from s2s.serve.faults import Refused
from s2s.serve.jobs import LineOutcome
from s2s.serve.settings import Limits

DIGITS = 4
"""Decimal places of attention weights."""


def encode(answer: Mapping[str, Any]) -> bytes:
    """An answer as JSON; log-probabilities that are infinite become null."""
    return json.dumps(answer, ensure_ascii=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def translations(outcomes: Sequence[LineOutcome], limits: Limits) -> list[dict[str, Any]]:
    """What became of lines; raises Refused for more attention than an answer may have."""
    weights = sum(one.attention.weights.size for one in outcomes if one.attention is not None)
    if weights > limits.attention_weights:
        raise Refused(
            413,
            f"expected at most {limits.attention_weights:,} weights in an answer, found "
            f"{weights:,}; send fewer or shorter lines",
        )
    return [_line(one) for one in outcomes]


def _line(outcome: LineOutcome) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "text": outcome.outputs[0].text,
        "outputs": [_output(output) for output in outcome.outputs],
    }
    if outcome.attention is not None:
        answer["attention"] = _attention(outcome.attention)
    return answer


def _output(output: Output) -> dict[str, Any]:
    answer = asdict(output)
    if output.unmet is None:
        del answer["unmet"]
    return answer


def _attention(found: AttentionMap) -> dict[str, Any]:
    return {
        "source": found.source,
        "target": found.target,
        "weights": found.weights.astype(float).round(DIGITS).tolist(),
        "source_words": found.source_word_ids,
        "target_words": found.target_word_ids,
    }

"""Reads the outputs of lines from a list of scored outputs (JSON Lines)."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from s2s.files import parse_json
from s2s.text.lines import read_lines


class ListedOutput(NamedTuple):
    """An output of a line."""

    text: str
    is_cut: bool
    """Whether it was cut at the longest output, so that its end is missing."""


def listed_outputs(path: Path) -> Iterator[list[ListedOutput]]:
    """The outputs of each line in a list of scored outputs."""
    number, outputs = 1, list[ListedOutput]()
    for row in read_lines(path):
        found = parse_json(row)
        if int(found["line"]) != number:
            yield outputs
            number, outputs = int(found["line"]), []
        outputs.append(ListedOutput(str(found["text"]), found["status"] == "cut"))
    yield outputs


def closest(outputs: list[ListedOutput], reference: str) -> list[ListedOutput]:
    """The output with the best sentence BLEU (smoothed, effective order), the first of equals; one
    that was cut only if all were."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    scores = [(not one.is_cut, bleu.sentence_score(one.text, [reference]).score) for one in outputs]
    return [outputs[scores.index(max(scores))]]

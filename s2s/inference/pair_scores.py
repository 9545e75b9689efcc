"""Log-probabilities of given translations, by forced decoding."""

from collections.abc import Sequence
from typing import NamedTuple

from s2s.errors import DataError
from s2s.inference.missing_features import has_input, refuse_missing
from s2s.inference.translator import LineTranslator
from s2s.search.fusion import forced_scores
from s2s.text.lines import unless_blank


class PairScore(NamedTuple):
    """How probable a translation is."""

    log_prob: float
    """Natural logarithm of its probability, EOS included."""
    length: int
    """The number of its tokens and EOS; 0 for a blank pair."""

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token; 0 for a blank pair."""
        return self.log_prob / max(self.length, 1)


def score_lines(
    translator: LineTranslator, pairs: Sequence[tuple[str, str]], place: tuple[str, int]
) -> list[PairScore]:
    """The score of each pair of a source and a translation, which are scored together.

    `place` is the name of the input and the number of its lines before the first pair. The
    translator must be without a shortlist, which might lack tokens of the given translations. With
    a language model the score is the weighted sum that search maximizes (`s2s.search.fusion`).
    Raises DataError, at the place, for a line that has no image features, and for labels that the
    model does not have, or too many or too few of them.
    """
    lines = [line for line, _ in pairs]
    read = translator.read(list(map(unless_blank, lines)))
    translator.report_truncated([reading.ids for reading in read])
    read = [reading.cut(translator.truncate) for reading in read]
    sources = [reading.ids for reading in read]
    targets = translator.read_targets([unless_blank(line) for _, line in pairs], read)
    refuse_missing(translator.features, (lines, read), [line for _, line in pairs], *place)
    pairs_of_ids = list(zip(sources, targets, strict=True))
    features = translator.image_features_of(read)
    found = forced_scores(translator.scorer, pairs_of_ids, translator.device, features)
    scores = []
    if translator.has_labels:
        _refuse_impossible(found, place)
    for log_prob, reading, tokens in zip(found, read, targets, strict=True):
        is_asked = len(tokens) or has_input(reading)
        scores.append(PairScore(log_prob, len(tokens) + 1 if is_asked else 0))
    return scores


def _refuse_impossible(log_probs: Sequence[float], place: tuple[str, int]) -> None:
    """Raise DataError for labels whose probability is 0."""
    name, first = place
    for line, log_prob in enumerate(log_probs, start=first + 1):
        if log_prob == float("-inf"):
            raise DataError(
                f"{name}:{line}: the labels given for this line cannot be: expected one, or for "
                "task 'tag' one for each word, that the training data have"
            )

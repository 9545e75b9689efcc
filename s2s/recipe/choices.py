"""Closed sets of names that recipes and command-line options share.

This module imports no other module of s2s and nothing slow: `--help` reads it.
"""

from typing import Literal

TaskName = Literal["translation", "captioning", "lm", "classify", "tag"]
"""Kinds of data and of the model that reads them."""

PlaceholderKind = Literal["number", "url", "email"]
"""Kinds of text that placeholders stand for."""

SearchKind = Literal["greedy", "beam", "sample", "exhaustive", "mbr", "rerank"]
"""Search algorithms. Where several have a field that an option sets, the first is meant."""

CandidateSource = Literal["sample", "beam", "both"]
"""Searches that find the candidates of minimum Bayes risk decoding."""

UtilityName = Literal["chrf", "bleu", "rouge", "exact", "wer", "cer", "per"]
"""Metrics by which minimum Bayes risk decoding compares candidates."""

CandidateWeighting = Literal["count", "probability"]
"""Weights of its candidates as references."""

LengthNormalization = Literal["length", "gnmt"]
"""Bases of the length penalty: the length, or (5 + length) / 6 (Wu et al. 2016)."""

SearchPrecision = Literal["fp32", "bf16", "int8"]
"""Precisions of the matrix products of a decoding step."""

SearchPrecisionChoice = Literal["auto", "fp32", "bf16", "int8"]
"""The same in a recipe; `auto` is the fastest precision of the machine."""

Tokenization = Literal[
    "13a",
    "intl",
    "zh",
    "ja-mecab",
    "ko-mecab",
    "char",
    "none",
    "spm",
    "flores101",
    "flores200",
    "ptb",
]
"""Tokenizations of sacrebleu, some of which need an extra package that sacrebleu names; and `ptb`,
that of the evaluation of COCO captions."""

TrackerName = Literal["tensorboard", "wandb", "mlflow"]
"""Experiment trackers, each under the name of its package."""

RougeTokens = Literal["rouge", "space"]
"""Tokens that ROUGE compares."""

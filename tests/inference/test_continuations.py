"""Continuations of a prefix."""

import pytest
import torch

from s2s.inference.continuations import continuations
from s2s.inference.line_constraints import ConstraintCompiler, LineConstraints
from s2s.inference.load import load_translator
from s2s.inference.pair_scores import score_lines
from s2s.inference.translator import LineTranslator
from s2s.run.directory import Run

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """\
task: translation
name: toy
data:
  kind: synthetic
  size: 300
  held_out: 20
tokenizer: {kind: character}
model:
  embeddings: 16
  encoder: {width: 16}
  decoder: {width: 24}
train: {epochs: 1, batch_tokens: 300, precision: fp32}
search: {kind: beam, width: 2}
"""

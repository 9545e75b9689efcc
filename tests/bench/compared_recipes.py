"""Recipes that other toolkits have counterparts of."""

from pathlib import Path

from s2s.bench.toolkits import MARIAN, OPENNMT
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe

COMMON = """
task: translation
seed: 3
data: {kind: generated, corpus: dates, pairs: 120}
tokenizer:
  kind: separate
  source: {kind: word, vocabulary: 50}
  target: {kind: bpe, vocabulary: 90}
train:
  batch_tokens: 150
  label_smoothing: 0.2
  average: 0.75
  clip_norm: 3
  optimizer: {learning_rate: 2e-3, beta1: 0.8, beta2: 0.95, epsilon: 1e-8}
"""

OF = {
    "opennmt": "model: {embeddings: 12, encoder: {width: 6, layers: 2}, "
    "decoder: {kind: luong, width: 12, layers: 2, input_feeding: true}, "
    "dropout: {embedding: 0.1, encoder: 0.3, decoder: 0.2, readout: 0}}",
    "marian": "model: {embeddings: 12, encoder: {width: 6}, "
    "attention: {kind: additive, width: 12}, decoder: {kind: conditional, width: 6, layers: 2}, "
    "dropout: {embedding: 0.1, encoder: 0.3, decoder: 0.2, readout: 0}}",
}

TOOLKITS = {"opennmt": OPENNMT, "marian": MARIAN}


def recipe_of(name: str, folder: Path, *overrides: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(COMMON + OF[name] + "\n")
    return load_recipe(path, overrides)

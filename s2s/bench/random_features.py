"""Features drawn at random, in the place of the files that a recipe names."""

from pathlib import Path

import numpy as np

from s2s.data.features.ids import IdIndex
from s2s.data.features.lookup import FeatureLines, check_grids, columns_of
from s2s.data.features.open import open_store
from s2s.data.features.store import FeatureStore, one_piece
from s2s.nn.encoders.regions import FeatureShape
from s2s.recipe.data import has_source_text, image_features_of
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.recipe import Recipe

ASSUMED_GRID = FeatureShape(width=512, regions=49)
"""Of a file that is not there, where a model attends: the last feature map of a ResNet-18."""

ASSUMED_VECTOR = FeatureShape(width=2048, regions=1)
"""Of a file that is not there, where no model attends: a ResNet-50's pooled features."""

IMAGES = 256
"""Entries of a drawn file; pairs share them, so that it fits into memory."""


def drawn_features(recipe: Recipe) -> FeatureLines | None:
    """A file of normally distributed numbers for each of the recipe's; None where it has none.

    Raises DataError for files that are there but are none of features, or of other grids than the
    model reads.
    """
    files = image_features_of(recipe.data)
    if not files:
        return None
    random = np.random.default_rng(recipe.seed)
    stores = []
    for place, file in enumerate(files):
        width, regions = _shape(file, recipe, place)
        values = random.standard_normal((IMAGES, regions, width), np.float32).astype(np.float16)
        ids = IdIndex(map(str, range(IMAGES)), str)
        stores.append(FeatureStore(file.path, ids, one_piece(values)))
    lines = FeatureLines(tuple(stores), columns_of(files), has_source_text(recipe.data))
    check_grids(lines, recipe.model)
    return lines


def _shape(file: ImageFeatureFile, recipe: Recipe, place: int) -> FeatureShape:
    """As the file has it where it is there, its grids' mean size; else as the recipe implies."""
    path, ids = Path(file.path), None if file.ids is None else Path(file.ids)
    if path.exists() and (ids is None or ids.exists()):
        store = open_store(path, ids)
        regions = store.regions(np.arange(len(store))).mean()
        return FeatureShape(store.width, round(float(regions)))
    rows = recipe.model.image_feature_encoder(place).rows
    if rows is not None:  # as many columns
        return ASSUMED_GRID._replace(regions=rows * rows)
    return ASSUMED_VECTOR if recipe.model.attention.kind == "none" else ASSUMED_GRID

"""Random image features, which replace the files of a recipe."""

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
"""The shape of a missing file for a model with attention: a ResNet-18's last feature map."""

ASSUMED_VECTOR = FeatureShape(width=2048, regions=1)
"""The shape of a missing file for a model without attention: a ResNet-50's pooled features."""

IMAGES = 256
"""Entries of a random file; pairs share them, so that it fits into memory."""


def random_features(recipe: Recipe) -> FeatureLines | None:
    """Normally distributed features in place of each file of the recipe; None if it has none.

    Raises DataError for existing files that are not features, or whose grids the model cannot read.
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
    """The shape of a file, with the mean size of its grids; of a missing one, an assumed shape."""
    path, ids = Path(file.path), None if file.ids is None else Path(file.ids)
    if path.exists() and (ids is None or ids.exists()):
        store = open_store(path, ids)
        regions = store.regions(np.arange(len(store))).mean()
        return FeatureShape(store.width, round(float(regions)))
    rows = recipe.model.image_feature_encoder(place).rows
    if rows is not None:  # as many columns
        return ASSUMED_GRID._replace(regions=rows * rows)
    return ASSUMED_VECTOR if recipe.model.attention.kind == "none" else ASSUMED_GRID

"""Checks of features against examples: reports, warnings and errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2s.data.features.check import FeatureCheck, check_finite, check_width
from s2s.data.features.open import open_store
from s2s.data.features.store import FeatureStore
from s2s.errors import DataError

IDS = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
GOOD = np.ones((4, 3), np.float32)


def small_store(folder: Path, array: np.ndarray[Any, Any] = GOOD) -> FeatureStore:
    np.save(folder / "x.npy", array)
    (folder / "x.ids").write_text("".join(f"{id_}\n" for id_ in IDS))
    return open_store(folder / "x.npy")


def test_an_id_that_is_not_there(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    assert store.has("b.jpg") and not store.has("b")
    with pytest.raises(DataError) as caught:
        store.rows_of(["a.jpg", "images/b.jpg", "c.jpg", "z", "images/b.jpg"])
    assert str(caught.value) == (
        f"{tmp_path}/x.npy: no features for 'images/b.jpg' (did you mean 'b.jpg'?); "
        "3 of 5 ids have none"
    )
    with pytest.raises(DataError) as caught:
        store.rows_of(["Москва"])
    assert str(caught.value) == f"{tmp_path}/x.npy: no features for 'Москва'"


def test_a_check_counts_and_names(tmp_path: Path) -> None:
    check = FeatureCheck(small_store(tmp_path))
    assert check.find(["d.jpg", "x", "a.jpg"]).tolist() == [3, -1, 0]
    assert check.find(["a.jpg", "y", "z", "w"]).tolist() == [0, -1, -1, -1]
    report = check.report()
    assert (report.entries, report.width, report.regions) == (4, 3, (1, 1))
    assert (report.wanted, report.missing, report.missing_ids) == (7, 4, ("x", "y", "z"))
    assert (report.unused, report.unused_ids) == (2, ("b.jpg", "c.jpg"))
    name = f"{tmp_path}/x.npy"
    assert report.warnings == (
        f"{name}: 4 of 7 examples have no features: 'x', 'y', 'z' and 1 other",
        f"{name}: 2 of 4 ids belong to no example: 'b.jpg', 'c.jpg'",
    )
    report.refuse(most_missing=4 / 7)
    with pytest.raises(DataError) as caught:
        report.refuse()
    assert str(caught.value) == (
        f"{name}: 4 of 7 examples have no features, expected features for all: "
        "'x', 'y', 'z' and 1 other"
    )
    with pytest.raises(DataError, match=r"expected at most 50\.0%: 'x'"):
        report.refuse(most_missing=0.5)


def test_a_check_of_features_that_fit_says_nothing(tmp_path: Path) -> None:
    check = FeatureCheck(small_store(tmp_path))
    check.find(IDS)
    check.find([])
    report = check.report()
    report.refuse()
    assert report.warnings == ()
    unused = FeatureCheck(small_store(tmp_path)).report()
    assert (unused.regions, unused.unused) == ((0, 0), 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_features_that_are_no_numbers(
    bad: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found in any block; 1e300 becomes infinite in float32."""
    array = np.ones((4, 2, 3))
    array[1, 0, 2] = array[3, 1, 1] = bad
    store = small_store(tmp_path, array)
    expected = (
        f"{tmp_path}/x.npy: expected finite numbers, found NaN or infinity in the features of "
        "'b.jpg', 'd.jpg'"
    )
    for num_bytes in (1, 48, 1000):
        monkeypatch.setattr("s2s.data.features.check.BLOCK_BYTES", num_bytes)
        check = FeatureCheck(store)
        check.find(IDS)
        with pytest.raises(DataError) as caught:
            check.report().refuse(most_missing=1.0)
        assert str(caught.value) == expected
    rows = store.rows_of(["d.jpg", "a.jpg"])
    with pytest.raises(DataError, match=r"features of 'd\.jpg'$"):
        check_finite(store, rows, store.gather(rows))
    check = FeatureCheck(store)
    rows = check.find(["a.jpg", "c.jpg"])
    check.report().refuse()  # what nobody uses does no harm
    check_finite(store, rows, store.gather(rows))


def test_features_of_another_width_than_the_model_s(tmp_path: Path) -> None:
    store = small_store(tmp_path)
    check_width(store, 3)
    with pytest.raises(DataError) as caught:
        check_width(store, 2048)
    assert str(caught.value) == (
        f"{tmp_path}/x.npy: features of width 3, the model expects 2048; they must come from "
        "the network that made those of training"
    )

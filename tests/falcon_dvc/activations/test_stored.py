"""Dense and sparse files look alike to callers."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.activations.stored import SparseMapsFile, open_rows
from falcon_dvc.activations.tiles import Layout, TileWriter
from falcon_dvc.activations.write import write_rows
from falcon_dvc.artifacts.formats import write_array
from falcon_dvc.crops.heatmaps import group_heatmaps, heatmaps_of
from falcon_dvc.errors import UserError
from tests.support.sparse_values import FEATURES, GRID, IMAGES, maps_of, rows_of

INDEX = {"rows": IMAGES, "columns": FEATURES}


def index(count):
    return st.one_of(
        st.just(slice(None)), st.lists(st.integers(0, count - 1)).map(lambda rows: np.array(rows, dtype=int))
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), index(IMAGES), index(FEATURES))
def test_any_rows_and_columns_are_the_same(tmp_path, seed, rows, columns):
    values = rows_of(seed)
    for path, written in ((tmp_path / "dense", values), (tmp_path / "sparse", sparse.csr_array(values))):
        write_rows(path, written)
        found = open_rows(path, IMAGES, "images.parquet")
        assert found.shape == values.shape and found.sparse == (path.name == "sparse")
        assert np.array_equal(found.rows(rows), values[rows])
        assert np.array_equal(found.columns(columns, rows), values[rows][:, columns])


def test_the_other_form_of_an_earlier_run_is_removed(tmp_path):
    for values in (rows_of(1), sparse.csr_array(rows_of(2)), rows_of(3)):
        write_rows(tmp_path / "features", values)
        assert len(list(tmp_path.iterdir())) == 1


def test_other_numbers_of_rows_and_other_shapes_are_refused(tmp_path):
    write_rows(tmp_path / "dense", rows_of(1))
    write_rows(tmp_path / "sparse", sparse.csr_array(rows_of(1)))
    for name in ("dense", "sparse"):
        with pytest.raises(UserError, match=rf"{name}.*: 9 rows, but 8 in images\.parquet; run `dvc repro`"):
            open_rows(tmp_path / name, 8, "images.parquet")
    write_array(tmp_path / "maps.npy", np.zeros((2, 3, 4)))
    with pytest.raises(UserError, match=r"maps\.npy: .*not rows of numbers"):
        open_rows(tmp_path / "maps")
    with pytest.raises(UserError, match=r"none\.npy: not a readable"):
        open_rows(tmp_path / "none")
    with pytest.raises(UserError, match="not maps"):
        SparseMapsFile(tmp_path / "sparse")


def test_heatmaps_from_the_disk_are_those_of_dense_maps(tmp_path):
    dense, maps = maps_of(5)
    writer = TileWriter(tmp_path / "maps", Layout(dense.shape, "float16", 4))
    writer.append(maps.values)
    writer.flush()
    generator, stored = np.random.default_rng(0), SparseMapsFile(tmp_path / "maps")
    images, directions = generator.integers(0, IMAGES, 20), generator.normal(size=(20, FEATURES))
    members = sparse.csr_array(generator.random((20, FEATURES)) < 0.4)
    expected = group_heatmaps(dense.astype(np.float16), images, members)
    assert stored.shape == (IMAGES, FEATURES, *GRID) and np.array_equal(
        stored.group_heatmaps(images, members), expected
    )
    np.testing.assert_allclose(stored.heatmaps(images, directions), heatmaps_of(dense[images], directions), atol=1e-4)
    with pytest.raises(UserError, match="not rows of numbers"):
        open_rows(tmp_path / "maps")

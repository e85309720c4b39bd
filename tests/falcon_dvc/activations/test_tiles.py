"""Tiles give back what was written, whatever blocks it came in; a damaged file is said in one line."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from scipy import sparse

from falcon_dvc.activations import tiles as module
from falcon_dvc.activations.tiles import Layout, Tiles, TileWriter, layout_of
from falcon_dvc.errors import UserError
from tests.support.sparse_values import FEATURES, IMAGES, rows_of

LAYOUT = Layout((IMAGES, FEATURES), "float16", 4)
REUSED = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder, dense, blocks, layout=LAYOUT, finished=0):
    """Write rows block by block, the files, with their bytes."""
    writer = TileWriter(folder, layout, finished)
    for start, stop in zip([finished, *blocks], [*blocks, len(dense)], strict=True):
        writer.append(sparse.csr_array(dense[start:stop]))
    writer.flush()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def whole(folder):
    tiles = Tiles(folder)
    return np.concatenate([tiles.read(tile).toarray() for tile in range(tiles.layout.tiles)])


@REUSED
@given(st.integers(0, 10_000), st.lists(st.integers(0, IMAGES), max_size=4).map(sorted), st.integers(0, IMAGES))
def test_rows_come_back_and_the_files_do_not_depend_on_the_blocks(tmp_path, seed, blocks, killed_at):
    dense = rows_of(seed)
    expected = write(tmp_path / "once", dense, [])
    assert np.array_equal(whole(tmp_path / "once"), dense)
    assert write(tmp_path / "blocks", dense, blocks) == expected
    write(tmp_path / "killed", dense[:killed_at], [])
    later = [block for block in blocks if block >= killed_at]
    assert write(tmp_path / "killed", dense, later, finished=killed_at) == expected


@pytest.mark.parametrize("width", [5, 3000, 2**30])
def test_a_tile_is_never_larger_than_the_bound(width):
    rows = layout_of((10**6, width), np.float16).rows_of_a_tile
    assert 1 <= rows <= module.ROWS_OF_A_TILE and (rows == 1 or rows * width <= module.CELLS_OF_A_TILE)


def test_rows_of_several_tiles_are_read_tile_by_tile(tmp_path):
    dense = rows_of(1)
    write(tmp_path / "tiles", dense, [])
    rows, found = np.array([8, 0, 3, 8, 5]), np.zeros((5, FEATURES))
    for places, tile, own in Tiles(tmp_path / "tiles").of_rows(rows):
        assert tile.shape[0] <= LAYOUT.rows_of_a_tile
        found[places] = tile[own].toarray()
    assert np.array_equal(found, dense[rows])


def changed(**tensors):
    return lambda content: save(load(content) | tensors)


DAMAGES = {
    "cut": lambda content: content[:-5],
    "empty": lambda _: b"",
    "pickled": lambda _: b"\x80\x04\x95",
    "a tensor is missing": lambda content: save({"starts": load(content)["starts"]}),
    "too few rows": changed(starts=np.array([0, 1]), columns=np.zeros(1, np.uint32), values=np.ones(1, np.float16)),
    "another type": lambda content: save(load(content) | {"values": load(content)["values"].astype(np.float32)}),
    "column outside": lambda content: save(load(content) | {"columns": load(content)["columns"] + np.uint32(FEATURES)}),
    "negative column": lambda content: save(load(content) | {"columns": load(content)["columns"].astype(np.int64) - 9}),
    "starts fall": lambda content: save(load(content) | {"starts": load(content)["starts"][::-1].copy()}),
    "starts beyond": lambda content: save(load(content) | {"starts": load(content)["starts"] + 1}),
    "no order": lambda content: save(load(content) | {"columns": load(content)["columns"][::-1].copy()}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_tile_is_said_in_one_line(tmp_path, damage):
    write(tmp_path / "tiles", rows_of(3, share=0.6), [])
    file = tmp_path / "tiles" / "00001.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"00001\.safetensors: no rows of a sparse array \(.*dvc repro") as error:
        Tiles(tmp_path / "tiles").read(1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"shape": [3], "dtype": "float32", "rows_of_a_tile": 1}',
     '{"shape": [3, 4], "dtype": "object", "rows_of_a_tile": 1}', '{"shape": [3, -4], "dtype": "float32", "rows_of_a_tile": 1}',
     '{"shape": [3, 4], "dtype": "float32", "rows_of_a_tile": 0}', '{"shape": "ab", "dtype": "float32", "rows_of_a_tile": 1}'],
)  # fmt: skip
def test_a_damaged_layout_is_said_in_one_line(tmp_path, content):
    (tmp_path / "layout.json").write_text(content)
    with pytest.raises(UserError, match=r"layout\.json.*dvc repro"):
        Tiles(tmp_path)


def test_a_missing_tile_is_said(tmp_path):
    write(tmp_path / "tiles", rows_of(3), [])
    (tmp_path / "tiles" / "00002.safetensors").unlink()
    with pytest.raises(UserError, match="00002"):
        Tiles(tmp_path / "tiles").read(2)
    assert json.loads((tmp_path / "tiles" / "layout.json").read_text())["rows_of_a_tile"] == 4

"""Steps 4 and 5: heatmaps, boxes and crops, against loops in pure Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from falcon_dvc.crops import heatmaps as heatmaps_module
from falcon_dvc.crops.heatmaps import (
    CropRule,
    as_bytes,
    boxes_of,
    crop_boxes,
    empty,
    enlarged,
    group_heatmaps,
    heatmaps_of,
    moved_to_image,
    on_image,
    squares,
)

SEEDS = st.integers(0, 2**32 - 1)
SMALL_MAPS = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0.0, 0.5, 0.6, 0.8, 1.0, 2.0]),
)


@given(SEEDS)
def test_the_heatmap_of_a_direction_is_the_rectified_sum(seed):
    rng = np.random.default_rng(seed)
    maps, direction = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=4) * (rng.random(4) < 0.6)
    found = heatmaps_of(maps, direction)
    for image in range(2):
        for row in range(3):
            for column in range(5):
                total = sum(direction[j] * maps[image, j, row, column] for j in range(4))
                assert found[image, row, column] == pytest.approx(max(total, 0), abs=1e-5)


@given(SEEDS)
def test_many_groups_at_once_are_as_one_at_a_time(seed):
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(5, 6, 3, 3)).astype(np.float16)
    images, members = rng.integers(0, 5, 7), (rng.random((7, 6)) < 0.4).astype(np.float32)
    found = group_heatmaps(maps, images, sparse.csr_array(members))
    for crop in range(7):
        assert np.allclose(found[crop], heatmaps_of(maps[images[crop]][None], members[crop])[0], atol=1e-3)


def interpolated(heatmap: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, pixel centres aligned, one pixel at a time."""
    result = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            y = min(max((row + 0.5) * heatmap.shape[0] / height - 0.5, 0), heatmap.shape[0] - 1)
            x = min(max((column + 0.5) * heatmap.shape[1] / width - 0.5, 0), heatmap.shape[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, heatmap.shape[0] - 1), min(left + 1, heatmap.shape[1] - 1)
            upper = heatmap[top, left] * (1 - (x - left)) + heatmap[top, right] * (x - left)
            lower = heatmap[bottom, left] * (1 - (x - left)) + heatmap[bottom, right] * (x - left)
            result[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    return result


@given(SEEDS, st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(1, 9)] * 2))
def test_interpolation_is_bilinear(seed, size, target):
    heatmap = np.random.default_rng(seed).random(size)
    assert np.allclose(enlarged(heatmap[None], *target)[0], interpolated(heatmap, *target))


@given(st.floats(0, 10), st.integers(1, 7), st.integers(1, 20))
def test_interpolation_keeps_a_constant(level, size, target):
    assert np.allclose(enlarged(np.full((1, size, size), level), target, target), level)


@given(st.integers(2, 7), st.integers(2, 5))
def test_interpolation_keeps_a_ramp_away_from_the_border(size, times):
    ramp = enlarged(np.tile(np.arange(size, dtype=float), (1, size, 1)), size * times, size * times)[0]
    inside = slice(times // 2 + 1, -(times // 2) - 1)
    assert np.allclose(np.diff(ramp[0, inside]), 1 / times)
    assert np.allclose(ramp, ramp[0])


def regions(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Connected regions (four neighbours) in reading order of their first pixel."""
    left, found = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}, []
    for start in sorted(left):
        stack, region = ([start] if start in left else []), []
        left.discard(start)
        while stack:
            y, x = stack.pop()
            region.append((y, x))
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.discard(near)
                    stack.append(near)
        if region:
            found.append(region)
    return found


def box_by_search(heatmap: np.ndarray, threshold: float) -> list[int]:
    if heatmap.max() <= 0:
        return [0, 0, heatmap.shape[1], heatmap.shape[0]]
    largest = max(regions(heatmap >= np.float32(threshold) * heatmap.max()), key=len)  # the first of equals
    rows, columns = [y for y, _ in largest], [x for _, x in largest]
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


@given(SMALL_MAPS, st.sampled_from([0.3, 0.6, 0.9]))
def test_the_box_is_that_of_the_largest_region(heatmaps, threshold):
    assert boxes_of(heatmaps, threshold).tolist() == [box_by_search(heatmap, threshold) for heatmap in heatmaps]


def test_regions_never_reach_into_the_next_image():
    heatmaps = np.zeros((3, 4, 4), dtype=np.float32)
    heatmaps[0, 0, 0] = heatmaps[1, 0, 0:2] = heatmaps[2, 3, 3] = 1
    assert boxes_of(heatmaps, 0.6).tolist() == [[0, 0, 1, 1], [0, 0, 2, 1], [3, 3, 4, 4]]


def test_diagonal_neighbours_are_not_connected():
    heatmap = np.array([[[1, 0, 0], [0, 1, 1], [0, 0, 0]]], dtype=np.float32)
    assert boxes_of(heatmap, 0.6).tolist() == [[1, 1, 3, 2]]


def test_an_empty_heatmap_gives_the_whole_map_and_is_named():
    heatmaps = np.zeros((2, 3, 5), dtype=np.float32)
    heatmaps[1, 1, 2] = 1e-6
    assert empty(heatmaps).tolist() == [True, False]
    assert boxes_of(heatmaps, 0.6).tolist() == [[0, 0, 5, 3], [2, 1, 3, 2]]
    assert boxes_of(heatmaps[:0], 0.6).shape == (0, 4)


@st.composite
def boxes_in_images(draw):
    height, width = draw(st.integers(8, 60)), draw(st.integers(8, 60))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    return np.array([[left, top, right, bottom]]), (height, width)


@given(boxes_in_images(), st.sampled_from([0.0, 0.15, 1.0]), st.sampled_from([0.0, 0.3, 1.0]))
def test_squares_hold_the_box_and_lie_inside_the_image(boxed, margin, min_size):
    (box,), (height, width) = boxed
    left, top, right, bottom = squares(box[None], (height, width), margin, min_size)[0]
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert left <= box[0] and top <= box[1] and right >= box[2] and bottom >= box[3]
    longer = max(box[2] - box[0], box[3] - box[1])
    side = int(np.ceil(max(longer * (1 + 2 * margin), min_size * min(height, width))))
    assert (right - left, bottom - top) == (min(side, width), min(side, height))


@given(boxes_in_images(), st.integers(8, 60), st.integers(8, 60))
def test_a_carried_box_has_the_same_relative_size_and_lies_inside(boxed, height, width):
    box, shape = boxed
    square = squares(box, shape, 0.1, 0.2)
    found = moved_to_image(square, tuple(np.array([some]) for some in shape), (np.array([height]), np.array([width])))[
        0
    ]
    assert 0 <= found[0] < found[2] <= width
    assert 0 <= found[1] < found[3] <= height
    side = np.rint((square[0, 2:] - square[0, :2]).max() / min(shape) * min(height, width))
    assert (found[2] - found[0], found[3] - found[1]) == (min(side, width), min(side, height))


@given(boxes_in_images())
def test_a_box_carried_onto_an_image_of_the_same_shape_stays(boxed):
    box, shape = boxed
    square = squares(box, shape, 0.0, 0.2)
    own = tuple(np.array([some]) for some in shape)
    assert np.abs(moved_to_image(square, own, own) - square).max() <= 1


def test_squares_are_centred_where_there_is_room():
    assert squares(np.array([[40, 45, 50, 55]]), (100, 100), 0.5, 0.1).tolist() == [[35, 40, 55, 60]]


@given(SEEDS)
def test_images_of_different_sizes_are_cut_as_one_at_a_time(seed):
    rng = np.random.default_rng(seed)
    heights, widths = rng.integers(20, 90, 6), rng.integers(20, 90, 6)
    heatmaps = np.maximum(rng.normal(size=(6, 4, 4)), 0).astype(np.float32)
    heatmaps[2] = 0
    fields = np.column_stack([np.zeros(6, int), np.zeros(6, int), widths, heights])
    rule = CropRule(crop=True, threshold=0.6, margin=0.15, min_size=0.3)
    together = crop_boxes(heatmaps, fields, (heights, widths), rule)
    alone = [
        crop_boxes(heatmaps[i : i + 1], fields[i : i + 1], (heights[i : i + 1], widths[i : i + 1]), rule)[0]
        for i in range(6)
    ]
    assert np.array_equal(together, alone)
    assert together[2].tolist() == [0, 0, widths[2], heights[2]]
    assert (together[:, 2:] <= np.column_stack([widths, heights])).all()


def test_the_crop_surrounds_what_fired_on_the_original_image():
    """The encoder saw the middle 100 x 100 of a 200 x 100 image; cell (1, 3) of its 4 x 4 map fires."""
    heatmap = np.zeros((1, 4, 4), dtype=np.float32)
    heatmap[0, 1, 3] = 1
    fields, shape = np.array([[50, 0, 150, 100]]), (np.array([100]), np.array([200]))
    left, top, right, bottom = crop_boxes(heatmap, fields, shape, CropRule(True, 0.6, 0.0, 0.0))[0]
    assert left <= 135 <= right and top <= 37 <= bottom
    assert left >= 120 and right <= 155 and top >= 20 and bottom <= 55
    assert crop_boxes(heatmap, fields, shape, CropRule(False, 0.6, 0.0, 0.0)).tolist() == [[0, 0, 200, 100]]
    assert crop_boxes(0 * heatmap, fields, shape, CropRule(True, 0.6, 0.0, 0.0)).tolist() == [[0, 0, 200, 100]]


@given(SEEDS)
def test_boxes_on_the_image_stay_inside_the_field_and_cover_its_cells(seed):
    rng = np.random.default_rng(seed)
    fields = np.array([[10, 20, 10 + rng.integers(5, 90), 20 + rng.integers(5, 90)]])
    boxes = np.array([[1, 2, 3, 5]])
    left, top, right, bottom = on_image(boxes, (7, 4), fields)[0]
    across, down = (fields[0, 2] - 10) / 4, (fields[0, 3] - 20) / 7
    assert 10 <= left <= 10 + across and 10 + 3 * across <= right <= fields[0, 2]
    assert 20 <= top <= 20 + 2 * down and 20 + 5 * down <= bottom <= fields[0, 3]
    assert on_image(np.array([[0, 0, 4, 7]]), (7, 4), fields).tolist() == fields.tolist()


@given(SMALL_MAPS)
def test_bytes_reach_from_nothing_to_the_maximum(heatmaps):
    shown = as_bytes(heatmaps)
    assert shown.dtype == np.uint8
    assert (shown.max(axis=(1, 2)) == np.where(empty(heatmaps), 0, 255)).all()
    assert ((shown == 255) == ((heatmaps == heatmaps.max(axis=(1, 2), keepdims=True)) & (heatmaps > 0))).all()


# Whatever the numbers are: any grid, size, width of a float


@st.composite
def boxes_on_grids(draw):
    """A box of a grid, and a field somewhere in an image."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    across, down = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    return box, (height, width), (across, down)


@given(boxes_on_grids())
def test_a_box_on_the_image_is_the_smallest_of_whole_pixels_that_covers_its_cells(drawn):
    box, (height, width), (across, down) = drawn
    found = on_image(np.array([box]), (height, width), np.array([[7, 5, 7 + across, 5 + down]]))[0] - [7, 5, 7, 5]
    for first, last, begin, end, cells, pixels in (
        (found[0], found[2], box[0], box[2], width, across),
        (found[1], found[3], box[1], box[3], height, down),
    ):
        assert 0 <= first < last <= pixels
        assert first * cells <= begin * pixels < (first + 1) * cells
        assert (last - 1) * cells < end * pixels <= last * cells


def test_a_box_up_to_the_border_of_the_grid_ends_at_the_border_of_the_field():
    """29 / 7 * 7 is a bit more than 29."""
    fields = np.array([[0, 0, pixels, pixels] for pixels in range(1, 400)])
    for cells in (7, 28, 49, 56):
        whole = np.tile([0, 0, cells, cells], (len(fields), 1))
        assert np.array_equal(on_image(whole, (cells, cells), fields), fields)


@given(boxes_in_images(), st.integers(1, 60), st.integers(1, 60))
def test_a_carried_box_holds_a_pixel_of_the_smallest_image(boxed, height, width):
    box, shape = boxed
    own = tuple(np.array([some]) for some in shape)
    left, top, right, bottom = moved_to_image(box, own, (np.array([height]), np.array([width])))[0]
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


@given(SMALL_MAPS, st.sampled_from([2.0**-20, 0.5, 4.0]), st.sampled_from([0.3, 0.6, 0.9]))
def test_the_unit_of_a_heatmap_changes_neither_box_nor_bytes(heatmaps, unit, threshold):
    for width in (np.float32, np.float64):
        scaled = (unit * heatmaps).astype(width)
        assert np.array_equal(boxes_of(scaled, threshold), boxes_of(heatmaps.astype(width), threshold))
        assert np.array_equal(as_bytes(scaled), as_bytes(heatmaps.astype(width)))
        assert np.array_equal(empty(scaled), empty(heatmaps))
    turned = boxes_of(np.swapaxes(heatmaps, 1, 2)[:, :, :], 0.0)
    assert np.array_equal(turned, boxes_of(heatmaps, 0.0)[:, [1, 0, 3, 2]])


@given(SMALL_MAPS)
def test_a_heatmap_is_empty_if_nothing_in_it_is_positive(heatmaps):
    assert np.array_equal(empty(heatmaps), heatmaps.max(axis=(1, 2)) <= 0)
    assert empty(-heatmaps).all(), "zeros with a sign and negative values do not fire"
    assert not as_bytes(0 * heatmaps).any()


@given(SMALL_MAPS, st.integers(1, 9), st.integers(1, 9))
def test_an_enlarged_map_stays_between_its_values_and_turns_with_the_map(heatmaps, height, width):
    found = enlarged(heatmaps, height, width)
    assert found.shape == (len(heatmaps), height, width)
    assert (found.max(axis=(1, 2)) <= heatmaps.max(axis=(1, 2)) + 1e-12).all()
    assert (found.min(axis=(1, 2)) >= heatmaps.min(axis=(1, 2)) - 1e-12).all()
    assert np.allclose(enlarged(heatmaps[:, ::-1, ::-1], height, width), found[:, ::-1, ::-1])
    assert np.allclose(enlarged(np.swapaxes(heatmaps, 1, 2), width, height), np.swapaxes(found, 1, 2))
    assert np.allclose(enlarged(heatmaps, *heatmaps.shape[1:]), heatmaps)


@given(SEEDS, st.integers(0, 4))
def test_maps_of_sixteen_bits_are_added_up_in_single_precision(seed, crops):
    """Sums of activations leave the range of float16 (65 504)."""
    rng = np.random.default_rng(seed)
    maps = rng.choice([0, 1, 60_000, -60_000], (3, 4, 2, 2)).astype(np.float16)
    images, members = rng.integers(0, 3, crops), rng.random((crops, 4)) < 0.5
    found = group_heatmaps(maps, images, sparse.csr_array(members.astype(float)))
    directions = heatmaps_of(maps[images], members.astype(np.float16))
    expected = [np.maximum(maps[i][own].astype(float).sum(axis=0), 0) for i, own in zip(images, members, strict=True)]
    assert np.array_equal(found, np.array(expected).reshape(crops, 2, 2)) and np.array_equal(directions, found)


def test_crops_are_the_same_however_many_heatmaps_are_enlarged_together(monkeypatch):
    rng = np.random.default_rng(0)
    heatmaps = np.maximum(rng.normal(size=(11, 4, 5)), 0).astype(np.float32)
    fields, shape = np.tile([0, 0, 50, 40], (11, 1)), (np.full(11, 40), np.full(11, 50))
    rule = CropRule(True, 0.6, 0.1, 0.1)
    together = crop_boxes(heatmaps, fields, shape, rule)
    monkeypatch.setattr(heatmaps_module, "CROPS_AT_ONCE", 3)
    assert (crop_boxes(heatmaps, fields, shape, rule) == together).all()
    assert crop_boxes(heatmaps[:0], fields[:0], (shape[0][:0], shape[1][:0]), rule).shape == (0, 4)

"""A source of pictures that are slow to decode, and its rows in batches."""

import time

import numpy as np

from falcon_dvc.errors import UserError

COUNT = 11


class Pictures:
    """A source of pictures whose first byte is their row; it counts what is decoded, and is slow in turn."""

    def __init__(self, count=COUNT, bad=()):
        self.count, self.bad, self.loaded = count, bad, []

    def __len__(self):
        return self.count

    def load(self, row):
        self.loaded.append(row)
        time.sleep(0.002 * (row % 3))
        if row in self.bad:
            raise UserError(f"data.images: image {row} has gone")
        return np.full((2 + row % 3, 2, 3), row % 256, dtype=np.uint8)

    def in_storage_order(self, rows):
        return list(rows)[::-1]


def batches_of(size, count=COUNT):
    return [range(start, min(start + size, count)) for start in range(0, count, size)]

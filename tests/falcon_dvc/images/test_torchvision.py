"""Data sets as torchvision lays them out, made by hand: decoded by our own rules, named by path or number, never unpickled."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from falcon_dvc.errors import UserError
from falcon_dvc.images import decode, source
from falcon_dvc.images.listing import list_collection
from falcon_dvc.images.source import open_collection
from falcon_dvc.images.torchvision import ARRAYS, FILES, find_in_dataset
from tests.support.image_sources import mnist, save, save_idx
from tests.support.sample_images import BOMB, SAMPLES, coloured


def eurosat(root: Path, pictures: dict[str, bytes]) -> Path:
    """One class; the content of the files decides, not their suffix."""
    for name, content in pictures.items():
        save(root / "eurosat" / "2750" / "Forest" / f"{name}.jpg", content)
    return root


def test_an_array_gives_numbers_as_ids_in_their_order_and_names_of_classes(tmp_path):
    found = find_in_dataset(mnist(tmp_path), "MNIST", "test")
    table = list_collection(found, "fail").table
    assert table["image"].tolist() == [f"{number:02}" for number in range(12)]
    assert table["label"].tolist()[:2] + table["label"].tolist()[10:] == ["0 - zero", "1 - one"] * 2
    assert table[["width", "height"]].drop_duplicates().to_numpy().tolist() == [[4, 5]]
    loaded = open_collection(found, ["11", "03"]).load_many([0, 1])
    assert [picture[0, 0].tolist() for picture in loaded] == [[11] * 3, [3] * 3]


def test_files_are_decoded_by_our_own_rules(tmp_path):
    found = find_in_dataset(eurosat(tmp_path / "dataset", SAMPLES), "EuroSAT", "all")
    table = list_collection(found, "fail").table
    assert table["image"].tolist() == [f"eurosat/2750/Forest/{name}.jpg" for name in sorted(SAMPLES)]
    assert set(table["label"]) == {"Forest"}
    for name, content in SAMPLES.items():
        save(tmp_path / "folder" / f"{name}.jpg", content)
    expected = source.FolderImages(tmp_path / "folder", [f"{name}.jpg" for name in sorted(SAMPLES)])
    for mine, other in zip(
        open_collection(found, table["image"].tolist()).load_many(range(len(table))),
        expected.load_many(range(len(table))),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, other)


def test_bombs_are_refused_in_files_and_in_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 19)
    found = find_in_dataset(eurosat(tmp_path / "files", {"bomb": BOMB, "good": coloured(1)}), "EuroSAT", "all")
    assert list_collection(found, "skip").skipped == ["eurosat/2750/Forest/bomb.jpg: more than 19 pixels"]
    with pytest.raises(UserError, match=r"none of the 12 images in MNIST .*more than 19 pixels"):
        list_collection(find_in_dataset(mnist(tmp_path / "array"), "MNIST", "train"), "skip")


def test_lists_inside_a_data_set_cannot_lead_out_of_it(tmp_path):
    save(tmp_path / "secret.jpg", coloured(1))
    base = tmp_path / "root" / "fgvc-aircraft-2013b" / "data"
    save(base / "images" / "1.jpg", coloured(2))
    save(base / "variants.txt", b"707\n")
    lines = ["1 707", f"{tmp_path}/secret 707", "../../../../secret 707"]
    save(base / "images_variant_test.txt", "\n".join(lines).encode())
    listing = list_collection(find_in_dataset(tmp_path / "root", "FGVCAircraft", "test"), "skip")
    assert listing.table["image"].tolist() == ["fgvc-aircraft-2013b/data/images/1.jpg"]
    assert listing.table["label"].tolist() == ["707"]
    assert len(listing.skipped) == 2


def test_pets_and_traffic_signs_which_take_no_loader(tmp_path):
    pets = tmp_path / "oxford-iiit-pet"
    save(pets / "images" / "great_dane_1.jpg", coloured(1))
    save(pets / "annotations" / "test.txt", b"great_dane_1 1 2 1\n")
    table = list_collection(find_in_dataset(tmp_path, "OxfordIIITPet", "test"), "fail").table
    assert table[["image", "label"]].to_numpy().tolist() == [["oxford-iiit-pet/images/great_dane_1.jpg", "Great Dane"]]
    sign = tmp_path / "gtsrb" / "GTSRB" / "Training" / "00007" / "1.ppm"
    sign.parent.mkdir(parents=True)
    Image.new("RGB", (4, 3), "blue").save(sign)
    found = find_in_dataset(tmp_path, "GTSRB", "train")
    assert list_collection(found, "fail").table["label"].tolist() == ["0"]
    assert open_collection(found, found.ids).load(0)[0, 0].tolist() == [0, 0, 255]


def test_food_is_labelled_by_its_list(tmp_path):
    for name in ("pie/1", "soup/2"):
        save(tmp_path / "food-101" / "images" / f"{name}.jpg", coloured(1))
    lists = {"soup": ["soup/2"], "pie": ["pie/1"]}
    save(tmp_path / "food-101" / "meta" / "train.json", json.dumps(lists).encode())
    table = list_collection(find_in_dataset(tmp_path, "Food101", "train"), "fail").table
    assert table[["image", "label"]].to_numpy().tolist() == [
        ["food-101/images/pie/1.jpg", "pie"], ["food-101/images/soup/2.jpg", "soup"],
    ]  # fmt: skip


@pytest.fixture
def unchecked(monkeypatch):
    """Data sets whose files torchvision knows by checksum, which none of ours has."""
    for module in ("stl10", "svhn"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: Path(path).exists()
        )


def test_binary_and_matlab_arrays(tmp_path, unchecked):
    stl = tmp_path / "stl10_binary"
    for name in ("train_X.bin", "test_X.bin", "unlabeled_X.bin"):
        save(stl / name, bytes(2 * 3 * 96 * 96))
    for name in ("train_y.bin", "test_y.bin"):
        save(stl / name, bytes([1, 2]))
    save(stl / "class_names.txt", b"airplane\nbird\n")
    assert list_collection(find_in_dataset(tmp_path, "STL10", "test"), "fail").table["label"].tolist() == [
        "airplane", "bird",
    ]  # fmt: skip
    assert find_in_dataset(tmp_path, "STL10", "unlabeled").labels == ["", ""]
    houses = {"X": np.full((32, 32, 3, 2), 7, dtype=np.uint8), "y": np.array([[10], [3]], dtype=np.uint8)}
    savemat(tmp_path / "test_32x32.mat", houses)
    found = find_in_dataset(tmp_path, "SVHN", "test")
    assert found.labels == ["0", "3"]
    assert (open_collection(found, ["1"]).load(0) == 7).all()


def test_labels_of_another_number_are_refused(tmp_path):
    save_idx(mnist(tmp_path) / "MNIST" / "raw" / "t10k-labels-idx1-ubyte", np.zeros(11))
    with pytest.raises(UserError, match="12 images and 11 labels"):
        find_in_dataset(tmp_path, "MNIST", "test")


def test_an_array_of_the_wrong_shape_is_refused(tmp_path, unchecked):
    savemat(tmp_path / "test_32x32.mat", {"X": np.zeros((32, 32, 5, 2)), "y": np.array([[1], [2]])})
    with pytest.raises(UserError, match=r"none of the 2 images .*is no picture"):
        list_collection(find_in_dataset(tmp_path, "SVHN", "test"), "skip")
    savemat(tmp_path / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 1), dtype=np.uint8), "y": np.array([[1]])})
    with pytest.raises(UserError, match="does not hold SVHN as torchvision lays it out"):
        find_in_dataset(tmp_path, "SVHN", "test")


class Burglar:
    """What a pickle can do."""

    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


def test_pickles_are_refused_and_not_opened(tmp_path):
    save(tmp_path / "cifar-10-batches-py" / "test_batch", pickle.dumps(Burglar()))
    with pytest.raises(UserError, match="CIFAR10 is refused: its files are pickles"):
        find_in_dataset(tmp_path, "CIFAR10", "test")
    for name in ("training.pt", "test.pt"):
        save(tmp_path / "MNIST" / "processed" / name, pickle.dumps(Burglar()))
    with pytest.raises(UserError, match="does not hold MNIST"):
        find_in_dataset(tmp_path, "MNIST", "test")


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [
        ("MNISt", "test", "unknown; use one of .*MNIST"),
        ("__class__", "test", "unknown"),
        ("MNIST", "val", "no split 'val'; use one of train, test"),
        ("ImageFolder", "test", "data.source: images"),
    ],
)
def test_names_that_are_not_allowed(tmp_path, name, split, words):
    with pytest.raises(UserError, match=words):
        find_in_dataset(tmp_path, name, split)


@pytest.mark.parametrize("name", [*ARRAYS, *FILES])
def test_a_data_set_that_is_not_there_is_never_downloaded(tmp_path, name):
    split = next(iter((ARRAYS | FILES)[name]))
    with pytest.raises(
        UserError, match=rf"does not hold {name} as torchvision lays it out \([^\n]*\); fetch"
    ) as caught:
        find_in_dataset(tmp_path, name, split)
    assert "download" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_an_empty_split_is_refused(tmp_path):
    for name in ("images", "annotations"):
        (tmp_path / "oxford-iiit-pet" / name).mkdir(parents=True)
    save(tmp_path / "oxford-iiit-pet" / "annotations" / "test.txt", b"")
    with pytest.raises(UserError, match="no images in its split test"):
        find_in_dataset(tmp_path, "OxfordIIITPet", "test")

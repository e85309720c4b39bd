"""What all tests share: settings of the property tests, the order of the files, and fixtures."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
import vl_convert
from hypothesis import settings

from tests.support.dvc_projects import make_project
from tests.support.forked_commands import forking
from tests.support.forked_workers import pytest_addoption, pytest_runtestloop  # noqa: F401  (hooks)
from tests.support.made_once import made_once, shared_folder
from tests.support.remembered import list_timm_once, remembered, shared_texts
from tests.support.tiny_models import TINY_COCA

# The same examples on every machine, and no deadline that stops them on a noisy one.
settings.register_profile("project", deadline=None, derandomize=True, database=None, max_examples=25)
settings.load_profile("project")

# These files take longest: begun last, they would keep one worker busy while the others wait.
LONGEST = (
    "pipeline/test_ray.py",
    "pipeline/test_whole_run.py",
    "trials/test_load.py",
    "security/test_attack_corpus.py",
    "pipeline/test_own_data.py",
    "stages/test_report.py",
    "falcon_dvc/models/encoders/test_hooked.py",
    "falcon_dvc/synthetic/test_training.py",
    "falcon_dvc/report/test_site.py",
    "pipeline/test_switched_off.py",
)


@pytest.fixture(scope="session", autouse=True)
def plots_drawn_once(tmp_path_factory):
    """Draw each plot once: many tests make the report of the same artefacts. `__wrapped__` draws it again."""
    drawn = shared_folder(tmp_path_factory) / "drawn"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "vegalite_to_svg", shared_texts(vl_convert.vegalite_to_svg, drawn))
        yield


@pytest.fixture(scope="session", autouse=True)
def dvc_imported_once():
    """Fork for `python -m dvc`: each new Python would import it again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", forking(subprocess.run))
        yield


@pytest.fixture(scope="session", autouse=True)
def noise_drawn_once():
    """Draw the pictures that set the statistics of random weights once in a worker: they are the same for every network."""
    from falcon_dvc.models.encoders import networks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "noise_pictures", remembered(networks.noise_pictures))
        yield


@pytest.fixture(scope="session", autouse=True)
def tokenizer_built_once():
    """Read open_clip's byte pairs once in a worker: each load of an image-text encoder would sort 49,000 of them."""
    from falcon_dvc.models.scenes import small_clip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_clip, "build_tokenizer", remembered(small_clip.build_tokenizer))
        yield


@pytest.fixture(scope="session", autouse=True)
def networks_listed_once():
    """Sort timm's list of networks once in a worker: every entry of `encoders` is looked up in it."""
    with pytest.MonkeyPatch.context() as patch:
        if "timm" in sys.modules:  # tests that import none of it need not wait for it
            list_timm_once(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Train with one thread: a second one would wait for a core that runs another worker, and torch would keep it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("falcon_dvc.synthetic.training.THREADS", 1)
        yield


def pytest_collection():
    """Look for no garbage while the tests are collected: next to all that is made then stays until the end."""
    gc.disable()


def pytest_collection_finish():
    """Look for garbage among what the tests make, and no longer among the modules and the tests themselves."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    """Let the end of the process find everything again: what it leaves is reported as a leak by libraries in C++."""
    gc.unfreeze()


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest."""
    place = {str(Path(__file__).parent / name): number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(str(item.path), len(LONGEST)))


@pytest.fixture(scope="session")
def dvc_project(tmp_path_factory):
    """A pipeline whose results are committed, made once for all workers; copy or clone it before a change."""
    return made_once(tmp_path_factory, "dvc_project", make_project)


@pytest.fixture(scope="session")
def coca(tmp_path_factory):
    """A tiny random CoCa whose texts depend on the picture; give its file of weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("coca")
    (folder / "coca_tiny.json").write_text(json.dumps(TINY_COCA))
    open_clip.add_model_config(folder / "coca_tiny.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("coca_tiny")
        for name, weights in model.named_parameters():
            if weights.ndim > 1:
                # As initialised, every picture would get the same text.
                torch.nn.init.normal_(weights, std=1.0 if "cross_attn" in name or "visual" in name else 0.5)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "coca.safetensors")
    return str(folder / "coca.safetensors")

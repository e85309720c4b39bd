"""The soak finds what a run leaves behind in the project and in the cache, and what clearing up takes away; on a project of two stages."""

import shutil

import pytest

from tests.support.dvc_projects import dvc
from trials import soak


@pytest.fixture(scope="module")
def project(tmp_path_factory, dvc_project):
    """After runs with two params."""
    folder = shutil.copytree(dvc_project, tmp_path_factory.mktemp("soak") / "project", symlinks=True)
    (folder / "tmp").mkdir()
    first = soak.objects_of(folder / "dvc.lock", folder)
    (folder / "params.yaml").write_text("factor: 3\n")
    dvc(folder, "repro", "-q")
    return folder, first


def test_nothing_is_left_behind_but_what_no_stage_declares(project):
    folder, _ = project
    assert soak.left_behind(folder) == []
    strays = ["data/../tmp/abc.npy", "reports/metrics/.double.json.x1", "reports/strange.txt", ".dvc/tmp/half"]
    for name in strays:
        (folder / name).write_text("")
    found = soak.left_behind(folder)
    assert found == [".dvc/tmp/half", "reports/metrics/.double.json.x1", "reports/strange.txt", "tmp/abc.npy"]
    for name in strays:
        (folder / name).unlink()


def test_every_object_of_the_cache_is_an_outputs_and_gc_leaves_what_the_workspace_needs(project):
    folder, first = project
    known = first | soak.objects_of(folder / "dvc.lock", folder)
    cache = soak._cache(folder, known)
    assert cache["unexplained_objects"] == 0
    assert soak._cache(folder, first)["unexplained_objects"] > 0
    stray = folder / ".dvc/cache/files/md5/00/0000000000000000000000000000000"[:-1]
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("stray")
    assert soak._cache(folder, known)["unexplained_objects"] == 1
    cleared = soak.cleared(folder)
    assert cleared["not_needed_after"] == cleared["stale_after"] == 0
    assert not stray.exists()


def test_growth_is_complained_about():
    clean = {"run": 1, "left_behind": [], "unexplained_objects": 0}
    found = {
        "runs": [clean],
        "cleared": {"not_needed_after": 0, "stale_after": 0},
        "memory": {"growth_mb": soak.GROWTH_MB},
    }
    assert soak.grown(found) == []
    grown = {
        "runs": [clean | {"left_behind": ["tmp/x"]}, clean | {"unexplained_objects": 2}],
        "cleared": {"not_needed_after": 1, "stale_after": 0},
        "memory": {"growth_mb": soak.GROWTH_MB + 1},
    }
    assert len(soak.grown(grown)) == 4


def test_changes_are_params_that_no_training_stage_reads():
    assert len(soak.CHANGES) == 20
    assert not {section for change in soak.CHANGES for section in change} & {"render_scenes", "train_clip", "train"}

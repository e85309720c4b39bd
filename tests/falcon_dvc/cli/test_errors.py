"""Errors are one line; tracebacks come by --debug only."""

import sys

import pytest

from tests.support.command_lines import assert_one_line, falcon, own_images


@pytest.fixture
def folder(tmp_path):
    return own_images(tmp_path)


@pytest.mark.parametrize("arguments", [("--debug", "explain", "nosuch"), ("explain", "nosuch", "--debug")])
def test_tracebacks_by_debug_only(folder, arguments):
    assert "Traceback" in falcon(folder, *arguments).stderr
    plain = falcon(folder, *(argument for argument in arguments if argument != "--debug"))
    assert_one_line(plain, "nosuch", "ENCODER:FEATURE")


def test_a_defect_is_one_line_too(folder, monkeypatch, capsys):
    import typer

    from falcon_dvc.cli.errors import reporting_errors

    broken = typer.Typer()

    @broken.command()
    def command():
        raise RuntimeError("what\x1b[31m\nnobody foresaw")

    monkeypatch.setattr(sys, "argv", ["stages"])
    with pytest.raises(SystemExit) as stopped:
        reporting_errors(broken, "stages")
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 1 and len(lines) == 1
    assert "RuntimeError: what\\x1b[31m nobody foresaw" in lines[0] and "--debug" in lines[0]

"""The tiny project of the trials holds all code that its pipeline depends on."""

from trials import tiny


def test_a_tiny_project_holds_the_code_of_every_stage(tmp_path):
    tiny.make_project(tmp_path)
    deps = {dep for stage in tiny.definitions().values() for dep in stage["deps"]}
    code = {dep for dep in deps if dep.startswith(("falcon_dvc", "stages"))}
    assert len(code) > 4
    assert (tmp_path / "data/probes").is_dir(), "as in a clone"
    assert not [dep for dep in sorted(code) if not (tmp_path / dep).exists()]

"""Every package is pinned: an exact version, the hashes of its files, no other place to take it from."""

import re

import pytest

from tests.support.paths import ROOT

FILES = sorted(ROOT.glob("requirements*.txt"))
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[\w.!+]+( ; [^;]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def faults(text: str) -> list[str]:
    """Lines that pin nothing."""
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    found = []
    for requirement in re.sub(r"\s*\\\n\s*", "\0", lines).splitlines():
        name, *hashes = requirement.split("\0")
        if not (NAME.fullmatch(name) and hashes and all(HASH.fullmatch(some) for some in hashes)):
            found.append(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_requirement_has_an_exact_version_and_hashes(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("==") > 0 and faults(text) == []
    assert "--index-url" not in text and "://" not in text


@pytest.mark.parametrize(
    "planted",
    ["six", "six>=1.0", "six==1.*", "six==1.0", f"six==1.0 \\\n    --hash=md5:{'0' * 32}", "git+https://example.com/six", "-e .",
     "--extra-index-url x", f"six @ file:///a \\\n    --hash=sha256:{'0' * 64}"],
)  # fmt: skip
def test_a_requirement_that_is_not_pinned_is_found(planted):
    assert faults(f"a==1 \\\n    --hash=sha256:{'0' * 64}\n{planted}\n")


def test_the_makefile_installs_by_hash_only():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in text.splitlines() if "pip install" in line and not line.startswith("#")]
    # uv itself by version: what installs by hash has to come from somewhere. The project itself brings nothing along.
    safe = ("--require-hashes", "uv==$(UV_VERSION)", "--no-deps --no-build-isolation -e .")
    assert len(installs) == 5 and all(any(words in line for words in safe) for line in installs)


def test_the_audit_is_no_dependency_of_the_project():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "pip-audit" not in text and "pip-audit==" in (ROOT / "requirements-audit.txt").read_text(encoding="utf-8")

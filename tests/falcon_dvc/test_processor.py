"""What the processor's description says of its instructions."""

import pytest

from falcon_dvc import processor


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Describe a processor by these words; None: there is no description."""

    def describe(words):
        monkeypatch.setattr(processor, "DESCRIPTION", tmp_path / "cpuinfo")
        if words is not None:
            (tmp_path / "cpuinfo").write_text(words)
        processor.words.cache_clear()

    yield describe
    processor.words.cache_clear()


@pytest.mark.parametrize(
    ("words", "bfloat16", "amd"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx512f avx512_bf16 sse\n", True, True),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fma avx512f amx_bf16\n", True, False),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx2 avx512_bf1\n", False, False),
        (None, False, False),
    ],
)
def test_instructions_are_found_in_the_description(words, bfloat16, amd, described):
    described(words)
    assert processor.multiplies_bfloat16() is bfloat16
    assert processor.amd_with_avx512() is amd

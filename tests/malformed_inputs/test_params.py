"""Bad params.yaml: each stops before any work, in one line that says where it is wrong and what to write."""

import os
import re

from falcon_dvc.params.load import load_params
from tests.support.outcomes import Read, Refused, Row, assert_refused, each
from tests.support.paths import ROOT

SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")


def replaced(old: str, new: str) -> bytes:
    """The shipped params with one line changed; `old` must be there once."""
    assert SHIPPED.count(old) == 1, old
    return SHIPPED.replace(old, new).encode()


def seed(value: str) -> bytes:
    """The shipped params with another value of the top-level seed."""
    return re.sub(r"(?m)^seed: 0", f"seed: {value}", SHIPPED, count=1).encode()


def encoder(name: str) -> bytes:
    """The shipped params with one encoder more."""
    return replaced("encoders:                       #", f"encoders:\n  {name}: {{kind: scenes, checkpoint: x}} #")


def laughs(levels: int = 40) -> bytes:
    """Nine references to nine references to ...: a list of 9 ** levels words in a few lines."""
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([*lines, SHIPPED]).encode()


ROWS = [
    # What was read may be no mapping of sections at all.
    Row("an empty file", b"", Refused("params.yaml: must be a mapping of sections")),
    Row("only comments", b"# nothing\n", Refused("must be a mapping of sections")),
    Row("a list at the top", b"- seed: 0\n", Refused("must be a mapping of sections")),
    Row("a word", b"seed", Refused("must be a mapping of sections")),
    Row("two documents", b"seed: 0\n---\nseed: 1\n", Refused("not valid YAML: .*document")),
    Row("no file", None, Refused("params.yaml: not found; run from the project's root")),
    Row("a folder", "folder", Refused("params.yaml: not readable: Is a directory")),
    Row("UTF-16", SHIPPED.encode("utf-16"), Refused("not valid YAML: .*decode")),
    Row("Latin-1", SHIPPED.encode() + "\n# caf\xe9".encode("latin-1"), Refused("not valid YAML: .*decode")),
    Row("a NUL", SHIPPED.encode() + b"\nx: \0", Refused("not valid YAML: .*special characters")),
    Row("an image", b"\x89PNG\r\n\x1a\n" + bytes(100), Refused("not valid YAML")),
    Row("a byte order mark", b"\xef\xbb\xbf" + SHIPPED.encode(), Read({"seed": 0})),
    Row("line ends of Windows", SHIPPED.replace("\n", "\r\n").encode(), Read({"seed": 0})),
    # YAML that is broken, or that does more than hold values.
    Row("a tab as indentation", replaced("  source: scenes  ", "\tsource: scenes  "), Refused("not valid YAML: .*tab|not valid YAML: .*token")),
    Row("a bracket left open", SHIPPED.encode() + b"\nx: [1, 2", Refused("not valid YAML")),
    Row("a key twice", SHIPPED.encode() + b"\nseed: 1\n", Refused('not valid YAML: .*duplicate key "seed"')),
    Row("a section twice", SHIPPED.encode() + b"\nreport: {high: 1, low: 1, thumbnail: 80}\n", Refused('duplicate key "report"')),
    Row("a tag that runs code", seed("!!python/object/apply:os.system ['touch ran']"), Refused("not valid YAML: .*constructor")),
    Row("a tag that makes an object", seed("!!python/name:os.system"), Refused("not valid YAML: .*constructor")),
    Row("an unknown tag", seed("!secret 1"), Refused("not valid YAML: .*constructor")),
    Row("an alias of nothing", seed("*nothing"), Refused("not valid YAML: .*undefined alias")),
    Row("a billion laughs", laughs(), Refused("a0: unknown key")),
    Row("laughs where words belong", laughs().replace(b"discard: [photo", b"discard: [*a39, photo"), Refused("a0: unknown key")),
    Row("an alias of itself", seed("&a [*a]"), Refused("seed: .*integer")),
    Row("nested too deep", seed("[" * 500 + "]" * 500), Refused("params.yaml: not valid YAML: .*nested")),
    Row("nested too deep, in blocks", "\n".join(" " * n + "a:" for n in range(3000)).encode(), Refused("not valid YAML: .*nested")),
    Row("a date that is none", seed("2020-13-45"), Refused("params.yaml: not valid YAML: .*month")),
    Row("a date", seed("2020-10-25"), Refused("seed: should be a valid integer")),
    Row("a number that its tag denies", seed("!!int abc"), Refused("not valid YAML: ")),
    Row("bytes that are no base64", seed("!!binary '*'"), Refused("not valid YAML|seed: should be a valid integer")),
    Row("a list as a key", SHIPPED.encode() + b"\n[a, b]: 1\n", Refused(r"params.yaml: \('a', 'b'\): Keys should be strings")),
    Row("a number as a key", SHIPPED.encode() + b"\n3: 1\n", Refused("params.yaml: 3: Keys should be strings")),
    Row("nothing as a key", SHIPPED.encode() + b"\nnull: 1\n", Refused("params.yaml: None: Keys should be strings")),
    Row("a number of 5000 digits", seed("9" * 5000), Refused("params.yaml: .*seed|not valid YAML: .*digits")),
    # Values.
    Row("a typo in a section", replaced("transfer:\n", "trasnfer:\n"), Refused("trasnfer: unknown key; did you mean 'transfer'")),
    Row("a typo in a key", replaced("  sigma: 5.0  ", "  sigmas: 5.0  "), Refused("find_groups.sigmas: unknown key; did you mean 'sigma'")),
    Row("a missing section", re.sub(r"(?s)\nreport:.*?\n\n", "\n\n", SHIPPED).encode(), Refused("report: missing; add it")),
    Row("an empty section", re.sub(r"(?s)\nreport:.*?\n\n", "\nreport:\n\n", SHIPPED).encode(), Refused("report: should be .*mapping|report: should be a valid dictionary")),
    Row("a missing key", replaced("  sigma: 5.0  ", "  # sigma: 5.0  "), Refused("find_groups.sigma: missing; add it")),
    Row("a negative count", replaced("  max_images: 160 ", "  max_images: -160 "), Refused("find_groups.max_images: should be greater than or equal to 2, got -160")),
    Row("a count of zero", replaced("  top: 8 ", "  top: 0 "), Refused("concepts.top: should be greater than or equal to 1, got 0")),
    Row("a count with a fraction", replaced("  top: 8 ", "  top: 8.5 "), Refused("concepts.top: should be a valid integer, got 8.5")),
    Row("a count as text", replaced("  top: 8 ", "  top: '8' "), Refused("concepts.top: should be a valid integer, got '8'")),
    Row("a truth value as a count", seed("true"), Refused("seed: should be a valid integer, got True")),
    Row("nothing as a count", seed(""), Refused("seed: should be a valid integer, got None")),
    Row("NaN", replaced("  sigma: 5.0  ", "  sigma: .nan  "), Refused("find_groups.sigma: should be a finite number, got nan")),
    Row("an infinite number", replaced("  temperature: 100.0 ", "  temperature: .inf "), Refused("concepts.temperature: should be a finite number, got inf")),
    Row("minus infinity", replaced("  gamma: 0.6 ", "  gamma: -.inf "), Refused("concepts.gamma: should be a finite number, got -inf")),
    Row("a share above 1", replaced("  heldout: 0.5 ", "  heldout: 1.5 "), Refused("data.heldout: should be less than 1, got 1.5")),
    Row("a share in per cent", replaced("  heldout: 0.5 ", "  heldout: 50% "), Refused("data.heldout: should be a valid number, got '50%'")),
    Row("a comma for a point", replaced("  heldout: 0.5 ", "  heldout: 0,5 "), Refused("data.heldout: should be a valid number, got")),
    Row("yes for true", replaced("  crop: true ", "  crop: yes "), Refused("mine_crops.crop: should be a valid boolean, got 'yes'")),
    Row("1 for true", replaced("  crop: true ", "  crop: 1 "), Refused("mine_crops.crop: should be a valid boolean, got 1")),
    Row("off as YAML 1.2 reads it", replaced("  contrast: combined ", "  contrast: off "), Read({"concepts.contrast": "off"})),
    Row("false for off", replaced("  contrast: combined ", "  contrast: false "), Read({"concepts.contrast": "off"})),
    Row("no as a source", replaced("  source: scenes  ", "  source: no  "), Refused("data.source: should be 'scenes', .*got 'no'")),
    Row("a number in other notation", replaced("  sigma: 5.0  ", "  sigma: 5e0  "), Read({"find_groups.sigma": 5.0})),
    Row("a list for a number", replaced("  sigma: 5.0  ", "  sigma: [5.0]  "), Refused("find_groups.sigma: should be a valid number")),
    Row("limits the wrong way round", replaced("  diameters: [16, 20] ", "  diameters: [20, 16] "), Refused(r"render_scenes: diameters must be \[smallest, largest\]")),
    Row("words of the corpus ranked by Eq. 1", replaced("  ranking: correlation ", "  ranking: score       ").replace(b"words_from: captions", b"words_from: corpus"), Refused("concepts: words_from: corpus needs ranking: correlation")),
    Row("an encoder of no kind", encoder("a").replace(b"a: {kind: scenes, ", b"a: {"), Refused("encoders.a: .*kind")),
    Row("an encoder of unknown kind", encoder("a").replace(b"a: {kind: scenes, ", b"a: {kind: magic, "), Refused("encoders.a: .*'magic' .*expected tags: 'scenes'")),
    Row("a name with a slash", encoder("a/b"), Refused("encoders.a/b: .*should match pattern")),
    Row("a name that leads up", encoder("'..'"), Refused(r"encoders.\.\.: .*should match pattern")),
    Row("a name with a line end", encoder('"a\\n"'), Refused("encoders.a: .*should match pattern")),
    Row("a name that begins with a dash", encoder("-rf"), Refused("encoders.-rf: .*should match pattern")),
    Row("a name of the shell's", encoder("'$(touch ran)'"), Refused(r"encoders.\$\(touch ran\): .*should match pattern")),
    Row("a name that is no text", encoder("1"), Refused("encoders.1: should be a valid string")),
    Row("a name longer than a file's", encoder("a" * 300), Refused("encoders.a+: .*should have at most 64 characters")),
    Row("no encoder", re.sub(r"(?s)\nencoders: .*?\n\n", "\nencoders: {}\n\n", SHIPPED).encode(), Refused("encoders: .*at least 1")),
    Row("a transfer to nobody", replaced("explained: supervised, unseen: simclr}", "explained: supervised, unseen: nobody}"), Refused("transfers.supervised_to_simclr names the encoder 'nobody'; known are")),
    Row("a path with a NUL", replaced("images: data/scenes  ", 'images: "data\\0"  '), Refused("data.images: .*NUL")),
    Row("an empty path", replaced("images: data/scenes  ", 'images: ""  '), Refused("data.images: .*should have at least 1 character")),
    Row("a seed no generator takes", seed("1" + "0" * 30), Refused(r"seed: should be less than 2\^63")),
]  # fmt: skip


@each(ROWS)
def test_params(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if row.make == "folder":
        os.mkdir("params.yaml")
    elif row.make is not None:
        (tmp_path / "params.yaml").write_bytes(row.make)
    if isinstance(row.expected, Refused):
        assert_refused(row.expected.words, load_params)
    else:
        params = load_params()
        for place, value in row.expected.value.items():
            assert _at(params, place) == value
    assert not (tmp_path / "ran").exists()


def _at(params, place):
    for name in place.split("."):
        params = getattr(params, name)
    return params

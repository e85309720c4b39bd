"""Tell which files are pictures, by the suffix of a name or by the first bytes of a file."""

import mimetypes
import re
from functools import cache

from PIL import Image

# Only these decoders read a file, whatever its name. Of Pillow's others, EPS and WMF start programs, TGA accepts almost any
# bytes, QOI and FITS are slow, and the rest are rare or hardly maintained.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "JPEG2000", "AVIF", "PPM")
# Suffixes of JPEG files that Pillow does not register (phones, browsers); a .mpo begins with a JPEG.
MORE_SUFFIXES = frozenset({".jif", ".jfi", ".pjp", ".pjpeg", ".mpo"})
NO_PICTURES = (
    "HDF5",
    "MPEG",
    "GRIB",
    "BUFR",
    "PDF",
    "PALM",
)  # formats that Pillow registers for data, films, documents
UNREAD = {
    "HEIF": ".heic .heif .heics .heifs .hif",
    "JPEG XL": ".jxl",
    "JPEG XR": ".jxr .wdp .hdp",
    "SVG": ".svg .svgz",
    "camera raw": ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 .srw .x3f",
    "OpenEXR": ".exr",
    "Radiance HDR": ".hdr",
    "DICOM": ".dcm .dicom",
    "NIfTI": ".nii .nii.gz",
    "MetaImage": ".mha .mhd",
    "a whole slide": ".svs .ndpi .mrxs .scn",
    "Photoshop": ".psb",
    "GIMP": ".xcf",
}
# Archives and how to unpack them.
PACKED = {
    "gzip -d": ".tar.gz .tgz .taz .tar.z",
    "bzip2 -d": ".tar.bz2 .tbz .tbz2 .tb2",
    "xz -d": ".tar.xz .txz .tar.lzma",
    "zstd -d": ".tar.zst .tar.zstd .tzst",
    "lz4 -d": ".tar.lz4",
    "unzip": ".zip",
    "7z x": ".7z .rar",
}
START = 132  # bytes at the beginning of a file that tell its kind; the mark of DICOM ends there
# Kinds of no use as pictures, by the first bytes: the kind, and what to do.
SAVE = "save as JPEG or PNG"
SIGNATURES = (
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", f"HEIF; {SAVE}"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"JPEG XL; {SAVE}"),
    (rb"8BPS", f"Photoshop; {SAVE}"),
    (rb"\x76\x2f\x31\x01", f"OpenEXR; {SAVE}"),
    (
        rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
        "a TIFF that is damaged or has unusual pixels (8 or 16 bits, and floats of 32, are read)",
    ),
    (rb".{128}DICM", f"DICOM; {SAVE}"),
    (rb"\s*(<\?xml[^>]*>\s*)?<svg", f"SVG; {SAVE}"),
)
COMPRESSIONS = (
    (rb"\x1f\x8b", "gzip -d"),
    (rb"BZh", "bzip2 -d"),
    (rb"\xfd7zXZ\0", "xz -d"),
    (rb"\x28\xb5\x2f\xfd", "zstd -d"),
    (rb"\x04\x22\x4d\x18", "lz4 -d"),
    (rb"PK\x03\x04", "unzip"),
    (rb"7z\xbc\xaf|Rar!", "7z x"),
)


@cache
def readable_suffixes() -> frozenset[str]:
    """Return the suffixes of the pictures that are read: those that Pillow registers for `FORMATS`, and `MORE_SUFFIXES`."""
    registered = Image.registered_extensions()
    return MORE_SUFFIXES.union(suffix for suffix, kind in registered.items() if kind in FORMATS)


@cache
def _unread_suffixes() -> dict[str, str]:
    """Return the kind of each suffix of pictures that are not read."""
    registered = Image.registered_extensions()
    rest = {suffix: kind for suffix, kind in registered.items() if kind not in (*FORMATS, *NO_PICTURES)}
    own = {suffix: kind for kind, suffixes in UNREAD.items() for suffix in suffixes.split()}
    return {suffix: kind for suffix, kind in (rest | own).items() if suffix not in readable_suffixes()}


def suffix_of(name: str) -> str:
    """Return the suffix in small letters; "" if there is none, or a number as in ``22.05``."""
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")  # as pathlib, in a tenth of its time
    return f".{suffix.lower()}" if stem.strip(".") and suffix.strip("0123456789") else ""


def unread_kind(name: str) -> str | None:
    """Return the kind of picture that a name promises if this kind is not read, else None."""
    return _by_suffix(name, _unread_suffixes())


def unpacking(name: str) -> str | None:
    """Return the command that unpacks an archive, by its name; None for other names."""
    return _by_suffix(name, {suffix: command for command, ends in PACKED.items() for suffix in ends.split()})


def _by_suffix(name: str, table: dict[str, str]) -> str | None:
    """Look up the last two suffixes, then the last."""
    last = suffix_of(name)
    return table.get(suffix_of(name[: len(name) - len(last)]) + last) or table.get(last)


def compression(start: bytes) -> str | None:
    """Return the command that unpacks a compressed file, by its first bytes; None for other files."""
    return _by_bytes(start, COMPRESSIONS)


def other_kind(start: bytes) -> str | None:
    """Return the kind of a file that no decoder reads, by its first `START` bytes, and what to do; None if unknown."""
    return _by_bytes(start, SIGNATURES)


def _by_bytes(start: bytes, table: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((kind for pattern, kind in table if re.match(pattern, start, re.DOTALL)), None)


def is_picture(start: bytes) -> bool:
    """Return whether the first `START` bytes are those of a picture that is read. A text that begins like one is none."""
    Image.init()
    text = start.isascii() and not re.search(rb"[\0-\x08\x0e-\x1f]", start)
    marked = (kind for kind in FORMATS if kind not in ("DIB", "PPM"))  # the marks of these two occur in other files
    accepting = (accept for kind in marked if (accept := Image.OPEN[kind][1]))
    return not text and any(accept(start) is True for accept in accepting)


def may_be_picture(name: str) -> bool:
    """Return whether the first bytes must be read to tell if a file with an unknown suffix is a picture."""
    kind = _types().guess_type(name)[0]
    return kind is None or kind.startswith("image/")


@cache
def _types() -> mimetypes.MimeTypes:
    """Return the types that Python knows itself; those of the machine would differ between machines."""
    return mimetypes.MimeTypes()

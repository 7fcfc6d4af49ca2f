"""Pictures of portals: what is sent is recognised by its content, measured before it is decoded, and drawn anew.

Nothing of a file is kept but what it shows: no name, no comments, no places, no profiles, no further frames.
Pure, and slow: call it in a thread.
"""

import hashlib
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from ispgraph.domain.models.portals import AssetKind
from ispgraph.domain.values import Unfit

MEGABYTE = 1024 * 1024
PIXELS = 25_000_000
"""So many a picture may have; in memory it takes four bytes for each."""
SIDE = 10_000
CONTENT_TYPE = "image/webp"
# Of a Windows icon, which holds several pictures and is decoded as a whole.
_ICON_SIDE = 1024
_ICON_PICTURES = 64

_BROKEN = "This picture is broken: it cannot be read to its end."


@dataclass(frozen=True, slots=True)
class Form:
    """How pictures of a kind come in, and how they are kept."""

    largest_bytes: int
    width: int
    height: int
    quality: int
    formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "GIF")


FORMS: Mapping[AssetKind, Form] = {
    AssetKind.LOGO: Form(5 * MEGABYTE, 300, 150, 85),
    AssetKind.BACKGROUND: Form(10 * MEGABYTE, 1920, 1080, 90),
    AssetKind.ICON: Form(2 * MEGABYTE, 64, 64, 90, ("PNG", "JPEG", "WEBP", "GIF", "ICO")),
}
"""A logo is made to fit, whole and never enlarged; a background covers its place, what sticks out is cut off on both
sides; an icon stands whole in the middle of its square."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is kept, a WebP file."""

    body: bytes
    width: int
    height: int

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


def drawn(kind: AssetKind, sent: bytes) -> Picture:
    """What a file shows, as pictures of this kind are kept. Raises Unfit, with words for a person."""
    form = FORMS[kind]
    if not sent:
        raise Unfit("This file is empty.")
    if len(sent) > form.largest_bytes:
        raise Unfit(f"This file is too large: it may have at most {form.largest_bytes // MEGABYTE} MB.")
    try:
        _measure_ahead(sent)
        with Image.open(io.BytesIO(sent), formats=form.formats) as image:
            _check(*image.size)
            return _as_kept(kind, form, image)
    except UnidentifiedImageError as error:
        raise Unfit(f"This is no picture of these kinds: {', '.join(form.formats)}.") from error
    except Unfit:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unfit(_too_large()) from error
    # Which of these a broken file ends in depends on where it is broken.
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error, OverflowError) as error:
        raise Unfit(_BROKEN) from error


def _as_kept(kind: AssetKind, form: Form, image: Image.Image) -> Picture:
    if image.format in ("JPEG", "MPO"):
        # A photo is decoded at the smallest scale that will do.
        image.draft("RGB", (form.width * 2, form.height * 2))
    image.load()
    _check(*image.size)
    flat = ImageOps.exif_transpose(image)
    shown = flat.convert("RGBA" if flat.has_transparency_data else "RGB")
    size = (form.width, form.height)
    if kind is AssetKind.LOGO:
        shown.thumbnail(size, Image.Resampling.LANCZOS)
    elif kind is AssetKind.BACKGROUND:
        shown = ImageOps.fit(shown, size, Image.Resampling.LANCZOS)
    else:
        shown = ImageOps.contain(shown.convert("RGBA"), size, Image.Resampling.LANCZOS)
        square = Image.new("RGBA", size)
        square.paste(shown, ((form.width - shown.width) // 2, (form.height - shown.height) // 2))
        shown = square
    # Pillow would write on what the file told about itself.
    shown.info.clear()
    out = io.BytesIO()
    shown.save(out, "WEBP", quality=form.quality, method=4)
    return Picture(out.getvalue(), shown.width, shown.height)


def _measure_ahead(sent: bytes) -> None:
    """Measure what is decoded, or has room made for it, as soon as it is opened. Raises Unfit."""
    if sent[:4] == b"RIFF" and sent[8:12] == b"WEBP":
        _check(*_webp_size(sent))
    elif sent[:4] == b"\0\0\1\0":
        _measure_icon(sent)


def _webp_size(sent: bytes) -> tuple[int, int]:
    chunk, data = sent[12:16], sent[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    raise Unfit(_BROKEN)


def _measure_icon(sent: bytes) -> None:
    (count,) = struct.unpack_from("<H", sent, 4)
    if not 0 < count <= _ICON_PICTURES:
        raise Unfit(_BROKEN)
    for place in range(count):
        _, start = struct.unpack_from("<II", sent, 6 + 16 * place + 8)
        if sent[start : start + 8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", sent, start + 16)
        else:
            # A bitmap of twice the height: the picture, and below it what of it is seen.
            width, height = struct.unpack_from("<ii", sent, start + 4)
            height //= 2
        if not (0 < abs(width) <= _ICON_SIDE and 0 < abs(height) <= _ICON_SIDE):
            raise Unfit(f"A picture in an icon has at most {_ICON_SIDE} by {_ICON_SIDE} pixels.")


def _check(width: int, height: int) -> None:
    if width > SIDE or height > SIDE or width * height > PIXELS:
        raise Unfit(_too_large())
    if width < 1 or height < 1:
        raise Unfit(_BROKEN)


def _too_large() -> str:
    return f"This picture has too many pixels: at most {PIXELS // 10**6} million, and {SIDE} to a side."

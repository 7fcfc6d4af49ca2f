"""Drawings as pictures: SVG, and PNG at twice the size for sharp screens. Nothing of the system is needed, no fonts."""

import io
from functools import cache
from xml.sax.saxutils import escape, quoteattr

from PIL import Image, ImageDraw, ImageFont

from ispgraph.domain.charts import HEIGHT, INK, PAPER, WIDTH, Box, Drawing, Label

_SCALE = 2
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def svg(drawing: Drawing) -> bytes:
    """As SVG 1.1, with a title and a description for those who are read to."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-labelledby="title desc" font-family="sans-serif">',
        f'<title id="title">{_text(drawing.title)}</title>',
        f'<desc id="desc">{_text(drawing.description)}</desc>',
    ]
    for shape in drawing.shapes:
        if isinstance(shape, Box):
            size = f'width="{shape.width:.2f}" height="{shape.height:.2f}"'
            lines.append(f'<rect x="{shape.x:.2f}" y="{shape.y:.2f}" {size} fill={quoteattr(shape.color)}/>')
        else:
            lines.append(
                f'<text x="{shape.x:.2f}" y="{shape.y:.2f}" font-size="{shape.size}" fill="{INK}" '
                f'text-anchor="{shape.anchor}">{_text(shape.text)}</text>'
            )
    return "\n".join([*lines, "</svg>", ""]).encode()


def png(drawing: Drawing) -> bytes:
    """As PNG. Takes some hundredths of a second: call it in a thread."""
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        if isinstance(shape, Label):
            place = (shape.x * _SCALE, shape.y * _SCALE)
            pen.text(place, shape.text, fill=INK, font=_font(shape.size), anchor=_ANCHORS[shape.anchor])
        elif shape.height > 0:
            left, top = round(shape.x * _SCALE), round(shape.y * _SCALE)
            right, bottom = round((shape.x + shape.width) * _SCALE), round((shape.y + shape.height) * _SCALE)
            # The last column and row are part of what Pillow fills.
            pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=shape.color)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)


def _text(text: str) -> str:
    # XML has no place for most control characters, not even escaped.
    return escape("".join(each if each.isprintable() else "\ufffd" for each in text))

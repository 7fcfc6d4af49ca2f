"""The default alphabet of short messages, seven bits a character (3GPP TS 23.038 section 6.2.1)."""

# In the order of their numbers; the one at 27 is what introduces the second table.
_FIRST = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE = 0x1B
_NUMBERS = {character: bytes([number]) for number, character in enumerate(_FIRST) if number != _ESCAPE}
_SECOND = {"\f": 10, "^": 20, "{": 40, "}": 41, "\\": 47, "[": 60, "~": 61, "]": 62, "|": 64, "€": 101}
_NUMBERS |= {character: bytes([_ESCAPE, number]) for character, number in _SECOND.items()}


def units(text: str) -> list[bytes] | None:
    """Each character as its octet, or its two; None when one of them is not in the alphabet."""
    found = [_NUMBERS.get(character, b"") for character in text]
    return found if all(found) else None

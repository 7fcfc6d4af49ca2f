"""Names of nobody: made of syllables, so that a search for some of them finds a known share of the customers."""

SYLLABLES = [
    *("ban", "dor", "kel", "mir", "tos", "val", "rin", "zak", "lum", "pey"),
    *("fas", "gor", "hud", "jen", "nol", "qua", "ros", "shi", "tir", "wex"),
]
FIRST = [SYLLABLES[n % 20] + SYLLABLES[(n * 7 + 3 + n // 20) % 20] for n in range(40)]

_PAIRS = [SYLLABLES[n] + SYLLABLES[(n * 11 + 6) % 20] for n in range(20)]

COMMON = FIRST[:20]
"""Search terms that find about one customer in 40, by the first name."""

SELECTIVE = [pair for pair in _PAIRS if pair not in FIRST]
"""Search terms that find about one customer in 300: two syllables that follow each other in surnames only."""

"""The page on sizing says what its figures come to."""

import pytest

from bench import sizing


def test_the_page_is_what_the_figures_come_to(monkeypatch: pytest.MonkeyPatch) -> None:
    page = sizing.PAGE.read_text()
    assert sizing.written(page) == page, "run `python -m bench.sizing --write`"
    assert all(f"<!-- {name} -->" in page for name in sizing.tables())
    # Each figure is used: another one makes another page, in more than the list of figures.
    for figures in (sizing.MEASURED, sizing.ASSUMED):
        for name, figure in figures.items():
            with monkeypatch.context() as changed:
                changed.setitem(figures, name, sizing.Figure(figure.value * 1000, figure.text, figure.by))
                anew = sizing.tables()
            reckoned = [table for table in anew if table not in ("measured", "assumed")]
            assert any(anew[table] not in page for table in reckoned), name


def test_the_arithmetic() -> None:
    assert sizing.packets(1_000_000) == pytest.approx(1_000_000 * 0.6 / 300 + 2 * 1_000_000 / 86_400)
    assert sizing.billing(100_000) == sizing.MEASURED["billing"].value
    assert sizing.year(10_000) == pytest.approx(
        sizing.people(10_000) + 12 * (sizing.books(10_000) + sizing.usage(10_000) + sizing.quarters(10_000))
    )
    for n in sizing.SIZES:
        assert sizing.year(10 * n) == pytest.approx(10 * sizing.year(n))

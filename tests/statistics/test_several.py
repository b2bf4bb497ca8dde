"""Several tests at once, and how equally something is shared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.statistics.several import CORRECTIONS, adjusted, jain


def test_holm_is_that_of_the_textbook() -> None:
    """As R says: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    assert adjusted([0.01, 0.04, 0.03, 0.005], "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_bonferroni_multiplies_by_the_number_of_tests() -> None:
    assert adjusted([0.01, 0.04, 0.3], "bonferroni") == pytest.approx([0.03, 0.12, 0.9])
    assert adjusted([0.5, 0.6], "bonferroni") == [1.0, 1.0]
    assert adjusted([0.5, 0.6], "none") == [0.5, 0.6]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_finds_at_least_what_bonferroni_finds_and_never_more_than_no_correction(values: list[float]) -> None:
    none, holm, bonferroni = (adjusted(values, one) for one in ("none", "holm", "bonferroni"))
    assert all(a <= b <= c <= 1 for a, b, c in zip(none, holm, bonferroni, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [holm[at] for at in order] == sorted(holm)


def test_one_test_alone_needs_no_correction() -> None:
    assert {tuple(adjusted([0.04], one)) for one in CORRECTIONS} == {(0.04,)}


@pytest.mark.parametrize(
    ("values", "index"),
    [([1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([1, 2, 3], 36 / 42), ([7], 1.0), ([], None), ([0, 0], None)],
)
def test_jains_index(values: list[float], index: float | None) -> None:
    assert jain(values) == (None if index is None else pytest.approx(index))

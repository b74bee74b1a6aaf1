"""Which band a score has, and why not a higher one."""

import pytest

from core.rulebook.model import Band, Bands

BANDS = Bands(A=Band(total=80, engagement=20, fit=10), B=Band(total=60, relationship=5), C=Band(total=30))


@pytest.mark.parametrize(
    ("total", "fit", "engagement", "relationship", "band", "short"),
    [
        (80, 10, 20, 0, "A", None),
        (100, 60, 17, 23, "B", ("A", {"engagement": 20})),
        (100, 5, 17, 78, "B", ("A", {"engagement": 20, "fit": 10})),
        (79, 60, 10, 9, "B", None),  # the total alone is too low
        (79, 60, 19, 0, "C", ("B", {"relationship": 5})),
        (90, 80, 10, 0, "C", ("A", {"engagement": 20})),
        (10, 10, 0, 0, "D", None),
    ],
)
def test_the_highest_band_that_only_a_part_stands_in_the_way_of(
    total: int, fit: int, engagement: int, relationship: int, band: str, short: tuple[str, dict[str, int]] | None
) -> None:
    parts = {"fit": fit, "engagement": engagement, "relationship": relationship}
    assert BANDS.of(total, parts) == band
    assert BANDS.short_of(total, parts) == short

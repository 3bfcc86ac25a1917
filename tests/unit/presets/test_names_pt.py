"""Made-up names: no two schools, foods or towns are alike."""

from __future__ import annotations

from tenantry.presets import names_pt as portuguese


def test_no_two_schools_are_alike() -> None:
    """Not even beyond the number of combinations, which is 384,000."""
    assert len({portuguese.school(number) for number in range(400_000)}) == 400_000


def test_neighbours_are_not_alike() -> None:
    assert len({portuguese.school(number).split()[-2] for number in range(20)}) > 5


def test_no_two_foods_are_alike() -> None:
    assert len({portuguese.food(number).name for number in range(portuguese.FOODS)}) == portuguese.FOODS


def test_slugs_are_plain() -> None:
    slugs = {portuguese.slug(town) for town in portuguese.TOWNS}
    assert len(slugs) == len(portuguese.TOWNS) == 30
    assert portuguese.slug("Olho d'Água Grande") == "olho-d-agua-grande"

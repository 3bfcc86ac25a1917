"""The municipalities of a sample, their schools and the people who work there."""

from __future__ import annotations

from random import Random
from uuid import UUID

from tenantry.presets.distributions import pick, shares, starts


class SchoolNumbers:
    """Schools are numbered from 1, municipality by municipality, and people from 1, school by school.

    Municipalities are numbered from 0, the largest first.
    """

    def __init__(self, random: Random, rows: int) -> None:
        self._random = random
        count = min(30, max(3, rows // 100))
        sizes = shares(min(50_000, max(2 * count, rows // 400)), count)
        self.tenants = [UUID(int=random.getrandbits(128), version=4) for _ in range(count)]
        self.sizes = sizes
        self.tenant_of = [tenant for tenant, size in enumerate(sizes) for _ in range(size)]
        self._school_starts = starts(sizes)
        self._user_starts = starts([2 + pick(random, 4) for _ in self.tenant_of])

    @property
    def schools(self) -> int:
        """How many schools there are."""
        return len(self.tenant_of)

    @property
    def users(self) -> int:
        """How many people there are."""
        return self._user_starts[-1]

    def first_school(self, tenant: int) -> int:
        """The first school of a municipality."""
        return self._school_starts[tenant] + 1

    def school(self, tenant: int) -> int:
        """A random school of a municipality; the first ones more often, as large schools move more stock."""
        return self.first_school(tenant) + int(self.sizes[tenant] * self._random.random() ** 2)

    def staff(self, school: int) -> range:
        """The people of a school."""
        return range(self._user_starts[school - 1] + 1, self._user_starts[school] + 1)

    def user(self, school: int) -> int | None:
        """A random person of a school, or None, as for the rows of an import."""
        first, end = self._user_starts[school - 1], self._user_starts[school]
        choice = self._random.random() * 1.05
        return first + 1 + int(choice * (end - first)) if choice < 1 else None

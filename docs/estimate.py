"""Estimates on paper, from sizes and rates, how long a large database takes to distribute, and a tenant to move; writes
the table into docs/scale-out.md: python docs/estimate.py"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_name("scale-out.md")
BEGIN, END = "<!-- estimate -->", "<!-- /estimate -->"
TENANTS = 1_000
GIGABYTES = 10_000
LARGEST_TABLE = 0.4
"""The share of the largest table in all bytes."""
SHARDS, WORKERS = 32, 8
RATES = (6, 50, 200)
"""Megabytes per second: that of the figures above, of a usual server, and of a fast one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Gigabytes of the tenants, by Zipf's law with exponent 1: the second one has half of the first one's rows, and so
    on."""

    tenants: int = TENANTS
    total: float = GIGABYTES

    def of(self, rank: int) -> float:
        return self.total / rank / sum(1 / one for one in range(1, self.tenants + 1))

    @property
    def median(self) -> float:
        return self.of(self.tenants // 2)

    def share(self, first: int) -> float:
        """The share of the first tenants in all bytes."""
        return sum(self.of(rank) for rank in range(1, first + 1)) / self.total


def seconds(gigabytes: float, rate: float) -> float:
    return gigabytes * 1_000 / rate


def shown(duration: float) -> str:
    """Seconds as text, in the largest unit of which there are two or more."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("min", 60)):
        if duration >= 2 * size:
            return f"{duration / size:,.0f} {unit}"
    return f"{duration:,.0f} s"


def lines() -> list[str]:
    """The estimate, as Markdown."""
    sizes = Sizes()
    largest, median = sizes.of(1), sizes.median
    rows = (
        ("distribute all tables, one after the other", GIGABYTES),
        ("of this, the largest table, whose writers wait", GIGABYTES * LARGEST_TABLE),
        (f"copy the largest tenant ({largest:,.0f} GB) for a move; and again, compare it, while it writes", largest),
        (f"the same for the median tenant ({median:,.1f} GB)", median),
    )
    return [
        f"{TENANTS:,} tenants with {GIGABYTES / 1_000:,.0f} TB, whose sizes follow Zipf's law: the largest has"
        f" {largest:,.0f} GB, the first ten have {sizes.share(10):.0%} of all, the median one has {median:,.1f} GB. The"
        f" largest table has {LARGEST_TABLE:.0%} of all bytes. At the rate at which a server copies and reads:",
        "",
        "| | " + " | ".join(f"{rate} MB/s" for rate in RATES) + " |",
        "|---|" + "---:|" * len(RATES),
        *(f"| {what} | " + " | ".join(shown(seconds(size, rate)) for rate in RATES) + " |" for what, size in rows),
        "",
        "Room: until the coordinator's own rows are removed, which is after all tables are distributed, the cluster"
        f" needs {2 * GIGABYTES / 1_000:,.0f} TB: {GIGABYTES / 1_000:,.0f} TB on the coordinator, and on each of"
        f" {WORKERS} workers {GIGABYTES / WORKERS / 1_000:,.2f} TB on average, but {largest / 1_000:,.2f} TB or more on"
        f" the one with the largest tenant, as all rows of a tenant are in one shard of {SHARDS}. For a move the target"
        " needs the tenant's bytes, and the source the write-ahead log of the time that the copy takes.",
    ]


def in_page() -> list[str]:
    """The lines that the page has."""
    return _block()[1].strip().splitlines()


def _block() -> tuple[str, str, str]:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    block, _, after = rest.partition(END)
    return before, block, after


if __name__ == "__main__":
    before, _, after = _block()
    text = "\n".join(lines())
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")

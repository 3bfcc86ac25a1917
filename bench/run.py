"""`python -m bench`: measures every way side by side, writes bench/results.json, prints a table.

`--readme README.md` puts the table between that file's markers as well; with `--again` nothing is measured,
and the results of the last run are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from bench.measure import Measurement, measure, template  # noqa: E402  (the folder above is put on the path first)
from bench.report import put_into, summary, table  # noqa: E402
from bench.ways import WAYS  # noqa: E402
from tenantry.postgres.cluster import Cluster  # noqa: E402
from tenantry.postgres.embedded import bin_directory  # noqa: E402

RESULTS = ROOT / "bench" / "results.json"
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
"""The rest as PostgreSQL comes: fsync and full_page_writes are on."""
REPEATS = {300_000: 3, 3_000_000: 1}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--readme", type=Path, help="put the table between this file's markers")
    parser.add_argument("--again", action="store_true", help="show the last run's results, measure nothing")
    parser.add_argument("--rows", type=int, action="append", help="measure at this size (default: both)")
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if arguments.again else measured(arguments.rows or list(REPEATS))
    if not arguments.again:
        RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    text = described(results)
    print(text)
    if arguments.readme is not None:
        put_into(arguments.readme, text)


def measured(sizes: list[int]) -> dict[str, Any]:
    """Every way at every size, on a server of its own, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-bench-"))
    folder.chmod(0o711)  # the server runs under another account where we are root
    cluster = Cluster(programs=bin_directory(), folder=folder / "server", settings=SETTINGS)
    found: list[Measurement] = []
    try:
        cluster.start()
        for rows in sizes:
            source = template(cluster, rows)
            for repeat in range(REPEATS.get(rows, 1)):
                # In another order each time, so that no way always follows the same one.
                for way in random.Random(repeat).sample(list(WAYS), len(WAYS)):
                    found.append(measure(cluster, way, rows, source))
                    print(f"{rows:,} rows, {way}: {found[-1].seconds:.2f} s", file=sys.stderr, flush=True)
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    order = list(WAYS)
    found.sort(key=lambda one: (one.rows, order.index(one.way)))
    return {
        "machine": {"cores": os.cpu_count(), "memory": memory(), "system": platform.system()},
        "server": {"version": 18, "settings": SETTINGS},
        "summary": summary(found),
        "measurements": [asdict(one) for one in found],
    }


def memory() -> int:
    """Bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def described(results: dict[str, Any]) -> str:
    """The table, and on what it was measured."""
    machine, settings = results["machine"], results["server"]["settings"]
    loads = [one["load"] for one in results["measurements"]]
    said = ", ".join(f"{name} {value}" for name, value in settings.items())
    return (
        f"{table(results['summary'])}\n\n"
        f"PostgreSQL {results['server']['version']}, {machine['cores']} cores, "
        f"{machine['memory'] / 2**30:.0f} GB, {said}, other settings as they come (fsync on);"
        " rows of about 150 bytes, four indexes, one writer updating random rows all the"
        " while. Sizes against those before. Medians of "
        f"{max(line['repeats'] for line in results['summary'])} runs at the smaller size. Load average before each run:"
        f" {min(loads):.0f} to {max(loads):.0f}; only times of one table are comparable."
    )


if __name__ == "__main__":
    main()

"""The application: `python -m bench.writer DSN ROWS` updates random rows until its standard input ends.

Then it prints how long its statements took, in seconds, as a JSON list.
"""

from __future__ import annotations

import json
import random
import select
import sys
import time

import psycopg

PAUSE = 0.005


def main() -> None:
    dsn, rows = sys.argv[1], int(sys.argv[2])
    chance = random.Random(1)
    took: list[float] = []
    with psycopg.connect(dsn, autocommit=True, application_name="writer") as connection:
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            number = chance.randint(1, rows)
            begun = time.monotonic()
            connection.execute("UPDATE movements SET quantity = quantity + 1 WHERE id = %s", [number])
            took.append(time.monotonic() - begun)
    print(json.dumps(took))


if __name__ == "__main__":
    main()

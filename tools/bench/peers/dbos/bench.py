"""Chains of no-op steps on DBOS: `bench.py DATABASE_URL ROUNDS`. Prints a line of JSON for each load and round."""

import json
import logging
import math
import sys
import time

from dbos import DBOS

LOADS = [(1, 1000), (1, 100), (16, 100), (128, 100)]

url, rounds = sys.argv[1], int(sys.argv[2])
DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
logging.getLogger("dbos").setLevel(logging.ERROR)


@DBOS.step()
def noop() -> None:
    pass


@DBOS.workflow()
def chain(steps: int) -> list[float]:
    """Returns how long each step took, in microseconds."""
    took = []
    for _ in range(steps):
        began = time.perf_counter()
        noop()
        took.append((time.perf_counter() - began) * 1e6)
    return took


def percentile(ordered: list[float], percent: int) -> float:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


DBOS.launch()
try:
    chain(20)
    for _ in range(rounds):
        for runs, steps in LOADS:
            began = time.perf_counter()
            handles = [DBOS.start_workflow(chain, steps) for _ in range(runs)]
            each = sorted(took for handle in handles for took in handle.get_result())
            figure = {
                "subject": "dbos-" + url.split(":")[0].replace("postgresql", "postgres"),
                "runs": runs,
                "steps": steps,
                "seconds": time.perf_counter() - began,
                "p50_us": percentile(each, 50),
                "p99_us": percentile(each, 99),
            }
            print(json.dumps(figure), flush=True)
finally:
    DBOS.destroy()

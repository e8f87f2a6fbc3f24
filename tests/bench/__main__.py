"""All benchmarks: one table, and the same in runs/bench.json. Run by ``make bench``.

python -m tests.bench --seconds 60
"""

from __future__ import annotations

import argparse
import json

from tests.bench import crowd, page, replicas, speed, training
from tests.bench.served import ROOT
from tests.bench.table import Row, machine, show

OUT = ROOT / "runs" / "bench.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="that a crowd drags")
    seconds = parser.parse_args().seconds
    rows: list[Row] = []
    for measured in (
        speed.measure(),
        page.measure(),
        crowd.measure(seconds),
        replicas.measure(),
        training.measure(),
    ):
        rows += show(measured)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"machine": machine(), "figures": rows}, indent=2) + "\n")
    print(f"Written to {OUT.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()

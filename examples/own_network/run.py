"""A network of one's own from Python: searched by a phone's table, and handed over.

python examples/own_network/run.py OUT
"""

import sys
from pathlib import Path

import latency
import nas
from examples.own_network.network import SPACE, TASK
from search_spaces import read_table

TABLE = Path(__file__).with_name("my_phone.csv")


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    table = read_table(TABLE, SPACE)
    seen = [
        latency.Measurement(latency.from_choices(str(network), [*network.items()]), float(ms))
        for network, ms in zip(table.architectures, table.metric("latency_ms"), strict=True)
    ]
    latency.calibrate(seen, "my-phone").save(out / "my-phone.json")

    found = nas.search(
        out / "run", TASK, device=str(out / "my-phone.json"), at_most={"latency_ms": 4}, trials=60
    )
    print(found.winner.architecture, found.winner.values, out / "run" / "report.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What the main job comes to, over seeds: who wins and by how much, what its clips show, its time.

    python examples/benchmarks/first_hour.py                           prints the table that is kept
    python examples/benchmarks/first_hour.py --seeds 10 --work FOLDER  fills it, a row a seed

Options of `nas search` may follow, with a --table of one's own.

Each seed is `nas search --seed S --out FOLDER/S --resume`, as it comes but for the options given
here. It goes on where it was left, within a seed too; a seed whose row stands is not run again.
CPU seconds are user and system time of all processes of the last try.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

TABLE = Path(__file__).resolve().parents[1] / "tables" / "first_hour.csv"
RANDOM = "best random pick"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=0, help="so many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder of the runs")
    parser.add_argument("--table", type=Path, default=TABLE)
    asked, options = parser.parse_known_args()
    if asked.seeds and asked.work is None:
        parser.error("--work: give a folder for the runs")
    for seed in range(asked.first, asked.first + asked.seeds):
        if seed not in {int(row["seed"]) for row in read(asked.table)}:
            add(asked.table, run(asked.work / str(seed), seed, options))
    show(read(asked.table))


def run(out: Path, seed: int, options: list[str]) -> dict[str, Any]:
    """The main job, and its row."""
    command = [sys.executable, "-m", "nas", "search", "--seed", str(seed), *options]
    begun, cpu_before = time.monotonic(), os.times()
    subprocess.run([*command, "--out", str(out), "--resume"], check=True, stdout=sys.stderr)  # noqa: S603
    cpu = os.times()
    found = json.loads((out / "run.json").read_text(encoding="utf-8"))
    results, rows = found["results"], {r["network"]: r for r in found["results"]["compared"]}
    final, asked = rows.get("winner, trained on", rows["winner"]), results["asked"]
    return {
        "seed": seed,
        "winner": results["winner_origin"],
        "winner_loss": f"{rows['winner']['test_loss']:.4f}",
        "trained_loss": f"{final['test_loss']:.4f}",
        "random_above": f"{rows[RANDOM]['above_winner']:.4f}",
        "random_above_error": f"{rows[RANDOM]['above_winner_error']:.4f}",
        "search_above_random": f"{search_above_random(rows):.4f}",
        "found": f"{asked['found']['value']:.3f}",
        "found_in_data": f"{asked['data']['value']:.3f}",
        "wall_s": f"{sum(found['seconds'].values()):.0f}",
        "last_try_s": f"{time.monotonic() - begun:.0f}",
        "cpu_s": f"{cpu[2] + cpu[3] - cpu_before[2] - cpu_before[3]:.0f}",
    }


def search_above_random(rows: dict[str, Any]) -> float:
    """How much the search's best loses by, on test clips and the supernet's weights, to random."""
    return float(rows["best of the search"]["above_winner"] - rows[RANDOM]["above_winner"])


def read(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add(table: Path, row: dict[str, Any]) -> None:
    """Add a seed's row, in the order of seeds."""
    rows = sorted([*read(table), row], key=lambda each: int(each["seed"]))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def show(rows: list[dict[str, str]]) -> None:
    if not rows:
        print("no seed was run yet; give --seeds and --work")
        return
    print(*rows[0], sep="  ")
    for row in rows:
        print(*row.values(), sep="  ")
    won = [row["winner"] for row in rows]
    print(", ".join(f"{origin}: {won.count(origin)} of {len(won)}" for origin in sorted(set(won))))
    for name, said in (
        ("search_above_random", "best of the search minus best random pick, test loss"),
        ("random_above", "best random pick minus winner, test loss"),
        ("trained_loss", "test loss of the winner, trained on"),
        ("found", "digits found"),
        ("found_in_data", "digits found in the data's own clips"),
        ("cpu_s", "CPU seconds"),
    ):
        values = [float(row[name]) for row in rows]
        error = f" +- {stdev(values) / len(values) ** 0.5:.4g}" if len(values) > 1 else ""
        print(f"{said}: {mean(values):.4g}{error}")


if __name__ == "__main__":
    main()

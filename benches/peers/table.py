"""Medians of the runs of benches/compare, as a table: `table.py RESULTS`, each line `peer user system kilobytes json`."""

import json
import statistics
import sys


def main(path):
    """Prints the table."""
    runs = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            peer, user, system, kilobytes, said = line.split(" ", 4)
            said = json.loads(said)
            cpu = (float(user) + float(system)) / said["events"] * 1e6
            runs.setdefault(peer, []).append((said["events"] / said["seconds"], cpu, int(kilobytes) / 1024))
    if not runs:
        sys.exit("nothing was measured")
    ours = next((peer for peer in ("replay", "run", "raw") if peer in runs), next(iter(runs)))
    medians = {peer: [statistics.median(column) for column in zip(*rows)] for peer, rows in runs.items()}
    print(f"{'':10} {'events/s':>10} {'CPU s/million':>14} {'peak MB':>8} {'CPU, ' + ours + ' = 1':>16} {'runs':>5}")
    for peer, (speed, cpu, peak) in medians.items():
        ratio = cpu / medians[ours][1]
        print(f"{peer:10} {speed:10,.0f} {cpu:14.2f} {peak:8.0f} {ratio:16.2f} {len(runs[peer]):5}")


if __name__ == "__main__":
    main(sys.argv[1])

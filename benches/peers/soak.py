"""Watches the daemon once a second: `soak.py PID ADDRESS FILE SECONDS`; writes what it sees, and sums it up."""

import os
import sys
import time
import urllib.request

COLUMNS = ("second", "rss_mb", "cpu_seconds", "events", "behind_seconds", "pending")


def sample(pid, address):
    """Resident memory in MB, CPU seconds, events taken, lag in seconds, and what waits in the join."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        ticks = stat.read().rsplit(")", 1)[1].split()[11:13]
    sums = {"modelwatch_records_total": 0.0, "modelwatch_behind_seconds": 0.0, "modelwatch_join_pending": 0.0}
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            name = line.split("{")[0].split(" ")[0]
            if name in sums:
                sums[name] += float(line.rsplit(" ", 1)[1])
    return (resident, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), *sums.values())


def watch(pid, address, file, seconds):
    """One row a second."""
    rows, begun = [], time.monotonic()
    with open(file, "w", encoding="utf-8") as out:
        print(*COLUMNS, sep="\t", file=out)
        while (second := time.monotonic() - begun) < seconds:
            rows.append((second, *sample(pid, address)))
            print(*(f"{number:.2f}" for number in rows[-1]), sep="\t", file=out, flush=True)
            time.sleep(max(0.0, begun + len(rows) - time.monotonic()))
    return rows


def slope(rows):
    """MB a minute, by least squares."""
    xs, ys = [row[0] / 60 for row in rows], [row[1] for row in rows]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys)) / sum((x - x_mean) ** 2 for x in xs)


def main(pid, address, file, seconds):
    """Watches, then prints."""
    rows = watch(int(pid), address, file, int(seconds))
    for minute in range(1, int(seconds) // 60 + 1):
        _, resident, _, events, behind, pending = rows[min(minute * 60, len(rows) - 1)]
        print(
            f"after {minute:2} min: {resident:6.0f} MB, {events / 1e6:6.1f} million events, {behind:4.1f} s behind, "
            f"{pending / 1e6:.2f} million wait"
        )
    half = rows[len(rows) // 2 :]
    print(f"second half: {slope(half):+.2f} MB a minute, {max(row[1] for row in half):.0f} MB at most")
    first, last = rows[0], rows[-1]
    events, cpu, took = last[3] - first[3], last[2] - first[2], last[0] - first[0]
    print(f"{events / 1e6:.1f} million events in {took:.0f} s, {events / took:,.0f} a second")
    print(f"{cpu / events * 1e6:.2f} CPU seconds a million events; {max(row[4] for row in half):.1f} s behind at most")


if __name__ == "__main__":
    main(*sys.argv[1:])

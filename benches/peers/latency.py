"""How long mails took: `latency.py ACKNOWLEDGED MAILS`, as the flow and the sink write them."""

import bisect
import math
import sys

# The broker compiles its code meanwhile; such ticks do not count.
WARM_UP_MICROS = 10_000_000


def read(path):
    """The lines of a file, as lists of words."""
    with open(path, encoding="utf-8") as lines:
        return [line.split() for line in lines]


def show(name, micros):
    """One row of the table, in milliseconds."""
    ordered = sorted(micros)
    # The nearest rank: of fewer than a hundred, the 99th percentile is the greatest.
    median, late = (ordered[math.ceil(share * len(ordered)) - 1] / 1_000 for share in (0.5, 0.99))
    print(f"{name:42} {median:8.1f} {late:8.1f} {ordered[-1] / 1_000:8.1f} {len(ordered):6}")


def main(acknowledged, mails):
    """Prints the table."""
    acks = sorted((int(second), int(at)) for second, at in read(acknowledged))
    seconds = [second for second, _ in acks]
    since_ack, since_end, run_seconds, others = [], [], [], 0
    for at, tick_end, state in read(mails):
        # A flow that skipped a second sealed its tick with the first record beyond the next one.
        index = bisect.bisect_left(seconds, int(tick_end)) if tick_end != "-" else len(acks)
        if state not in ("firing", "resolved") or index == len(acks):
            others += 1
            continue
        if int(tick_end) < seconds[0] + WARM_UP_MICROS:
            continue
        since_ack.append(int(at) - acks[index][1])
        run_seconds.append((int(tick_end) - seconds[0]) // 1_000_000)
        since_end.append(int(at) - int(tick_end))
    if not since_ack:
        sys.exit("no mail came")
    print(f"{'ms':42} {'median':>8} {'99 %':>8} {'max':>8} {'mails':>6}")
    show("from the record that seals to the mail", since_ack)
    show("from the end of the tick to the mail", since_end)
    slowest = sorted(zip(since_ack, run_seconds, strict=True), reverse=True)[:5]
    print("slowest:", ", ".join(f"{micros / 1_000:.1f} ms in second {second}" for micros, second in slowest))
    if others:
        print(f"{others} other mails, or of ticks that the flow did not seal")


if __name__ == "__main__":
    main(*sys.argv[1:])

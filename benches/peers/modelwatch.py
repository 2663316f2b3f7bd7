"""Runs modelwatch for benches/compare: `modelwatch.py replay|run PROGRAM CONFIGURATION EVENTS ADDRESS`."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request


def replay(program, configuration):
    """The whole of both topics, and the end."""
    command = [program, "replay", configuration, "--from", "1970-01-01T00:00:00Z", "--json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return rmse(json.loads(said.splitlines()[-1])["readings"])


def run(program, configuration, events, address):
    """The daemon with its checkpoints, until it has taken in all there is."""
    with subprocess.Popen([program, "run", configuration], stderr=subprocess.DEVNULL) as daemon:
        while True:
            time.sleep(0.1)
            if daemon.poll() is not None:
                sys.exit(f"the daemon ended by itself: {daemon.returncode}")
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/status") as answer:
                    status = json.load(answer)
            except (urllib.error.URLError, ConnectionError):
                continue
            if sum(status["records"].values()) >= events:
                break
        ended = time.perf_counter()
        daemon.send_signal(signal.SIGTERM)
    readings = [dict(reading, model=model["name"]) for model in status["models"] for reading in model["readings"]]
    return rmse(readings), ended


def rmse(readings):
    """That of the whole of `eta`, to be held against the others'."""
    found = [r["value"] for r in readings if (r["model"], r["segment"], r["indicator"]) == ("eta", None, "rmse")]
    return found[0] if found else None


def main(mode, program, configuration, events, address):
    """Runs it and prints what it took."""
    start = time.perf_counter()
    if mode == "replay":
        value, ended = replay(program, configuration), time.perf_counter()
    else:
        value, ended = run(program, configuration, int(events), address)
    print(json.dumps({"events": int(events), "seconds": round(ended - start, 3), "rmse": value}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Makes end_to_end.json: two models' predictions and late labels, and what scikit-learn says about them.

    python3 -m venv venv && venv/bin/pip install scikit-learn && venv/bin/python end_to_end.py

Run in this directory. Times are seconds since a beginning that the tests choose (a whole number of ticks). The delivery
times of `eta` are broken from 2000 s to 3600 s, worst in region eu; `fraud` is well all the time. The rule is played
through here as its documentation has it: fires once the breach has lasted for `for`, is resolved once the value has
stayed clear for `recover_for`.
"""

import json
import platform
import random
from pathlib import Path

import numpy as np
import sklearn
from sklearn import metrics

TICK, HALF_LIFE = 10, 300
ABOVE, CLEAR, FOR, RECOVER_FOR, MIN_SAMPLES = 4.0, 3.5, 60, 60, 50
STEP, ROWS = 4, 1500
BROKEN = range(2000, 3600)


def eta(rng):
    """Rows of time, region, prediction, seconds until the label (None: never), label."""
    for time in range(0, ROWS * STEP, STEP):
        region = rng.choice(["eu", "us", "asia"])
        truth = round(rng.uniform(10, 60), 1)
        error = rng.gauss(0, 1.5) + ((12 if region == "eu" else 6) if time in BROKEN else 0)
        delay = None if rng.random() < 0.05 else round(rng.uniform(20, 120), 1)
        yield time, region, round(truth + error, 1), delay, truth


def fraud(rng):
    """Rows of time, score, seconds until the label (None: never), label."""
    for time in range(0, ROWS * STEP, STEP):
        score = round(min(max(rng.betavariate(0.7, 1.5), 0.001), 0.999), 3)
        delay = None if rng.random() < 0.05 else round(rng.uniform(60, 600), 1)
        yield time, score, delay, rng.random() < score


def known(rows):
    """The labelled rows, and the tick in which each became an outcome."""
    rows = [row for row in rows if row[-2] is not None]
    return rows, np.array([int((row[0] + row[-2]) // TICK) for row in rows])


def weights(ticks, tick):
    return np.where(ticks <= tick, 0.5 ** ((tick - ticks) * TICK / HALF_LIFE), 0.0)


def effective_samples(w):
    return float(w.sum() ** 2 / (w * w).sum()) if w.any() else 0.0


def rmse(rows, w):
    return float(metrics.root_mean_squared_error([r[-1] for r in rows], [r[2] for r in rows], sample_weight=w))


def reading(rows, ticks, tick):
    w = weights(ticks, tick)
    worst = {}
    for region in sorted({row[1] for row in rows}):
        there = np.array([row[1] == region for row in rows])
        worst[region] = {"rmse": rmse(rows, w * there), "effective_samples": effective_samples(w * there)}
    return {"at": (tick + 1) * TICK, "rmse": rmse(rows, w), "effective_samples": effective_samples(w), "regions": worst}


def incidents(rows, ticks):
    """The readings at which the rule fires and is resolved, in turn."""
    firing, since, found = False, None, []
    for tick in range(ticks.min(), ticks.max() + 1):
        w = weights(ticks, tick)
        value = rmse(rows, w)
        if not firing and effective_samples(w) < MIN_SAMPLES:
            continue
        if (value <= CLEAR) if firing else (value > ABOVE):
            since = tick if since is None else since
            if (tick - since) * TICK >= (RECOVER_FOR if firing else FOR):
                firing, since = not firing, None
                found.append(reading(rows, ticks, tick))
        else:
            since = None
    return found


def last(eta_rows, fraud_rows):
    """Everything at the end of the last tick."""
    end = max(max(known(rows)[1].max() for rows in (eta_rows, fraud_rows)), (ROWS - 1) * STEP // TICK)
    rows, ticks = known(eta_rows)
    w = weights(ticks, end)
    y, p = np.array([r[-1] for r in rows]), np.array([r[2] for r in rows])
    regression = {
        "rmse": metrics.root_mean_squared_error(y, p, sample_weight=w),
        "mae": metrics.mean_absolute_error(y, p, sample_weight=w),
        "r2": metrics.r2_score(y, p, sample_weight=w),
        "bias": np.average(p - y, weights=w),
    }
    rows, ticks = known(fraud_rows)
    w = weights(ticks, end)
    y, s = np.array([r[-1] for r in rows]), np.array([r[1] for r in rows])
    p = s >= 0.5
    binary = {
        "f1": metrics.f1_score(y, p, sample_weight=w),
        "precision": metrics.precision_score(y, p, sample_weight=w),
        "recall": metrics.recall_score(y, p, sample_weight=w),
        "accuracy": metrics.accuracy_score(y, p, sample_weight=w),
        "brier": metrics.brier_score_loss(y, s, sample_weight=w),
        "log_loss": metrics.log_loss(y, s, sample_weight=w),
        "roc_auc": metrics.roc_auc_score(y, s, sample_weight=w),
    }
    return {"eta": {k: float(v) for k, v in regression.items()}, "fraud": {k: float(v) for k, v in binary.items()}}


def main():
    rng = random.Random(20260131)
    rows = {"eta": list(eta(rng)), "fraud": list(fraud(rng))}
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    found = incidents(*known(rows["eta"]))
    assert len(found) == 2, found
    content = {
        "made_by": "end_to_end.py",
        "versions": versions,
        "firing": found[0],
        "resolved": found[1],
        "last": last(**{f"{name}_rows": value for name, value in rows.items()}),
        "labelled": {name: len(known(value)[0]) for name, value in rows.items()},
        **rows,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    Path("end_to_end.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()

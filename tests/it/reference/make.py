"""Makes the reference values of the tests: what scikit-learn, numpy, pandas and Python say about fixed inputs.

    python3 -m venv venv && venv/bin/pip install scikit-learn pandas && venv/bin/python make.py

Run in this directory; it overwrites indicator.json, exact.json and ewm.json. The inputs come from seeded generators and
are written into the files, so that the tests need neither the generators nor Python. Floats are written with the
fewest digits that read back as the same number (17 at most).
"""

import json
import math
import platform
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn import metrics

VERSIONS = {
    "python": platform.python_version(),
    "numpy": np.__version__,
    "pandas": pd.__version__,
    "scikit-learn": sklearn.__version__,
}


def write(name, content):
    content = {"made_by": "make.py", "versions": VERSIONS} | content
    # One line per entry of the top level: short files, and yet the versions stand by themselves.
    lines = [f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    Path(name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def floats(values):
    return [float(value) for value in values]


def regression(y, p, w):
    nonzero = np.abs(y) >= np.finfo(float).eps
    result = {
        "bias": np.average(p - y, weights=w),
        "mae": metrics.mean_absolute_error(y, p, sample_weight=w),
        "mse": metrics.mean_squared_error(y, p, sample_weight=w),
        "rmse": metrics.root_mean_squared_error(y, p, sample_weight=w),
        "mape": metrics.mean_absolute_percentage_error(y[nonzero], p[nonzero], sample_weight=w[nonzero])
        if nonzero.any()
        else None,
        "r2": metrics.r2_score(y, p, sample_weight=w) if np.ptp(y) > 0 else None,
    }
    return {name: None if value is None else float(value) for name, value in result.items()}


def binary(y, p, s, w):
    """`s` is NaN where the prediction bears no probability."""
    scored = ~np.isnan(s)
    ys, ss, ws = y[scored], s[scored], w[scored]
    result = {
        "accuracy": metrics.accuracy_score(y, p, sample_weight=w),
        "precision": metrics.precision_score(y, p, sample_weight=w) if p.any() else None,
        "recall": metrics.recall_score(y, p, sample_weight=w) if y.any() else None,
        "f1": metrics.f1_score(y, p, sample_weight=w) if y.any() or p.any() else None,
        "log_loss": metrics.log_loss(ys, ss, labels=[0, 1], sample_weight=ws) if scored.any() else None,
        "brier": metrics.brier_score_loss(ys, ss, labels=[0, 1], sample_weight=ws) if scored.any() else None,
        "roc_auc": metrics.roc_auc_score(ys, ss, sample_weight=ws) if len(set(ys)) == 2 else None,
        "positive_rate": np.average(p, weights=w),
    }
    return {name: None if value is None else float(value) for name, value in result.items()}


def matching(delay, age, w):
    """`delay` is NaN where no label came, `age` where the source gives no time."""
    labelled, aged = ~np.isnan(delay), ~np.isnan(age)
    result = {
        "match_rate": np.average(labelled, weights=w),
        "unlabelled_rate": np.average(~labelled, weights=w),
        "label_delay": np.average(delay[labelled], weights=w[labelled]) if labelled.any() else None,
        "event_age": np.average(age[aged], weights=w[aged]) if aged.any() else None,
    }
    for percent in (50, 90, 99):
        result[f"label_delay_p{percent}"] = (
            np.quantile(np.maximum(delay[labelled], 0), percent / 100, method="inverted_cdf", weights=w[labelled])
            if labelled.any()
            else None
        )
    return {name: None if value is None else float(value) for name, value in result.items()}


def cases(evaluate, tick, prefixes, half_life):
    """Undecayed values at prefixes, and values under weights 2^(-age in ticks / half_life)."""
    expected = []
    for n in prefixes:
        expected.append({"samples": n, "half_life": None, "values": evaluate(n, np.ones(n))})
        age = tick[n - 1] - tick[:n]
        expected.append({"samples": n, "half_life": half_life, "values": evaluate(n, 0.5 ** (age / half_life))})
    return expected


def dataset(name, task, columns, tick, prefixes, half_life, evaluate):
    listed = {
        key: [None if isinstance(v, float) and math.isnan(v) else v for v in np.asarray(column).tolist()]
        for key, column in columns.items()
    }
    expected = cases(evaluate, tick, prefixes, half_life)
    return {"name": name, "task": task, "ticks": tick.tolist(), **listed, "expected": expected}


def regression_sets():
    random = np.random.default_rng(1)
    n = 400
    tick = np.sort(random.integers(0, 40, n))
    for name, y in [
        ("normal", random.normal(20, 5, n)),
        ("heavy tails", random.standard_t(1.5, n) * 100),
        # Every seventh label is zero, where the relative error is not defined.
        ("zeros", np.where(np.arange(n) % 7 == 3, 0.0, random.lognormal(0, 2, n))),
    ]:
        p = y + random.normal(0.5, 2, n)
        evaluate = lambda k, w: regression(y[:k], p[:k], w)
        yield dataset(name, "regression", {"actual": y, "predicted": p}, tick, [2, 17, 150, n], 6.5, evaluate)


def binary_sets():
    random = np.random.default_rng(2)

    def draw(n, shift, spread):
        latent = random.normal(shift, spread, n)
        y = (random.random(n) < 1 / (1 + np.exp(-latent))).astype(int)
        s = 1 / (1 + np.exp(-(latent + random.normal(0, 0.7, n))))
        return y, s

    for name, n, shift, spread, threshold in [
        ("common", 600, -0.8, 1.5, 0.5),
        # One positive in some hundred, with all scores near zero.
        ("rare", 3000, -7.0, 2.0, 0.02),
    ]:
        y, s = draw(n, shift, spread)
        tick = np.sort(random.integers(0, 40, n))
        p = (s >= threshold).astype(int)
        s[::11] = np.nan
        # Certain answers, right and wrong, are clipped by the logarithmic loss and lie in the bins at the ends.
        s[[5, 6]], y[[5, 6]] = [0.0, 1.0], [1, 0]
        s[[7, 8]], y[[7, 8]] = [0.0, 1.0], [0, 1]
        evaluate = lambda k, w: binary(y[:k], p[:k], s[:k], w)
        columns = {"actual": y, "predicted": p, "score": s}
        yield dataset(name, "binary", columns, tick, [1, 10, 150, n], 6.5, evaluate)


def matching_sets():
    random = np.random.default_rng(3)
    n = 500
    tick = np.sort(random.integers(0, 40, n))
    delay = random.lognormal(5, 2.5, n)
    delay[::5] = np.nan
    # Before the prediction, at once, below the first bin, beyond the last.
    delay[[1, 2, 3, 4]] = [-2.0, 0.0, 0.003, 30_000_000.0]
    age = random.exponential(3, n)
    age[::4] = np.nan
    evaluate = lambda k, w: matching(delay[:k], age[:k], w)
    yield dataset("delays", "matching", {"delay": delay, "age": age}, tick, [1, 4, 100, n], 6.5, evaluate)


def fsum(numbers):
    try:
        return math.fsum(numbers)
    except OverflowError:
        return math.copysign(sys.float_info.max, sum(np.array(numbers) / 2.0**60))


def exact_sums():
    """math.fsum rounds the exact sum once, to nearest and ties to even."""
    random = np.random.default_rng(4)
    for low, high in [(-1074, 970), (-1074, -1000), (-60, 60), (900, 970), (-1060, -1020)]:
        for n in (1, 2, 7, 60):
            numbers = [
                math.ldexp(float(mantissa), int(exponent))
                for mantissa, exponent in zip(
                    random.integers(-(2**53), 2**53, n), random.integers(low, high, n), strict=True
                )
            ]
            yield numbers
            # Cancel the largest ones, so that the small ones show.
            yield numbers + [-x for x in sorted(numbers, key=abs)[n // 2 :]]


def ewm():
    """What smoothing must give: the weighted mean of all values so far, newest weighing most.

    `alpha`: pandas' alpha is 1 - keep; one value per outcome. `half_life`: weights halve every `half_life_seconds`
    between `times_seconds`, irregular with gaps. `mean` is pandas' adjust=True (free of start bias), `seeded`
    adjust=False (the textbook filter that starts at the first value).
    """
    random = np.random.default_rng(5)
    values = pd.Series(random.normal(10, 3, 80))
    seconds = np.cumsum(random.integers(1, 60, 80))
    seconds[40:] += 3600
    alphas = [
        {
            "keep": keep,
            "mean": floats(values.ewm(alpha=1 - keep, adjust=True).mean()),
            "seeded": floats(values.ewm(alpha=1 - keep, adjust=False).mean()),
        }
        for keep in (0.5, 0.9, 0.99)
    ]
    times = pd.to_datetime(seconds, unit="s")
    half_lives = [
        {
            "half_life_seconds": half_life,
            "mean": floats(values.ewm(halflife=pd.Timedelta(seconds=half_life), times=times).mean()),
        }
        for half_life in (10, 300, 3600)
    ]
    return {"values": floats(values), "times_seconds": seconds.tolist(), "alpha": alphas, "half_life": half_lives}


def main():
    warnings.simplefilter("error")
    sets = [*regression_sets(), *binary_sets(), *matching_sets()]
    write("indicator.json", {"sets": sets})
    write("exact.json", {"sums": [{"numbers": numbers, "sum": fsum(numbers)} for numbers in exact_sums()]})
    write("ewm.json", ewm())


main()

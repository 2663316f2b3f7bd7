"""confluent-kafka, orjson, a dict, and river's metrics."""

import sys

from river import metrics, stats

from common import Join, keys, run


class Series:
    """The eight indicators of one series, or river's nearest; river has no decay, so they run over all time."""

    def __init__(self):
        self.errors = [metrics.MAE(), metrics.RMSE(), metrics.MAPE(), metrics.R2()]
        self.bias, self.delay, self.unlabelled, self.predictions = stats.Mean(), stats.Mean(), stats.Mean(), stats.Count()


class Engine(Join):
    """Metrics of all series."""

    def __init__(self):
        super().__init__()
        self.series = {}

    def of(self, key):
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
        return series

    def predicted(self, waiting):
        for key in keys(waiting):
            self.of(key).predictions.update()

    def labelled(self, waiting, actual, delay):
        for key in keys(waiting):
            series = self.of(key)
            for metric in series.errors:
                metric.update(actual, waiting[1])
            series.bias.update(waiting[1] - actual)
            series.delay.update(delay)
            series.unlabelled.update(0)

    def expired(self, waiting):
        for key in keys(waiting):
            self.of(key).unlabelled.update(1)

    def fade(self, kept):
        """River has nothing to fade."""

    def rmse(self):
        return self.of(("eta", "")).errors[1].get()


if __name__ == "__main__":
    run(sys.argv[1], Engine())

"""confluent-kafka, orjson, a dict, and the sums of the eight indicators by hand."""

import sys

from common import Join, keys, root, run


class Sums:
    """What bias, mae, rmse, mape, r2, prediction_rate, label_delay and unlabelled_rate are computed from."""

    __slots__ = ("predicted", "n", "error", "absolute", "squared", "relative", "actual", "actual2", "delay", "expired")

    def __init__(self):
        for name in self.__slots__:
            setattr(self, name, 0.0)


class Engine(Join):
    """Sums of all series."""

    def __init__(self):
        super().__init__()
        self.series = {}

    def of(self, key):
        sums = self.series.get(key)
        if sums is None:
            sums = self.series[key] = Sums()
        return sums

    def predicted(self, waiting):
        for key in keys(waiting):
            self.of(key).predicted += 1

    def labelled(self, waiting, actual, delay):
        error = waiting[1] - actual
        absolute = abs(error)
        for key in keys(waiting):
            sums = self.of(key)
            sums.n += 1
            sums.error += error
            sums.absolute += absolute
            sums.squared += error * error
            sums.relative += absolute / abs(actual)
            sums.actual += actual
            sums.actual2 += actual * actual
            sums.delay += delay

    def expired(self, waiting):
        for key in keys(waiting):
            self.of(key).expired += 1

    def fade(self, kept):
        for sums in self.series.values():
            for name in Sums.__slots__:
                setattr(sums, name, getattr(sums, name) * kept)

    def rmse(self):
        sums = self.of(("eta", ""))
        return root(sums.squared, sums.n)


if __name__ == "__main__":
    run(sys.argv[1], Engine())

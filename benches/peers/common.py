"""What the Python peers share: reading both topics to their end, the join, and the sums of the aggregates."""

import json
import math
import time
from collections import deque

import orjson
from confluent_kafka import Consumer, TopicPartition

TOPICS = ("bench-predictions", "bench-labels")
LABEL_TIMEOUT_MS = 300_000
TICK_MS = 10_000
KEEP = 2 ** (-10 / 1800)  # a half-life of 30 minutes, in ticks of 10 seconds


def batches(brokers):
    """Lists of records of both topics, from their start to their present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "bench-python",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 2,
        }
    )
    assignment, left = [], 0
    for topic in TOPICS:
        for number in consumer.list_topics(topic).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number))
            left += high - low
            assignment.append(TopicPartition(topic, number, low))
    consumer.assign(assignment)
    while left > 0:
        records = consumer.consume(2000, 10)
        left -= len(records)
        yield records
    consumer.close()


def run(brokers, engine):
    """Feeds an engine with everything there is, and prints what it took."""
    start, events = time.perf_counter(), 0
    for records in batches(brokers):
        events += len(records)
        for record in records:
            engine.take(record.topic() == TOPICS[0], (record.topic(), record.partition()), record.value())
    seconds = time.perf_counter() - start
    print(json.dumps({"events": events, "seconds": round(seconds, 3), "rmse": engine.rmse()}))


class Join:
    """Predictions wait for their label in a dict; what it makes of them is told to `outcome` and `expired`."""

    def __init__(self):
        self.pending = {}
        self.early = {}  # labels read before their prediction, as partitions are not read in step
        self.due = {}  # one queue a partition, because only within one are times in order
        self.newest = {}
        self.tick = None

    def take(self, is_prediction, partition, value):
        """One record; what is no event is dropped."""
        try:
            event = orjson.loads(value)
            at = event["ts"]
            if is_prediction:
                id_, segment = event["id"], event["segment"]
                if id_ not in self.pending:
                    waiting = (at, event["prediction"], event["model"]["name"], segment["region"], segment["device"])
                    self.pending[id_] = waiting
                    self.due.setdefault(partition, deque()).append((at + LABEL_TIMEOUT_MS, id_))
                    self.predicted(waiting)
                    label = self.early.pop(id_, None)
                    if label:
                        self.match(id_, *label)
            elif event["id"] in self.pending:
                self.match(event["id"], at, event["actual"])
            else:
                self.early[event["id"]] = (at, event["actual"])
        except (ValueError, KeyError, TypeError):
            return
        if at > self.newest.get(partition, 0):
            self.newest[partition] = at
            if at // TICK_MS != self.tick:
                self.seal(min(self.newest.values()))

    def match(self, id_, at, actual):
        """A label has found its prediction."""
        waiting = self.pending.pop(id_)
        if at - waiting[0] <= LABEL_TIMEOUT_MS:
            self.labelled(waiting, actual, (at - waiting[0]) / 1000)

    def seal(self, watermark):
        """The ticks before the slowest partition are over."""
        tick = watermark // TICK_MS
        if tick == self.tick:
            return
        for queue in self.due.values():
            while queue and queue[0][0] < watermark:
                waiting = self.pending.pop(queue.popleft()[1], None)
                if waiting:
                    self.expired(waiting)
        if tick % 30 == 0:
            self.early = {id_: label for id_, label in self.early.items() if label[0] >= watermark - TICK_MS}
        passed, self.tick = tick - (self.tick or tick), tick
        if passed > 0:
            self.fade(KEEP**passed)


def keys(waiting):
    """The series of a prediction: the whole of its model, and one a dimension."""
    _, _, model, region, device = waiting
    return (model, ""), (model, region), (model, device)


def root(numerator, denominator):
    """The root of a ratio; `None` without a denominator."""
    return math.sqrt(numerator / denominator) if denominator else None

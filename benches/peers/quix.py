"""quixstreams: both topics as one stream keyed by id, the join in its state store (RocksDB), sums by hand."""

import json
import logging
import sys
import tempfile
import time

import orjson
from quixstreams import Application
from quixstreams.models import Deserializer

from common import LABEL_TIMEOUT_MS, TICK_MS, KEEP, TOPICS, batches
from dict_sums import Engine


class Json(Deserializer):
    """orjson, and `None` for what is no JSON."""

    def __call__(self, value, ctx):
        try:
            return orjson.loads(value)
        except ValueError:
            return None


def main(brokers):
    """Reads as many records as there are, then stops."""
    engine, total, newest = Engine(), count(brokers), [0]

    def step(event, state):
        if "prediction" in event:
            if state.get("waiting") is None:
                segment = event["segment"]
                model = event["model"]["name"]
                waiting = [event["ts"], event["prediction"], model, segment["region"], segment["device"]]
                state.set("waiting", waiting)
                engine.predicted(waiting)
        else:
            waiting = state.get("waiting")
            if waiting is not None:
                state.delete("waiting")
                delay = event["ts"] - waiting[0]
                if delay <= LABEL_TIMEOUT_MS:
                    engine.labelled(waiting, event["actual"], delay / 1000)
        tick = event["ts"] // TICK_MS
        if tick > newest[0]:
            engine.fade(KEEP ** (tick - newest[0]) if newest[0] else 1)
            newest[0] = tick

    with tempfile.TemporaryDirectory() as directory:
        app = Application(
            broker_address=brokers,
            consumer_group=f"bench-quix-{time.time_ns()}",
            auto_offset_reset="earliest",
            state_dir=directory,
            consumer_extra_config={"fetch.queue.backoff.ms": 2},
            loglevel=logging.WARNING,
        )
        streams = [app.dataframe(app.topic(topic, value_deserializer=Json())) for topic in TOPICS]
        start = time.perf_counter()
        streams[0].concat(streams[1]).filter(lambda event: event is not None).apply(step, stateful=True)
        app.run(count=total)
        seconds = time.perf_counter() - start
    print(json.dumps({"events": total, "seconds": round(seconds, 3), "rmse": engine.rmse()}))


def count(brokers):
    """How many records there are."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench-count"})
    total = 0
    for topic in TOPICS:
        for number in consumer.list_topics(topic).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number))
            total += high - low
    consumer.close()
    return total


if __name__ == "__main__":
    main(sys.argv[1])

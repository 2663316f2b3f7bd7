"""quixstreams: both topics as one stream; the join in a dict and the sums by hand, as its state store is far slower."""

import json
import logging
import sys
import tempfile
import time

from confluent_kafka import Consumer, TopicPartition
from quixstreams import Application, message_context

from common import TOPICS
from dict_sums import Engine


def main(brokers):
    """Reads as many records as there are, then stops."""
    engine, total = Engine(), count(brokers)

    def take(value):
        context = message_context()
        engine.take(context.topic == TOPICS[0], (context.topic, context.partition), value)

    with tempfile.TemporaryDirectory() as directory:
        app = Application(
            broker_address=brokers,
            consumer_group=f"bench-quix-{time.time_ns()}",
            auto_offset_reset="earliest",
            state_dir=directory,
            consumer_extra_config={"fetch.queue.backoff.ms": 2},
            loglevel=logging.WARNING,
        )
        streams = [app.dataframe(app.topic(topic, value_deserializer="bytes")) for topic in TOPICS]
        start = time.perf_counter()
        streams[0].concat(streams[1]).update(take)
        app.run(count=total)
        seconds = time.perf_counter() - start
    print(json.dumps({"events": total, "seconds": round(seconds, 3), "rmse": engine.rmse()}))


def count(brokers):
    """How many records there are."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench-count"})
    offsets = [
        consumer.get_watermark_offsets(TopicPartition(topic, number))
        for topic in TOPICS
        for number in consumer.list_topics(topic).topics[topic].partitions
    ]
    consumer.close()
    return sum(high - low for low, high in offsets)


if __name__ == "__main__":
    main(sys.argv[1])

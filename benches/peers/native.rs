//! A consumer of librdkafka by its own functions: the batch API does not go with the `BaseConsumer` of rust-rdkafka, whose
//! event mode makes it give up its partitions.
#![allow(unsafe_code, reason = "a C library; only this measurement uses it so")]

use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings::*;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::TOPICS;

const AT_ONCE: usize = 2_000;
const WAIT: Duration = Duration::from_secs(30);
/// The batch call waits for a full batch until then; at the end of the topics there is none.
const WAIT_MILLIS: i32 = 5;

/// The consumer and its queue.
pub(super) struct Native {
    consumer: *mut rd_kafka_t,
    queue: *mut rd_kafka_queue_t,
    batch: Vec<*mut rd_kafka_message_t>,
    brokers: String,
}

impl Native {
    /// Connects.
    pub(super) fn new(brokers: &str) -> Native {
        let settings = [
            ("bootstrap.servers", brokers),
            ("group.id", "bench-raw"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("fetch.queue.backoff.ms", "2"),
            ("queued.min.messages", "1000000"),
        ];
        let mut error = [0; 512];
        // SAFETY: strings and buffers outlive the calls that read them; the new client owns the configuration.
        let consumer = unsafe {
            let config = rd_kafka_conf_new();
            for (name, value) in settings {
                let (name, value) = (CString::new(name).expect("no zero"), CString::new(value).expect("no zero"));
                let set = rd_kafka_conf_set(config, name.as_ptr(), value.as_ptr(), error.as_mut_ptr(), error.len());
                assert_eq!(set, rd_kafka_conf_res_t::RD_KAFKA_CONF_OK, "{name:?}");
            }
            rd_kafka_new(rd_kafka_type_t::RD_KAFKA_CONSUMER, config, error.as_mut_ptr(), error.len())
        };
        // SAFETY: librdkafka ends what it writes with a zero.
        assert!(!consumer.is_null(), "{:?}", unsafe { CStr::from_ptr(error.as_ptr()) });
        // SAFETY: the client is a consumer and alive.
        let queue = unsafe {
            rd_kafka_poll_set_consumer(consumer);
            rd_kafka_queue_get_consumer(consumer)
        };
        Native { consumer, queue, batch: vec![ptr::null_mut(); AT_ONCE], brokers: brokers.to_owned() }
    }

    /// Begins to read all partitions from their start; gives how many records they hold.
    pub(super) fn assign(&mut self) -> i64 {
        let asking = BaseConsumer::from_config(ClientConfig::new().set("bootstrap.servers", &self.brokers));
        let asking: BaseConsumer = asking.expect("a client");
        let mut total = 0;
        // SAFETY: the list is ours until it is destroyed, and names end with a zero.
        unsafe {
            let list = rd_kafka_topic_partition_list_new(8);
            for (_, topic) in TOPICS {
                let name = CString::new(topic).expect("no zero");
                let metadata = asking.fetch_metadata(Some(topic), WAIT).expect("metadata");
                for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                    let (low, high) = asking.fetch_watermarks(topic, partition.id(), WAIT).expect("offsets");
                    (*rd_kafka_topic_partition_list_add(list, name.as_ptr(), partition.id())).offset = low;
                    total += high - low;
                }
            }
            let assigned = rd_kafka_assign(self.consumer, list);
            assert_eq!(assigned, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
            rd_kafka_topic_partition_list_destroy(list);
        }
        total
    }

    /// Calls `each` with the length of every value of the next batch.
    pub(super) fn next_batch(&mut self, mut each: impl FnMut(usize)) {
        // SAFETY: the batch has room for as many as are asked for; each is read and destroyed once.
        unsafe {
            let taken =
                rd_kafka_consume_batch_queue(self.queue, WAIT_MILLIS, self.batch.as_mut_ptr(), self.batch.len());
            for message in self.batch.iter().take(usize::try_from(taken).unwrap_or(0)) {
                assert_eq!((**message).err, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
                each((**message).len);
                rd_kafka_message_destroy(*message);
            }
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: nothing else holds them.
        unsafe {
            rd_kafka_queue_destroy(self.queue);
            rd_kafka_consumer_close(self.consumer);
            rd_kafka_destroy(self.consumer);
        }
    }
}

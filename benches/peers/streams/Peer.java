import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Kafka Streams: a stream-stream join of both topics by id, then sums by model and segment in windows of ten seconds. Its
 * usual settings, but that it reads from the start and waits for both topics. {@code java -cp ... Peer BROKERS}
 */
public final class Peer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final List<String> TOPICS = List.of("bench-predictions", "bench-labels");
  /** n, error, absolute, squared, relative, actual, actual squared, delay. */
  private static final int SUMS = 8;

  /** Partitions are not read in step; what comes later than this is dropped. */
  private static final Duration GRACE = Duration.ofMinutes(5);

  private Peer() {}

  record Prediction(long at, double estimate, String model, String region, String device) {}

  record Label(long at, double actual) {}

  record Outcome(double estimate, double actual, double delay, String model, String region, String device) {}

  public static void main(String[] arguments) throws Exception {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "bench-streams-" + System.nanoTime());
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("bench-streams").toString());
    settings.put("auto.offset.reset", "earliest");
    // Without it a task takes what is there first, and most labels would meet no prediction.
    settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, 1_000);
    long total = count(settings);
    AtomicLong seen = new AtomicLong();
    AtomicLong aggregated = new AtomicLong();
    long start = System.nanoTime();
    try (KafkaStreams streams = new KafkaStreams(topology(seen, aggregated), settings)) {
      streams.start();
      // The end: everything was read, and nothing has come out of the aggregates for two seconds.
      long last = -1;
      long lastAt = System.nanoTime();
      while (seen.get() < total || System.nanoTime() - lastAt < 2_000_000_000L) {
        Thread.sleep(20);
        if (aggregated.get() != last) {
          last = aggregated.get();
          lastAt = System.nanoTime();
        }
      }
      double seconds = (lastAt - start) / 1e9;
      System.out.printf("{\"events\": %d, \"seconds\": %.3f, \"outcomes\": %d}%n", total, seconds, aggregated.get() / 3);
      System.out.flush();
      // Closing commits and cleans up, which is not what is measured.
      Runtime.getRuntime().halt(0);
    }
  }

  private static org.apache.kafka.streams.Topology topology(AtomicLong seen, AtomicLong aggregated) {
    StreamsBuilder builder = new StreamsBuilder();
    Consumed<String, byte[]> bytes = Consumed.with(Serdes.String(), Serdes.ByteArray());
    KStream<String, Prediction> predictions =
        builder.stream(TOPICS.get(0), bytes).peek((id, value) -> seen.incrementAndGet())
            .mapValues(Peer::prediction).filter((id, event) -> event != null);
    KStream<String, Label> labels =
        builder.stream(TOPICS.get(1), bytes).peek((id, value) -> seen.incrementAndGet())
            .mapValues(Peer::label).filter((id, event) -> event != null);
    predictions
        .join(labels, Peer::outcome,
            JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(300), GRACE)
                .before(Duration.ZERO),
            StreamJoined.with(Serdes.String(), json(Prediction.class), json(Label.class)))
        .flatMap((id, outcome) -> List.of(
            KeyValue.pair(outcome.model(), outcome),
            KeyValue.pair(outcome.model() + "|region=" + outcome.region(), outcome),
            KeyValue.pair(outcome.model() + "|device=" + outcome.device(), outcome)))
        .groupByKey(Grouped.with(Serdes.String(), json(Outcome.class)))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), GRACE))
        .aggregate(() -> new double[SUMS], (key, outcome, sums) -> {
          aggregated.incrementAndGet();
          return add(outcome, sums);
        }, Materialized.with(Serdes.String(), doubles()));
    return builder.build();
  }

  private static double[] add(Outcome outcome, double[] sums) {
    double error = outcome.estimate() - outcome.actual();
    double[] next = sums.clone();
    next[0] += 1;
    next[1] += error;
    next[2] += Math.abs(error);
    next[3] += error * error;
    next[4] += Math.abs(error / outcome.actual());
    next[5] += outcome.actual();
    next[6] += outcome.actual() * outcome.actual();
    next[7] += outcome.delay();
    return next;
  }

  private static Outcome outcome(Prediction prediction, Label label) {
    double delay = (label.at() - prediction.at()) / 1e3;
    return new Outcome(
        prediction.estimate(), label.actual(), delay, prediction.model(), prediction.region(), prediction.device());
  }

  private static Prediction prediction(byte[] value) {
    try {
      JsonNode tree = JSON.readTree(value);
      JsonNode segment = tree.get("segment");
      return new Prediction(tree.get("ts").asLong(), tree.get("prediction").asDouble(),
          tree.get("model").get("name").asText(), segment.get("region").asText(), segment.get("device").asText());
    } catch (java.io.IOException | NullPointerException noEvent) {
      return null;
    }
  }

  private static Label label(byte[] value) {
    try {
      JsonNode tree = JSON.readTree(value);
      return new Label(tree.get("ts").asLong(), tree.get("actual").asDouble());
    } catch (java.io.IOException | NullPointerException noEvent) {
      return null;
    }
  }

  private static <T> Serde<T> json(Class<T> type) {
    return Serdes.serdeFrom((topic, value) -> {
      try {
        return value == null ? null : JSON.writeValueAsBytes(value);
      } catch (java.io.IOException problem) {
        throw new java.io.UncheckedIOException(problem);
      }
    }, (topic, bytes) -> {
      try {
        return bytes == null ? null : JSON.readValue(bytes, type);
      } catch (java.io.IOException problem) {
        throw new java.io.UncheckedIOException(problem);
      }
    });
  }

  private static Serde<double[]> doubles() {
    return Serdes.serdeFrom((topic, sums) -> {
      ByteBuffer buffer = ByteBuffer.allocate(8 * SUMS);
      buffer.asDoubleBuffer().put(sums);
      return buffer.array();
    }, (topic, bytes) -> {
      if (bytes == null) {
        return null;
      }
      double[] sums = new double[SUMS];
      ByteBuffer.wrap(bytes).asDoubleBuffer().get(sums);
      return sums;
    });
  }

  /** How many records there are. */
  private static long count(Properties settings) throws Exception {
    try (Admin admin = Admin.create(settings)) {
      List<TopicPartition> partitions = admin.describeTopics(TOPICS).allTopicNames().get().values().stream()
          .flatMap(topic -> topic.partitions().stream().map(one -> new TopicPartition(topic.name(), one.partition())))
          .toList();
      long total = 0;
      for (boolean end : new boolean[] {false, true}) {
        Map<TopicPartition, OffsetSpec> asked = partitions.stream()
            .collect(Collectors.toMap(one -> one, one -> end ? OffsetSpec.latest() : OffsetSpec.earliest()));
        long sum = admin.listOffsets(asked).all().get().values().stream().mapToLong(found -> found.offset()).sum();
        total += end ? sum : -sum;
      }
      return total;
    }
  }
}

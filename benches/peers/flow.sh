# shellcheck shell=bash disable=SC2034
# Shared by benches/latency and benches/soak; sourced, not run. A broker, a mail server that notes when it took each
# mail, and the daemon between them.
#
# Needs what tests/kafka needs, and Python 3.

# shellcheck source=tests/servers/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../tests/servers/common.sh"

peers=$root/benches/peers
topics=(flow-predictions flow-labels)
children=()

build() {
  debian_install build-essential perl openjdk-17-jdk-headless maven openssl python3
  say "building"
  cargo build -q --release
  cargo bench -q --bench peers --no-run
  flow=$(cargo bench --bench peers --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')
}

# shellcheck disable=SC2317 # The trap calls it.
clean_up() {
  trap '' INT TERM
  local child
  for child in "${children[@]}"; do
    kill "$child" 2>/dev/null || true
    wait "$child" || true
  done
  "$root/tests/kafka" stop || say "could not stop Kafka"
  rm -rf "$MODELWATCH_TEST_DIR"
}

# `start NAME`: everything, up to a daemon that is ready. Sets `flow`, `daemon` and `address`, and writes $work/mails.
start() {
  mkdir -p "$work_root"
  MODELWATCH_TEST_DIR=$(mktemp -d "$work_root/$1.XXXXXX")
  export MODELWATCH_TEST_DIR
  work=$MODELWATCH_TEST_DIR
  build
  trap clean_up EXIT
  local exports topic sink
  exports=$("$root/tests/kafka" start)
  eval "$exports"
  for topic in "${topics[@]}"; do
    # A few minutes of the flow at most are kept.
    "$root/tests/kafka" exec topics --create --topic "$topic" --partitions 4 --config retention.bytes=500000000 \
      --config segment.bytes=100000000 >/dev/null
  done
  sink=127.0.0.1:$(free_port) address=127.0.0.1:$(free_port)
  python3 "$peers/sink.py" "$sink" "$work/mails" &
  children+=($!)
  local state=${STATE:-$work/state}
  mkdir -p "$state"
  sed -e "s|@BROKERS@|$MODELWATCH_TEST_KAFKA|" -e "s|@SINK@|$sink|" -e "s|@STATE@|$state|" \
    -e "s|@ADDRESS@|$address|" "$peers/flow.toml" >"$work/flow.toml"
  "$root/target/release/modelwatch" run "$work/flow.toml" 2>"$work/daemon.log" &
  daemon=$!
  children=("$daemon" "${children[@]}")
  wait_until 60 is_ready || { cat "$work/daemon.log" >&2; die "the daemon is not ready"; }
}
is_ready() { python3 -c "import urllib.request; urllib.request.urlopen('http://$address/ready')" 2>/dev/null; }

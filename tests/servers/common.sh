# shellcheck shell=bash disable=SC2034
# Shared by tests/kafka, tests/mail and tests/all; sourced, not run.
#
# Environment: MODELWATCH_TEST_DIR, where running servers keep their files (default: target/servers). Two runs on one
# machine need two such directories; what is downloaded stays in target/ and is shared.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work_root=${MODELWATCH_TEST_DIR:-$root/target/servers}

# Standard output is for the `export` lines alone; people read standard error.
say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

# `as_root COMMAND...`: directly, or by sudo for a user who has it.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "this needs root (for \`$*\`), and there is no sudo: run it as root"
  fi
}

# `debian_install PACKAGE...`: installs what is missing.
debian_install() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "not a Debian: install by hand what these packages hold: ${missing[*]}"
  say "installing ${missing[*]}"
  as_root apt-get -qq update >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}" >&2
}

# `debian_unpack DIR PACKAGE...`: the files of packages below DIR, without installing them: no service is started, no
# account made, and a mail server that the machine already has stays in place.
debian_unpack() {
  local dir=$1 package; shift
  mkdir -p "${dir%/*}"
  (
    flock 8 # Two runs that start together unpack once.
    [ ! -e "$dir/.complete" ] || exit 0
    command -v apt-get >/dev/null || die "not a Debian: cannot get the packages $*"
    say "unpacking $* into $dir"
    rm -rf "$dir" && mkdir -p "$dir/packages"
    cd "$dir/packages" || exit 1
    local get=(apt-get -qq -o APT::Sandbox::User=root download "$@")
    { "${get[@]}" || { as_root apt-get -qq update && "${get[@]}"; }; } >&2
    for package in *.deb; do dpkg-deb -x "$package" "$dir"; done
    rm -r "$dir/packages"
    touch "$dir/.complete"
  ) 8>"$dir.lock"
}

# A port on which nobody listens, below the range that the kernel gives to outgoing connections.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# `wait_until SECONDS COMMAND...`: polls; fails when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $deadline ] || return 1; sleep 0.1; done
}

# `runs PIDFILE WORD`: whether that process lives and has WORD in its command line (a pid may have been given anew).
runs() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2"
}

# `make_certificates DIR`: DIR/ca.pem and, signed by it for localhost and 127.0.0.1, DIR/server.pem with DIR/server.key.
make_certificates() {
  mkdir -p "$1"
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30)
  {
    openssl req -x509 "${key[@]}" -keyout "$1/ca.key" -out "$1/ca.pem" -subj "/CN=modelwatch test authority"
    openssl req -x509 "${key[@]}" -keyout "$1/server.key" -out "$1/server.pem" -subj "/CN=localhost" \
      -CA "$1/ca.pem" -CAkey "$1/ca.key" -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
      -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth"
  } 2>/dev/null
}

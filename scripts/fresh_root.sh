#!/usr/bin/env bash
# Show that both commands of the README work from a bare Debian 12 with only bash and apt: makes such a root with
# debootstrap, puts the committed tree into it, and runs scripts/serve.sh (with a curl request) and scripts/test.sh there.
#   sudo scripts/fresh_root.sh [FOLDER]     needs root, debootstrap and about 3 GB
set -euo pipefail
cd "$(dirname "$0")/.."
root=${1:-$(mktemp -d)/root}
port=18080

echo "== making a bare Debian 12 in $root"
debootstrap --variant=minbase bookworm "$root" >/dev/null
# Background jobs get process groups of their own: the server is the last of a few processes that one starts.
set -m
stop_server() { [ -z "${server:-}" ] || kill -- "-$server" 2>/dev/null || true; }
cleanup() {
  stop_server
  for mount in shared proc dev/shm dev; do mountpoint -q "$root/$mount" && umount "$root/$mount"; done
}
trap cleanup EXIT
mkdir -p "$root/qwend" "$root/shared"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
# The reference data, where it is beside the checkout, and what the network of this machine needs.
[ -d "${QWEND_SHARED:-../shared}/data" ] && mount --bind "${QWEND_SHARED:-../shared}" "$root/shared"
cp /etc/resolv.conf "$root/etc/resolv.conf"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  mkdir -p "$root/usr/local/host-certs" && cp /etc/ssl/certs/ca-certificates.crt "$root/usr/local/host-certs/"
  export PIP_CERT=/usr/local/host-certs/ca-certificates.crt
fi
git archive HEAD | tar -x -C "$root/qwend"
in_root() { chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
  ${PIP_CERT:+PIP_CERT=$PIP_CERT} "$@"; }

echo "== scripts/serve.sh"
start=$(date +%s)
in_root /qwend/scripts/serve.sh --port $port >"$root/serve.log" 2>&1 &
server=$!
until curl -fsS "http://127.0.0.1:$port/readyz" >/dev/null 2>&1; do
  kill -0 "$server" 2>/dev/null || { tail -20 "$root/serve.log"; exit 1; }
  sleep 0.5
done
echo "ready after $(($(date +%s) - start)) s"
curl -sS "http://127.0.0.1:$port/v1/chat/completions" -H 'Content-Type: application/json' \
  -d '{"messages":[{"role":"user","content":"Write a haiku about GPU computing that includes the word \"forty-six\""}]}'
echo
stop_server
wait "$server" || true
server=

echo "== scripts/test.sh"
start=$(date +%s)
in_root /qwend/scripts/test.sh >"$root/test.log" 2>&1 || { tail -40 "$root/test.log"; exit 1; }
tail -30 "$root/test.log"
echo "tests passed after $(($(date +%s) - start)) s"

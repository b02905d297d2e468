#!/usr/bin/env bash
# Two hosts that are network namespaces of this machine, a link of a given rate between them, and a command under mpirun of Open MPI on
# each: what many machines are to trivium, as far as one machine shows it. Needs root, ip and tc (iproute2), Open MPI.
#
# usage: tests/by_hand/two_hosts.sh MBIT COMMAND...     MBIT 0: as fast as the link goes. The bytes that each host sent are said at the end.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '5s/^# //p' "$0"; exit 2; }
[ "$(id -u)" = 0 ] || { echo "two_hosts: making network namespaces needs root" >&2; exit 2; }
for program in ip tc mpirun.openmpi; do
    command -v $program >/dev/null || { echo "two_hosts: $program is not installed" >&2; exit 2; }
done
rate=$1
shift
name=tv$$
agent=$(mktemp)
# shellcheck disable=SC2317 # the trap calls it
clean() {
    ip netns delete "${name}a" 2>/dev/null || true
    ip netns delete "${name}b" 2>/dev/null || true
    rm -f "$agent"
}
trap clean EXIT
ip netns add "${name}a"
ip netns add "${name}b"
ip link add "${name}x" netns "${name}a" type veth peer name "${name}y" netns "${name}b"
up() { # NAMESPACE LINK ADDRESS
    ip -n "$1" address add "$3/24" dev "$2"
    ip -n "$1" link set lo up
    ip -n "$1" link set "$2" up
    # A bucket of a millisecond, and a queue of ten: what a switch has.
    [ "$rate" = 0 ] || tc -n "$1" qdisc add dev "$2" root tbf rate "${rate}mbit" burst "$((rate * 125 + 65536))" latency 10ms
}
up "${name}a" "${name}x" 10.77.0.1
up "${name}b" "${name}y" 10.77.0.2
# In place of ssh: the daemon of the second host, with a host's name of its own.
cat >"$agent" <<END
#!/bin/sh
shift
exec ip netns exec ${name}b unshare --uts sh -c 'hostname ${name}b; eval "\$*"' sh "\$@"
END
chmod +x "$agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
passed=() # along, beside what mpirun passes by itself
for variable in TRIVIUM_CACHE_DIR TRIVIUM_CPU_VECTORS; do [ -z "${!variable:-}" ] || passed+=(-x "$variable"); done
status=0
ip netns exec "${name}a" unshare --uts sh -c "hostname ${name}a; exec \"\$@\"" sh \
    mpirun.openmpi --bind-to none --mca plm_rsh_agent "$agent" --mca pml ob1 --mca btl tcp,self --mca btl_tcp_eager_limit 8388608 \
    --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 -H 10.77.0.1,10.77.0.2 -n 2 "${passed[@]}" "$@" || status=$?
sent() { ip netns exec "$1" cat "/sys/class/net/$2/statistics/tx_bytes"; }
echo "two_hosts: $(sent "${name}a" "${name}x") bytes sent by the first host, $(sent "${name}b" "${name}y") by the second" >&2
exit "$status"

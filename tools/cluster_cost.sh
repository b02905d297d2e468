#!/usr/bin/env bash
# What a step of training costs on several devices, from the model of docs/clusters.md: its table is this script's output.
#
# usage: tools/cluster_cost.sh [NAME=VALUE...]     names and defaults: the lines with a # below
set -euo pipefail
awk '
function least(a, b) { return a < b ? a : b }
function most(a, b) { return a > b ? a : b }
# Seconds in which each rank of a machine gets x bytes from the others, and gives as many.
function handed(x, ranks) {
    return network > 0 ? x / (network * 1e9 / 8 * 0.94) + buckets * delay : x / (least(copy, memory / (2 * ranks)) * 1e9)
}
function step(N,    G, g, P, W, others, c, backward, exchange, shown, weights) {
    g = groups                               # of each rank
    P = parameters * gradient; W = parameters * width
    others = (N - 1) / N
    c = tokens / rate / (N * g)              # computing of a group
    backward = 2 / 3 * c / micro_batches     # of its last micro-batch, behind which buckets become free
    taken = N > 1 ? P / (bus * 1e9) : 0
    exchange = N > 1 ? handed(P * others, N) : 0
    hidden = least(exchange * (1 - 1 / buckets), (backward + taken) * (1 - 1 / buckets))
    weights = N > 1 ? W / N / (bus * 1e9) + handed(W * others, N) + W * others / (bus * 1e9) : 0
    alone = tokens / rate + update
    all = g * (c + taken + exchange - hidden + taken) + update / N + weights
    return all
}
BEGIN {
    parameters = 124e6                       # that are trained
    width = 4                                # bytes of a weight
    gradient = 4                             # bytes of a gradient that goes round; 2 with train.grad_exchange=bf16
    rate = 50000                             # tokens/s of a device alone
    tokens = 524288                          # of a step, all devices together
    groups = 1                               # of each rank in a step
    micro_batches = 16                       # of a group
    buckets = 124                            # parameters / 2^20, 8 at least
    update = 0.02                            # seconds of AdamW on one device
    bus = 25                                 # GB/s between device and host, each way
    copy = 10                                # GB/s that one rank copies in the memory of its machine
    memory = 200                             # GB/s of the memory of a machine, all ranks together
    network = 0                              # Gbit/s of a rank; 0: all ranks are in one machine
    delay = 0.0001                           # seconds of a transfer that goes over a network
    for (i = 1; i < ARGC; i++) {
        split(ARGV[i], given, "=")
        if (given[1] == "parameters") parameters = given[2]
        else if (given[1] == "width") width = given[2]
        else if (given[1] == "gradient") gradient = given[2]
        else if (given[1] == "rate") rate = given[2]
        else if (given[1] == "tokens") tokens = given[2]
        else if (given[1] == "groups") groups = given[2]
        else if (given[1] == "micro_batches") micro_batches = given[2]
        else if (given[1] == "buckets") buckets = given[2]
        else if (given[1] == "update") update = given[2]
        else if (given[1] == "bus") bus = given[2]
        else if (given[1] == "copy") copy = given[2]
        else if (given[1] == "memory") memory = given[2]
        else if (given[1] == "network") network = given[2]
        else if (given[1] == "delay") delay = given[2]
        else { print "cluster_cost: expected NAME=VALUE with a name of the script, found " ARGV[i] >"/dev/stderr"; exit 2 }
    }
    print "devices  seconds a step  tokens/s  efficiency"
    for (N = 1; N <= 64; N *= 2) {
        s = step(N)
        printf "%7d  %14.3f  %8.0f  %9.1f %%\n", N, s, tokens / s, 100 * (tokens / rate + update) / N / s
    }
}' "$@"

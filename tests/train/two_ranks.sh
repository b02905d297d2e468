#!/usr/bin/env bash
# Two ranks train and measure together in seconds, with the bits of one: what ctest, and with it the rungs of the sanitizers and of the
# validation layer, sees of several ranks. The rung mpi has the rest.
#
# usage: tests/train/two_ranks.sh TRIVIUM MPIRUN FOLDER     FOLDER is made anew
set -euo pipefail
trivium=$1 mpirun=$2 folder=$3
"$trivium" devices >/dev/null 2>&1 || { echo "no usable Vulkan device"; exit 77; }
command -v "$mpirun" >/dev/null || { echo "no $mpirun, which the build found: another machine"; exit 77; }
rm -rf "$folder" && mkdir -p "$folder"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # a container's user
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0             # MPI's own, of plugins that are gone at the end
launcher=("$mpirun")
! "$mpirun" --version 2>&1 | grep -q 'Open MPI\|OpenRTE' || launcher+=(--oversubscribe --bind-to none)

perl -e 'print pack("l<256", 20240520, 1, 1024, (0) x 253), pack("S<*", map { ($_ * $_ + 7 * $_) % 61 } 0 .. 1023)' >"$folder/shard.bin"
cat >"$folder/config.json" <<END
{"model": {"model_type": "llama", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
  "num_attention_heads": 2, "max_position_embeddings": 32},
 "data": {"train": ["$folder/shard.bin"], "val": ["$folder/shard.bin"], "seq_len": 32},
 "train": {"steps": 3, "batch_size": 2, "grad_accum": 2, "grad_groups": 2, "lr": 0.01, "eval_tokens": 256}}
END
"$trivium" pretrain --config "$folder/config.json" --out "$folder/one" --stop-after 2 --quiet
"${launcher[@]}" -n 2 "$trivium" pretrain --config "$folder/config.json" --out "$folder/two" --stop-after 2 --quiet
cmp "$folder/one/checkpoints/last/model.safetensors" "$folder/two/checkpoints/last/model.safetensors"
cmp "$folder/one/checkpoints/last/training_state/optimizer.safetensors" "$folder/two/checkpoints/last/training_state/optimizer.safetensors"
# Gradients in bf16, whose errors a second step adds and the checkpoint has.
"$trivium" pretrain --config "$folder/config.json" --out "$folder/one-bf16" --stop-after 2 --quiet --set train.grad_exchange=bf16
"${launcher[@]}" -n 2 "$trivium" pretrain --config "$folder/config.json" --out "$folder/two-bf16" --stop-after 2 --quiet --set train.grad_exchange=bf16
cmp "$folder/one-bf16/checkpoints/last/model.safetensors" "$folder/two-bf16/checkpoints/last/model.safetensors"
cmp "$folder/one-bf16/checkpoints/last/training_state/optimizer.safetensors" "$folder/two-bf16/checkpoints/last/training_state/optimizer.safetensors"
! cmp -s "$folder/one/checkpoints/last/model.safetensors" "$folder/one-bf16/checkpoints/last/model.safetensors" || { echo "bf16 rounds nothing"; exit 1; }
evaluate=(eval --model "$folder/one" --data "$folder/shard.bin" --batch-size 4 --json --quiet)
"$trivium" "${evaluate[@]}" --logprobs "$folder/one.txt" >"$folder/one.json"
"${launcher[@]}" -n 2 "$trivium" "${evaluate[@]}" --logprobs "$folder/two.txt" >"$folder/two.json"
cmp "$folder/one.txt" "$folder/two.txt"
cmp "$folder/one.json" "$folder/two.json"
echo "two ranks give the bits of one"

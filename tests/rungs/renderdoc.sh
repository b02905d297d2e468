#!/usr/bin/env bash
# RenderDoc captures one pretraining step without a window, and in the capture every dispatch stands under a label
# that says stage, layer, operation and kernel with its shape. Needs: renderdoccmd (tools/setup.sh --test installs it).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --test
command -v renderdoccmd >/dev/null || skip_rung "renderdoccmd is not installed"
build release
work=$PWD/$work # renderdoccmd starts the program in the program's own folder
rm -rf "$work/run" "$work"/*.rdc

# A shard of llm.c's format with 4,096 tokens below 64, and a model that takes a moment.
perl -e 'binmode STDOUT; print pack("l<256", 20240520, 1, 4096, (0) x 253), pack("S<*", map { $_ * $_ % 61 } 1 .. 4096)' \
    >"$work/tokens.bin"
cat >"$work/config.json" <<END
{ "model": { "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 64, "n_positions": 32,
             "n_embd": 32, "n_layer": 2, "n_head": 2 },
  "data": { "train": ["$work/tokens.bin"], "seq_len": 32 },
  "train": { "steps": 4, "batch_size": 2, "lr": 1e-3, "warmup_steps": 1, "checkpoint_every": 4, "seed": 1 } }
END
renderdoccmd capture --wait-for-exit --capture-file "$work/step" \
    build/bin/trivium pretrain --config "$work/config.json" --out "$work/run" --capture-step 2 >"$work/capture.log" 2>&1 || {
    tail -n 20 "$work/capture.log"
    fail_rung "pretrain --capture-step 2 under renderdoccmd"
}
capture=$(find "$work" -name '*.rdc' | sort | head -n 1)
[ -n "$capture" ] || fail_rung "renderdoccmd wrote no capture; see $work/capture.log"
renderdoccmd convert --filename "$capture" --output "$work/step.xml" --convert-format xml >>"$work/capture.log" 2>&1 ||
    fail_rung "renderdoccmd convert; see $work/capture.log"

# Labels nest within a command buffer: one line "DISPATCHES UNLABELLED", then each distinct label path.
awk '
    /<chunk .*name="/                   { chunk = $0; sub(/.* name="/, "", chunk); sub(/".*/, "", chunk); buffer = "" }
    /<ResourceId name="[cC]ommandBuffer"/ { if (buffer == "") { buffer = $0; sub(/<\/.*/, "", buffer); sub(/.*>/, "", buffer) } }
    /<string name="pLabelName"/         { label = $0; sub(/<\/.*/, "", label); sub(/.*>/, "", label) }
    /<\/chunk>/ {
        if (chunk == "vkBeginCommandBuffer") depth[buffer] = 0
        if (chunk == "vkCmdBeginDebugUtilsLabelEXT") path[buffer, ++depth[buffer]] = label
        if (chunk == "vkCmdEndDebugUtilsLabelEXT" && depth[buffer] > 0) depth[buffer]--
        if (chunk ~ /^vkCmdDispatch/) {
            dispatches++
            full = ""
            for (i = 1; i <= depth[buffer]; i++) full = full (i > 1 ? "/" : "") path[buffer, i]
            # pretrain / part of the step / [layer /] operation / kernel and shape
            n = split(full, parts, "/")
            if (n < (full ~ /layer [0-9]/ ? 5 : 4) || parts[1] != "pretrain" || parts[n] !~ /^[a-z_0-9.]+ [0-9x]+$/) bad++
            seen[full]++
        }
    }
    END { print dispatches + 0, bad + 0; for (full in seen) print seen[full], full }' "$work/step.xml" >"$work/labels.txt"
read -r dispatches unlabelled <"$work/labels.txt"
[ "$dispatches" -gt 20 ] || fail_rung "the capture holds only $dispatches dispatches; a step has more ($work/step.xml)"
[ "$unlabelled" = 0 ] || {
    sed 1d "$work/labels.txt" | head -n 40
    fail_rung "$unlabelled of $dispatches dispatches are not under labels pretrain/PART/[LAYER/]OPERATION/KERNEL SHAPE (those seen are above)"
}
for operation in attention matmul adamw; do
    grep -q "$operation" "$work/labels.txt" || fail_rung "no dispatch is labelled '$operation' ($work/labels.txt)"
done
say "$dispatches dispatches, each under one of $(($(wc -l <"$work/labels.txt") - 1)) labels"
passed=1
finish

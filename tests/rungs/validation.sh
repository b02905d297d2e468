#!/usr/bin/env bash
# The Khronos validation layer with synchronization validation has nothing to say over kernel and training tests.
# Needs: vulkan-validationlayers (tools/setup.sh --test installs it). The layer writes to a file by itself, so
# that no test can swallow a message.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh --test
layer=
for folder in /usr/share/vulkan/explicit_layer.d /etc/vulkan/explicit_layer.d /usr/local/share/vulkan/explicit_layer.d; do
    [ ! -e $folder/VkLayer_khronos_validation.json ] || layer=$folder
done
[ -n "$layer" ] || skip_rung "the layer VK_LAYER_KHRONOS_validation is not installed"
build release

# The layer empties its log file in each process, so it writes into a pipe that one reader keeps.
messages=$work/messages.txt
rm -f "$work/pipe" && mkfifo "$work/pipe"
cat "$work/pipe" >"$messages" &
reader=$!
exec 5>"$work/pipe"
# 'info' is asked for because of one message: that the layer is active, and with which settings.
cat >"$work/vk_layer_settings.txt" <<END
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn,perf,info
khronos_validation.log_filename = $PWD/$work/pipe
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
khronos_validation.enable_message_limit = false
END
export VK_LAYER_SETTINGS_PATH=$PWD/$work
export VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
export TRIVIUM_TEST_ONCE=1
# Where rewards come from changes nothing that the device is told.
run_ctest build -L 'vk|kernels|model|train|run|reward|stages' -E '^stages/(rewards|reward_program|ranks_ask|planted)$' "$@"
exec 5>&-
wait $reader

active=$(grep -c 'Khronos Validation Layer Active' "$messages" || true)
with_sync=$(grep -c 'Enables: .*SYNCHRONIZATION_VALIDATION' "$messages" || true)
if [ "$active" = 0 ] || [ "$active" != "$with_sync" ]; then
    fail_rung "the layer was active $active times, $with_sync of them with synchronization validation; see $messages"
fi
grep -E 'Validation (Error|Warning|Performance Warning): ' "$messages" >"$work/findings.txt" || true
if [ -s "$work/findings.txt" ]; then
    head -n 40 "$work/findings.txt" | cut -c 1-600
    fail_rung "$(grep -c . "$work/findings.txt") messages from the validation layer; all are in $work/findings.txt"
fi
say "silent over $active processes"
passed=$((passed + 1))
finish

#!/usr/bin/env bash
# The includes point one way, from each room of runtime/ to those below it (the table of rows in check, which is
# docs/architecture.md's). Only runtime/vk includes Vulkan, volk or RenderDoc headers; POSIX headers stay in runtime/base;
# public headers and samples see nothing but include/trivium and the C standard library.
#
# usage: tests/check_includes.sh [ROOT]     names each include that breaks a rule; exit 0 where none does
# First it checks itself on a small tree in which every rule is broken once.
set -euo pipefail

check() { # ROOT: prints "FILE:LINE: reason" for each breach
    (
        cd "$1"
        # shellcheck disable=SC2016 # awk's own $
        { find runtime include tools samples -name '*.[ch]' 2>/dev/null || true; } | sort | xargs -r awk '
            BEGIN {
                # Each room after those that it stands on; it may include whatever they may.
                split("base| vk|base kernels|vk text|base human|text model|kernels formats|model,text train|model " \
                      "run|train,formats reward|run stages|reward,human report|run api|stages", rows, " ")
                for (i = 1; i in rows; i++) {
                    split(rows[i], row, "|"); may[row[1]] = "," row[1] ","
                    below = split(row[2], on, ",")
                    for (j = 1; j <= below; j++) may[row[1]] = may[row[1]] may[on[j]]
                }
                posix = "^(unistd|pthread|fcntl|dirent|dlfcn|ftw|sched|poll|termios|netdb|semaphore|spawn|fnmatch|glob)\\.h$" \
                        "|^(sys|netinet|arpa|linux)/"
                gpu = "^(vulkan/|vk_video/|volk|renderdoc|spirv)"
            }
            function breach(reason) { print FILENAME ":" FNR ": " $0 ": " reason; }
            /^[ \t]*#[ \t]*include[ \t]/ {
                header = $0
                sub(/^[ \t]*#[ \t]*include[ \t]*["<]/, "", header); sub(/[">].*/, "", header)
                quoted = $0 ~ /include[ \t]*"/
                split(FILENAME, path, "/"); layer = path[1] == "runtime" ? path[2] : path[1]
                folder = header ~ /\// ? substr(header, 1, index(header, "/") - 1) : ""

                if (layer == "include" || layer == "samples") {
                    if (folder != "trivium" && (quoted || header !~ /^[a-z0-9]+\.h$/ || header ~ posix || header ~ gpu))
                        breach("only trivium/ and the C standard library belong here")
                    next
                }
                if (layer != "vk" && header ~ gpu)
                    breach("only runtime/vk includes Vulkan, volk, SPIR-V or RenderDoc headers")
                if (path[1] == "runtime" && layer != "base" && !(layer == "vk" && header == "dlfcn.h") && header ~ posix)
                    breach("POSIX belongs in runtime/base")
                # The one header that C and GLSL share (shaders/include): for the kernels and what stands on them.
                if (header == "push_constants.h" || header == "sizes.h") {
                    if (FILENAME !~ "^tools/" && index(may[layer], ",kernels,") == 0) breach("this is below the kernels")
                    next
                }
                if (header == "mpi.h" && FILENAME !~ "^runtime/train/mpi/")
                    breach("MPI belongs in runtime/train/mpi")
                # What the stages of reinforcement learning share is in stages/policy, and knows neither of them.
                if (FILENAME ~ "^runtime/stages/(policy|ppo|grpo)/" && header ~ "^stages/(ppo|grpo)/" &&
                    index(header, "stages/" path[3] "/") != 1)
                    breach("stages/" path[3] " must not depend on the other stage")
                if (quoted && folder == "")
                    breach("name its folder, as in \"base/status.h\"")
                if (path[1] == "runtime" && !(layer in may))
                    breach("runtime/" layer " is not among the layers of " "tests/check_includes.sh")
                else if (path[1] == "runtime" && (folder in may) && index(may[layer], "," folder ",") == 0)
                    breach(layer " must not depend on " folder)
                else if (path[1] == "runtime" && (folder == "tools" || folder == "tests"))
                    breach("the runtime must not depend on " folder)
            }'
    )
}

self_check() {
    local tree found
    tree=$(mktemp -d)
    trap 'rm -rf "$tree"' RETURN
    mkdir -p "$tree"/runtime/{base,vk,kernels,text,human,model,formats,train,run,reward,stages/{policy,ppo,grpo},report,api,odd} "$tree"/include/trivium "$tree"/tools "$tree"/samples
    # Twenty-one breaches, among includes that are right.
    printf '#include "vk/device.h"\n#include <unistd.h>\n' >"$tree/runtime/base/a.c"            # 1: upwards
    printf '#include <volk.h>\n#include "base/a.h"\n#include <dlfcn.h>\n' >"$tree/runtime/vk/a.c" # fine
    printf '#include <vulkan/vulkan.h>\n#include "push_constants.h"\n' >"$tree/runtime/kernels/a.c" # 2: Vulkan
    printf '#include "model/a.h"\n#  include "base/a.h"\n' >"$tree/runtime/text/a.h"             # 3: sideways
    printf '#include "train/a.h"\n#include <pthread.h>\n' >"$tree/runtime/model/a.c"             # 4, 5: upwards, POSIX
    printf '#include "step.h"\n#include "tools/a.h"\n' >"$tree/runtime/train/a.c"                # 6, 7: no folder, tools
    printf '#include "push_constants.h"\n' >"$tree/runtime/text/b.c"                             # 12: below the kernels
    printf '#include "base/a.h"\n' >"$tree/runtime/odd/a.c"                                     # 8: unknown layer
    printf '#include "base/a.h"\n#include <stdint.h>\n#include "trivium/b.h"\n' >"$tree/include/trivium/a.h" # 9
    printf '#include "train/a.h"\n#include <volk.h>\n' >"$tree/tools/a.c"                        # 10: Vulkan
    printf '#include <trivium/a.h>\n#include <cjson/cJSON.h>\n' >"$tree/samples/a.c"             # 11: another library
    printf '#include "model/a.h"\n#include "human/a.h"\n' >"$tree/runtime/formats/a.c"           # 13: sideways
    printf '#include "formats/a.h"\n#include "report/a.h"\n' >"$tree/runtime/run/a.c"            # 14: upwards
    printf '#include "run/a.h"\n#include "stages/a.h"\n' >"$tree/runtime/reward/a.c"             # 15: upwards
    printf '#include "reward/a.h"\n#include "human/a.h"\n#include "api/a.h"\n' >"$tree/runtime/stages/ppo/a.c" # 16: upwards
    printf '#include "run/a.h"\n#include "stages/a.h"\n' >"$tree/runtime/report/a.c"             # 17: sideways
    printf '#include "text/a.h"\n#include "kernels/a.h"\n' >"$tree/runtime/human/a.c"            # 18: sideways
    printf '#include "stages/a.h"\n#include "vk/a.h"\n' >"$tree/runtime/api/a.c"                # fine
    mkdir -p "$tree/runtime/train/mpi"
    printf '#include <mpi.h>\n#include "train/mpi/a.h"\n' >"$tree/runtime/train/mpi/a.c"          # fine
    printf '#include <mpi.h>\n' >"$tree/runtime/train/b.c"                                       # 19: MPI
    printf '#include "stages/ppo/a.h"\n#include "stages/policy/a.h"\n' >"$tree/runtime/stages/grpo/a.c" # 20: the other stage
    printf '#include "stages/grpo/a.h"\n#include "stages/rollout.h"\n' >"$tree/runtime/stages/policy/a.c" # 21: upwards
    printf '#include "stages/grpo/b.h"\n#include "stages/policy/a.h"\n' >"$tree/runtime/stages/grpo/b.c" # fine
    found=$(check "$tree" | wc -l)
    [ "$found" = 21 ] || {
        echo "check_includes: finds $found of the 21 breaches planted in its own test:" >&2
        check "$tree" >&2
        return 1
    }
}

self_check
breaches=$(check "${1:-$(dirname "$0")/..}")
[ -z "$breaches" ] || {
    echo "$breaches"
    exit 1
}

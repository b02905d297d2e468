/* The width of llvmpipe's vectors: see cpu_vectors.h. */
#include "vk/cpu_vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"

static bool processor_has_avx512(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

/* Before any driver is loaded: by what kernels show of a GPU. Its driver should keep its shader cache. */
static bool machine_has_gpu(void) {
    enum { FIRST_RENDER_NODE = 128, LAST_RENDER_NODE = 191 };
    static const char *const others[] = {"/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"};
    for (uint64_t i = 0; i < TV_COUNT(others); i++)
        if (tv_path_exists(others[i]))
            return true;
    for (int node = FIRST_RENDER_NODE; node <= LAST_RENDER_NODE; node++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/dri/renderD%d", node);
        if (tv_path_exists(path))
            return true;
    }
    return false;
}

/* The folder of a width within what is set, which is that folder already in a process that another of ours
 * has started; else within the user's cache. */
static tv_status cache_folder(uint32_t bits, char **folder) {
    const char *set = getenv("MESA_SHADER_CACHE_DIR"), *given = set ? set : "";
    char name[32], *own = NULL;
    int length = snprintf(name, sizeof name, "/mesa-%u-bits", bits);
    size_t given_length = strlen(given);
    bool there = given_length >= (size_t)length && strcmp(given + given_length - length, name) == 0;
    *folder = NULL;
    if (given_length == 0)
        TV_RETURN_IF_FAILED(tv_cache_dir(&own));
    *folder = tv_format("%s%s", own ? own : given, there ? "" : name);
    free(own);
    tv_status status =
        *folder ? tv_make_dirs(*folder) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status != TV_OK) {
        free(*folder);
        *folder = NULL;
    }
    return status;
}

static bool has_own_cache;

void tv_cpu_vectors_widen(void) {
    char *folder = NULL, *end = NULL;
    const char *wish = getenv("TRIVIUM_CPU_VECTORS"), *width = getenv("LP_NATIVE_VECTOR_WIDTH");
    uint32_t bits = 512;
    if (width) {
        bits = (uint32_t)strtoul(width, &end, 10);
        if (*end || (bits != 128 && bits != 256 && bits != 512))
            return;
    } else if ((wish && strcmp(wish, "driver") == 0) || !processor_has_avx512() || machine_has_gpu()) {
        return;
    }
    if (cache_folder(bits, &folder) != TV_OK) {
        tv_debug("Mesa's shader cache stays as it is, and vectors on the CPU as wide: %s", tv_last_error());
        return;
    }
    has_own_cache = setenv("MESA_SHADER_CACHE_DIR", folder, 1) == 0;
    if (has_own_cache && !width)
        setenv("LP_NATIVE_VECTOR_WIDTH", "512", 1);
    free(folder);
}

bool tv_cpu_vectors_own_cache(void) {
    return has_own_cache || getenv("MESA_SHADER_CACHE_DISABLE");
}

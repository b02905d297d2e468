/* The self-test of texels: see texels.h. */
#include "kernels/texels.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "kernels/verdict.h"
#include "push_constants.h"
#include "sizes.h"
#include "vk/cpu_vectors.h"
#include "vk/once.h"
#include "vk/transfer.h"

enum { PROBE_TEXELS = 1009 };

tv_status tv_texel_probe(tv_recorder *recorder, uint64_t count, tv_tensor texels, tv_tensor sums) {
    const tv_count_push push = {(uint32_t)count};
    return tv_launch_record(recorder, &(tv_launch){.program = TV_PROGRAM_texel_probe_base,
                                                   .push = &push,
                                                   .invocations = count,
                                                   .bindings = {texels, sums},
                                                   .shape = {count}});
}

/* ---- the problem and its answer ---- */

static float problem(uint32_t word) {
    return (float)(word * 2654435761u >> 12);
}

static bool is_right(const float *sums) {
    for (uint32_t i = 0; i < PROBE_TEXELS; i++)
        for (uint32_t c = 0; c < 4; c++) {
            float sum = 0;
            for (uint32_t j = 0; j <= i % 7; j++)
                sum += problem((13 * i + 5 * j) % PROBE_TEXELS * 4 + c);
            if (!(sums[4 * i + c] == sum))
                return false;
        }
    return true;
}

static tv_status answer(tv_device *device, tv_span texels, tv_span sums) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(
        tv_recorder_begin(device, &(tv_recorder_options){.name = "self-test of texels"}, &recorder));
    TV_TRY_OR_FAIL(
        tv_texel_probe(recorder, PROBE_TEXELS, (tv_tensor){texels, TV_F32}, (tv_tensor){sums, TV_F32}));
    return tv_run_once(&recorder);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

tv_status tv_texels_test(tv_device *device, bool *sound) {
    const uint64_t bytes = PROBE_TEXELS * TV_TEXEL_BYTES;
    /* The view begins behind the start of its buffer. */
    const uint64_t second = TV_TENSOR_ALIGNMENT + tv_align_up(bytes, TV_TENSOR_ALIGNMENT);
    tv_buffer *buffer = NULL;
    float *values = malloc(bytes);
    tv_status status;
    *sound = false;
    if (!values) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a self-test");
        goto done;
    }
    for (uint32_t i = 0; i < PROBE_TEXELS * 4; i++)
        values[i] = problem(i);
    TV_TRY(tv_buffer_create(device, second + bytes, TV_MEMORY_DEVICE, "self-test", &buffer));
    tv_span whole = tv_buffer_span(buffer);
    tv_span texels = tv_span_part(whole, TV_TENSOR_ALIGNMENT, bytes),
            sums = tv_span_part(whole, second, bytes);
    TV_TRY(tv_upload(device, texels, values, bytes));
    TV_TRY(answer(device, texels, sums));
    TV_TRY(tv_download(device, sums, values, bytes));
    *sound = is_right(values);
done:
    tv_buffer_destroy(&buffer);
    free(values);
    return status;
}

/* ---- its verdict ---- */

static tv_verdict judge(tv_device *device) {
    const tv_spirv *shader = tv_program_get(TV_PROGRAM_texel_probe_base)->shader;
    const tv_self_test test = {
        .name = "texels",
        .of = "texel loads",
        .consequence =
            "so kernels do without them, which is slower; another version of the driver, or emptying its "
            "shader cache, may help",
        .seconds = 120, /* a cold compiler on a busy machine takes one */
        .shaders = tv_hash_bytes(shader->words, shader->count * sizeof *shader->words, 0),
        .run = tv_texels_test,
    };
    return tv_device_is_sound(device, &test) ? TV_SOUND : TV_UNSOUND;
}

uint64_t tv_recorder_texels(const tv_recorder *recorder) {
    tv_device *device = tv_recorder_device(recorder);
    const tv_caps *caps = tv_device_caps(device);
    uint32_t lanes = tv_cpu_lanes(caps);
    if (caps->texels == 0 || lanes == 0 || (lanes == TV_CPU_LANES_WIDE && !tv_cpu_vectors_own_cache()))
        return 0;
    tv_verdict *verdict = tv_device_texel_verdict(device);
    if (*verdict == TV_UNTESTED)
        *verdict = judge(device);
    return *verdict == TV_SOUND ? caps->texels : 0;
}

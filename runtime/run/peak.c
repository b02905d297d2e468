/* The measured peak and its cache: see peak.h. */
#include "run/peak.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/rng.h"
#include "kernels/matmul.h"
#include "vk/submit.h"
#include "vk/timestamps.h"
#include "vk/transfer.h"

enum { LEAST_RUNS = 5, PATTERN = 4099 };
/* Long enough to meet a quiet moment of a shared processor, and a GPU at its working clock. */
static const double measured_seconds = 0.3;

/* ---- cache ---- */

/* Everything that a change of makes the old figure wrong. */
static uint64_t fingerprint(const tv_caps *caps) {
    uint64_t hash = tv_caps_hash(caps);
    /* What TRIVIUM_CAPS_MAX can lower and a matrix product's variant depends on. */
    const uint64_t lowered[] = {caps->storage_range, caps->cpu_kernels, caps->subgroup_shuffle, caps->texels};
    hash = tv_hash_bytes(lowered, sizeof lowered, hash);
    for (uint32_t i = 0; i < TV_PROGRAM_COUNT; i++) {
        const tv_spirv *shader = tv_program_get((tv_program_id)i)->shader;
        hash = tv_hash_bytes(shader->words, shader->count * sizeof *shader->words, hash);
    }
    return hash;
}

static char *cache_path(const tv_caps *caps) {
    char *dir = NULL;
    if (tv_cache_dir(&dir) != TV_OK)
        return NULL;
    char *path = tv_format("%s/peak-%016" PRIx64 ".json", dir, fingerprint(caps));
    free(dir);
    return path;
}

static bool read_cache(const char *path, double *flops_per_second) {
    cJSON *root = NULL;
    bool hit = path && tv_json_read_file(path, &root) == TV_OK &&
               tv_json_number(root, "flops_per_second", path, 0, flops_per_second) == TV_OK &&
               isfinite(*flops_per_second) && *flops_per_second > 0;
    cJSON_Delete(root);
    return hit;
}

static void write_cache(const char *path, const tv_caps *caps, double flops_per_second) {
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_string(root, "device", caps->name) &&
                 tv_json_set_string(root, "driver", caps->driver) &&
                 tv_json_set_number(root, "flops_per_second", flops_per_second);
    if (!built || tv_json_write_file(path, root) != TV_OK)
        tv_debug("the measured peak was not kept: %s", tv_last_error());
    cJSON_Delete(root);
}

/* ---- measurement ---- */

static uint64_t size_for(const tv_caps *caps) {
    switch (caps->type) {
    case TV_DEVICE_CPU:
        return 512;
    case TV_DEVICE_DISCRETE:
        return 4096;
    case TV_DEVICE_OTHER:
    case TV_DEVICE_VIRTUAL:
    case TV_DEVICE_INTEGRATED:
        return 2048;
    }
    return 512;
}

/* The pattern's period is a prime, so that rows differ. */
tv_status tv_fill_noise(tv_device *device, tv_span span, uint64_t count) {
    const tv_rng rng = {.stream = TV_STREAM_TEST};
    float *values = malloc(count * sizeof *values);
    if (!values)
        return tv_fail(TV_E_MEMORY, "out of host memory for a measurement");
    for (uint64_t i = 0; i < count; i++)
        values[i] = i < PATTERN ? tv_uniform(&rng, i) - 0.5f : values[i - PATTERN];
    tv_status status =
        tv_upload(device, tv_span_part(span, 0, count * sizeof *values), values, count * sizeof *values);
    free(values);
    return status;
}

static tv_status record_product(tv_device *device, uint64_t n, bool transpose_b, tv_buffer *const *buffers,
                                tv_recording **recording) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(tv_recorder_begin(device, &(tv_recorder_options){.name = "peak"}, &recorder));
    TV_TRY_OR_FAIL(tv_matmul_record(recorder, &(tv_matmul){.m = n,
                                                           .n = n,
                                                           .k = n,
                                                           .transpose_b = transpose_b,
                                                           .a = {tv_buffer_span(buffers[0]), TV_F32},
                                                           .b = {tv_buffer_span(buffers[1]), TV_F32},
                                                           .c = {tv_buffer_span(buffers[2]), TV_F32}}));
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* The best of the runs. */
static tv_status time_product(tv_device *device, uint64_t n, bool transpose_b, tv_buffer *const *buffers,
                              double *best) {
    tv_recording *recording = NULL;
    tv_status status;
    double sum = 0;
    TV_TRY(record_product(device, n, transpose_b, buffers, &recording));
    /* The first run compiles the shader. */
    for (int run = 0; run <= LEAST_RUNS || sum < measured_seconds; run++) {
        uint64_t value;
        double start = tv_seconds(), milliseconds;
        TV_TRY(tv_submit(device, &recording, 1, &value));
        TV_TRY(tv_wait(device, value));
        double wall = tv_seconds() - start;
        TV_TRY(tv_recording_milliseconds(recording, &milliseconds));
        double seconds = milliseconds > 0 ? milliseconds * 1e-3 : wall;
        sum += run > 0 ? wall : 0;
        if (run > 0 && seconds < *best)
            *best = seconds;
    }
done:
    tv_recording_destroy(&recording);
    return status;
}

static tv_status measure(tv_device *device, uint64_t n, double *flops_per_second) {
    static const char *const names[3] = {"peak a", "peak b", "peak c"};
    tv_buffer *buffers[3] = {NULL};
    double best = INFINITY;
    tv_status status;
    for (int i = 0; i < 3; i++)
        TV_TRY(tv_buffer_create(device, n * n * sizeof(float), TV_MEMORY_DEVICE, names[i], &buffers[i]));
    TV_TRY(tv_fill_noise(device, tv_buffer_span(buffers[0]), n * n));
    TV_TRY(tv_fill_noise(device, tv_buffer_span(buffers[1]), n * n));
    TV_TRY(time_product(device, n, false, buffers, &best));
    TV_TRY(time_product(device, n, true, buffers, &best));
    *flops_per_second = 2.0 * (double)n * (double)n * (double)n / best;
done:
    for (int i = 0; i < 3; i++)
        tv_buffer_destroy(&buffers[i]);
    return status;
}

tv_status tv_device_peak(tv_device *device, double *flops_per_second) {
    const tv_caps *caps = tv_device_caps(device);
    char *path = cache_path(caps);
    tv_status status = TV_OK;
    if (!read_cache(path, flops_per_second)) {
        status = measure(device, size_for(caps), flops_per_second);
        if (status == TV_OK)
            write_cache(path, caps, *flops_per_second);
    }
    free(path);
    return status;
}

/* Twice the keys that a token sees on average, summed over layers. */
static double keys_seen(const tv_model_config *config, double tokens) {
    double sum = 0;
    for (uint64_t l = 0; l < config->n_layer; l++) {
        double window = (double)tv_model_config_window(config, l);
        sum += window > 0 && window < tokens ? window * (2 * tokens - window + 1) / tokens : tokens + 1;
    }
    return sum;
}

double tv_step_flops_per_token(const tv_model_config *config, uint64_t tokens) {
    double L = (double)config->n_layer, C = (double)config->channels, F = (double)config->ffn;
    double HD = (double)config->n_head * (double)config->head_size;
    double kv = (double)config->n_kv_head * (double)config->head_size;
    double mlp = (tv_model_config_is_gated(config) ? 3 : 2) * C * F;
    double outputs = config->head == TV_MODEL_HEAD_SCORE ? 1 : (double)config->vocab_size;
    double matrices = L * (C * (HD + 2 * kv) + HD * C + mlp) + outputs * C;
    return 6 * matrices + 6 * HD * keys_seen(config, (double)tokens);
}

/* The self-test of matrix tiers and its cache: see matrices.h. */
#include "kernels/matrices.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/trial.h"
#include "kernels/matmul.h"
#include "vk/submit.h"
#include "vk/transfer.h"

/* Two slices of k, sides that are no multiples of a tile's. */
enum { M = 72, N = 88, K = 544 };
/* A CPU's compiler takes seconds for each of the four forms, ten times that on a busy machine. */
static const double trial_seconds = 300;

/* ---- the problem and its answer ---- */

/* Whole numbers from -4 to 4: exact in every type, and so are their sums. */
static float problem(uint32_t row, uint32_t column) {
    return (float)((row * 2654435761u ^ column * 2246822519u) >> 7 & 7) - (float)(row % 2 + column % 3);
}

static void fill(float *values, uint32_t rows, uint32_t columns, bool transposed, uint32_t salt) {
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t column = 0; column < columns; column++)
            values[transposed ? column * rows + row : row * columns + column] = problem(row + salt, column);
}

static bool is_right(const float *c) {
    for (uint32_t row = 0; row < M; row++)
        for (uint32_t column = 0; column < N; column++) {
            double sum = 0;
            for (uint32_t k = 0; k < K; k++)
                sum += (double)problem(row, k) * (double)problem(k + M, column);
            if (!(c[row * N + column] == (float)sum))
                return false;
        }
    return true;
}

static tv_status answer(tv_device *device, tv_matmul product) {
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    uint64_t value;
    tv_status status;
    TV_TRY(tv_recorder_begin(device, &(tv_recorder_options){.name = "self-test of matrices"}, &recorder));
    TV_TRY(tv_matmul_record(recorder, &product));
    TV_TRY(tv_recorder_end(&recorder, &recording));
    TV_TRY(tv_submit(device, &recording, 1, &value));
    TV_TRY(tv_wait(device, value));
done:
    tv_recorder_abort(&recorder);
    tv_recording_destroy(&recording);
    return status;
}

tv_status tv_matrices_test(tv_device *device, bool *sound) {
    const uint64_t bytes_a = (uint64_t)M * K * sizeof(float), bytes_b = (uint64_t)K * N * sizeof(float),
                   bytes_c = (uint64_t)M * N * sizeof(float);
    const uint64_t at_b = tv_align_up(bytes_a, TV_TENSOR_ALIGNMENT),
                   at_c = at_b + tv_align_up(bytes_b, TV_TENSOR_ALIGNMENT);
    tv_buffer *buffer = NULL;
    float *values = malloc(tv_max_u64(bytes_a, tv_max_u64(bytes_b, bytes_c)));
    tv_status status;
    *sound = false;
    if (!values) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a self-test");
        goto done;
    }
    TV_TRY(tv_buffer_create(device, at_c + bytes_c, TV_MEMORY_DEVICE, "self-test", &buffer));
    tv_span whole = tv_buffer_span(buffer);
    tv_span a = tv_span_part(whole, 0, bytes_a), b = tv_span_part(whole, at_b, bytes_b),
            c = tv_span_part(whole, at_c, bytes_c);
    *sound = true;
    for (int form = 0; form < 4 && *sound; form++) {
        fill(values, M, K, form & 1, 0);
        TV_TRY(tv_upload(device, a, values, bytes_a));
        fill(values, K, N, form & 2, M);
        TV_TRY(tv_upload(device, b, values, bytes_b));
        TV_TRY(answer(device, (tv_matmul){.m = M,
                                          .n = N,
                                          .k = K,
                                          .transpose_a = form & 1,
                                          .transpose_b = form & 2,
                                          .a = {a, TV_F32},
                                          .b = {b, TV_F32},
                                          .c = {c, TV_F32}}));
        TV_TRY(tv_download(device, c, values, bytes_c));
        *sound = is_right(values);
    }
done:
    tv_buffer_destroy(&buffer);
    free(values);
    return status;
}

/* ---- in a process of its own ---- */

enum { ANSWER_RIGHT, ANSWER_WRONG, ANSWER_NONE };

static int test_apart(void *context) {
    const tv_device *outer = context;
    char number[16];
    tv_device *device = NULL;
    bool sound;
    snprintf(number, sizeof number, "%" PRIu32, tv_device_number(outer));
    tv_device_options options = {.select = number, .tier = tv_tier_name(tv_device_caps(outer)->tier)};
    tv_device_forget_inherited();
    if (tv_device_open(&options, &device) != TV_OK || tv_matrices_test(device, &sound) != TV_OK)
        return ANSWER_NONE;
    return sound ? ANSWER_RIGHT : ANSWER_WRONG;
}

/* *known: the verdict will be the same next time. */
static bool self_test(tv_device *device, bool *known) {
    int answer = ANSWER_NONE;
    double start = tv_seconds();
    tv_trial trial = tv_try_apart(test_apart, device, trial_seconds, &answer);
    tv_debug("%s: the self-test of matrices took %.0f ms", tv_device_name(device),
             (tv_seconds() - start) * 1e3);
    *known = trial != TV_TRIAL_NOT_MADE && !(trial == TV_TRIAL_ANSWERED && answer == ANSWER_NONE);
    if (trial == TV_TRIAL_ANSWERED && answer == ANSWER_RIGHT)
        return true;
    const char *end = !*known                     ? "could not be run"
                      : trial == TV_TRIAL_CRASHED ? "crashed the driver"
                      : trial == TV_TRIAL_HUNG    ? "did not end"
                                                  : "gave a wrong answer";
    tv_warn("%s: a self-test of the tier %s %s, so a lower tier is taken, which is slower; another version "
            "of the driver may help",
            tv_device_name(device), tv_tier_name(tv_device_caps(device)->tier), end);
    return false;
}

/* ---- its verdict ---- */

/* What a change of makes the old verdict worthless. */
static char *cache_path(const tv_caps *caps) {
    uint64_t hash = tv_caps_hash(caps);
    for (int id = 0; id < TV_PROGRAM_COUNT; id++) {
        const tv_program *program = tv_program_get((tv_program_id)id);
        if (program->tier == caps->tier)
            hash = tv_hash_bytes(program->shader->words, program->shader->count * sizeof(uint32_t), hash);
    }
    char *dir = NULL;
    if (tv_cache_dir(&dir) != TV_OK)
        return NULL;
    char *path = tv_format("%s/matrices-%016" PRIx64 ".json", dir, hash);
    free(dir);
    return path;
}

static bool read_cache(const char *path, bool *sound) {
    cJSON *root = NULL;
    bool hit = path && tv_json_read_file(path, &root) == TV_OK &&
               cJSON_HasObjectItem(root, "matrices_are_sound") &&
               tv_json_bool(root, "matrices_are_sound", path, false, sound) == TV_OK;
    cJSON_Delete(root);
    return hit;
}

static void write_cache(const char *path, const tv_caps *caps, bool sound) {
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_string(root, "device", caps->name) &&
                 tv_json_set_string(root, "driver", caps->driver) &&
                 tv_json_set_string(root, "tier", tv_tier_name(caps->tier)) &&
                 tv_json_set_bool(root, "matrices_are_sound", sound);
    if (!built || tv_json_write_file(path, root) != TV_OK)
        tv_debug("the verdict of a self-test was not kept: %s", tv_last_error());
    cJSON_Delete(root);
}

static bool is_sound(tv_device *device) {
    const tv_caps *caps = tv_device_caps(device);
    if (caps->tier == TV_TIER_FP32 || tv_device_self_tests_skipped())
        return true;
    char *path = cache_path(caps);
    bool sound = false, known;
    if (!read_cache(path, &sound)) {
        sound = self_test(device, &known);
        if (known)
            write_cache(path, caps, sound);
    }
    free(path);
    return sound;
}

tv_status tv_device_open_sound(const tv_device_options *options, tv_device **device) {
    tv_device_options next = options ? *options : tv_device_default_options();
    for (;;) {
        TV_RETURN_IF_FAILED(tv_device_open(&next, device));
        if (is_sound(*device))
            return TV_OK;
        tv_tier tier = tv_device_caps(*device)->tier;
        do
            tier--;
        while (!tv_caps_has_tier(tv_device_caps(*device), tier));
        next.tier = tv_tier_name(tier);
        tv_device_close(device);
    }
}

/* The self-test of texels and its cache: see texels.h. */
#include "kernels/texels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/trial.h"
#include "push_constants.h"
#include "sizes.h"
#include "vk/capture.h"
#include "vk/cpu_vectors.h"
#include "vk/submit.h"
#include "vk/transfer.h"

enum { PROBE_TEXELS = 1009 };
/* A cold compiler on a busy machine takes a second. */
static const double trial_seconds = 120;

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
    tv_recording *recording = NULL;
    uint64_t value;
    tv_status status;
    TV_TRY(tv_recorder_begin(device, &(tv_recorder_options){.name = "self-test of texels"}, &recorder));
    TV_TRY(tv_texel_probe(recorder, PROBE_TEXELS, (tv_tensor){texels, TV_F32}, (tv_tensor){sums, TV_F32}));
    TV_TRY(tv_recorder_end(&recorder, &recording));
    TV_TRY(tv_submit(device, &recording, 1, &value));
    TV_TRY(tv_wait(device, value));
done:
    tv_recorder_abort(&recorder);
    tv_recording_destroy(&recording);
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

/* ---- in a process of its own ---- */

enum { ANSWER_RIGHT, ANSWER_WRONG, ANSWER_NONE };

static int test_apart(void *context) {
    const tv_device *outer = context;
    char number[16];
    tv_device *device = NULL;
    bool sound;
    snprintf(number, sizeof number, "%" PRIu32, tv_device_number(outer));
    tv_device_forget_inherited();
    if (tv_device_open(&(tv_device_options){.select = number}, &device) != TV_OK ||
        tv_texels_test(device, &sound) != TV_OK)
        return ANSWER_NONE;
    return sound ? ANSWER_RIGHT : ANSWER_WRONG;
}

/* *known: the verdict will be the same next time. */
static bool self_test(tv_device *device, bool *known) {
    int answer = ANSWER_NONE;
    double start = tv_seconds();
    tv_trial trial = tv_try_apart(test_apart, device, trial_seconds, &answer);
    tv_debug("%s: the self-test of texels took %.0f ms", tv_device_name(device),
             (tv_seconds() - start) * 1e3);
    *known = trial != TV_TRIAL_NOT_MADE && !(trial == TV_TRIAL_ANSWERED && answer == ANSWER_NONE);
    if (trial == TV_TRIAL_ANSWERED && answer == ANSWER_RIGHT)
        return true;
    const char *end = !*known                     ? "could not be run"
                      : trial == TV_TRIAL_CRASHED ? "crashed the driver"
                      : trial == TV_TRIAL_HUNG    ? "did not end"
                                                  : "gave a wrong answer";
    tv_warn(
        "%s: a self-test of texel loads %s, so kernels do without them, which is slower; another version of "
        "the driver, or emptying its shader cache, may help",
        tv_device_name(device), end);
    return false;
}

/* ---- its verdict ---- */

/* What a change of makes the old verdict worthless. */
static char *cache_path(const tv_caps *caps) {
    const tv_spirv *shader = tv_program_get(TV_PROGRAM_texel_probe_base)->shader;
    uint64_t hash = tv_caps_hash(caps);
    hash = tv_hash_bytes(shader->words, shader->count * sizeof *shader->words, hash);
    char *dir = NULL;
    if (tv_cache_dir(&dir) != TV_OK)
        return NULL;
    char *path = tv_format("%s/texels-%016" PRIx64 ".json", dir, hash);
    free(dir);
    return path;
}

static bool read_cache(const char *path, bool *sound) {
    cJSON *root = NULL;
    bool hit = path && tv_json_read_file(path, &root) == TV_OK &&
               cJSON_HasObjectItem(root, "texels_are_sound") &&
               tv_json_bool(root, "texels_are_sound", path, false, sound) == TV_OK;
    cJSON_Delete(root);
    return hit;
}

static void write_cache(const char *path, const tv_caps *caps, bool sound) {
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_string(root, "device", caps->name) &&
                 tv_json_set_string(root, "driver", caps->driver) &&
                 tv_json_set_bool(root, "texels_are_sound", sound);
    if (!built || tv_json_write_file(path, root) != TV_OK)
        tv_debug("the verdict of a self-test was not kept: %s", tv_last_error());
    cJSON_Delete(root);
}

static tv_verdict judge(tv_device *device) {
    const tv_caps *caps = tv_device_caps(device);
    if (tv_device_self_tests_skipped())
        return TV_SOUND;
    char *path = cache_path(caps);
    bool sound = false, known;
    /* A process that RenderDoc watches is not copied. */
    if (!read_cache(path, &sound) && !tv_capture_available()) {
        sound = self_test(device, &known);
        if (known)
            write_cache(path, caps, sound);
    }
    free(path);
    return sound ? TV_SOUND : TV_UNSOUND;
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

/* Self-tests of devices and the cache of their verdicts: see verdict.h. */
#include "kernels/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/trial.h"
#include "vk/capture.h"

/* ---- in a process of its own ---- */

enum { ANSWER_RIGHT, ANSWER_WRONG, ANSWER_NONE };

typedef struct attempt {
    const tv_device *outer;
    const tv_self_test *test;
} attempt;

static int test_apart(void *context) {
    const attempt *a = context;
    char number[16];
    tv_device *device = NULL;
    bool sound;
    snprintf(number, sizeof number, "%" PRIu32, tv_device_number(a->outer));
    tv_device_options options = {.select = number, .tier = a->test->tier};
    tv_device_forget_inherited();
    if (tv_device_open_untested(&options, &device) != TV_OK || a->test->run(device, &sound) != TV_OK)
        return ANSWER_NONE;
    return sound ? ANSWER_RIGHT : ANSWER_WRONG;
}

/* *known: the verdict will be the same next time. */
static bool try_it(tv_device *device, const tv_self_test *test, bool *known) {
    int answer = ANSWER_NONE;
    attempt a = {device, test};
    double start = tv_seconds();
    tv_trial trial = tv_try_apart(test_apart, &a, test->seconds, &answer);
    tv_debug("%s: the self-test of %s took %.0f ms", tv_device_name(device), test->of,
             (tv_seconds() - start) * 1e3);
    *known = trial != TV_TRIAL_NOT_MADE && !(trial == TV_TRIAL_ANSWERED && answer == ANSWER_NONE);
    if (trial == TV_TRIAL_ANSWERED && answer == ANSWER_RIGHT)
        return true;
    const char *end = !*known                     ? "could not be run"
                      : trial == TV_TRIAL_CRASHED ? "crashed the driver"
                      : trial == TV_TRIAL_HUNG    ? "did not end"
                                                  : "gave a wrong answer";
    tv_warn("%s: a self-test of %s %s, %s", tv_device_name(device), test->of, end, test->consequence);
    return false;
}

/* ---- its verdict ---- */

static char *cache_path(const tv_caps *caps, const tv_self_test *test) {
    uint64_t hash = tv_hash_bytes(&test->shaders, sizeof test->shaders, tv_caps_hash(caps));
    char *dir = NULL;
    if (tv_cache_dir(&dir) != TV_OK)
        return NULL;
    char *path = tv_format("%s/%s-%016" PRIx64 ".json", dir, test->name, hash);
    free(dir);
    return path;
}

static bool read_cache(const char *path, const char *key, bool *sound) {
    cJSON *root = NULL;
    bool hit = path && tv_json_read_file(path, &root) == TV_OK && cJSON_HasObjectItem(root, key) &&
               tv_json_bool(root, key, path, false, sound) == TV_OK;
    cJSON_Delete(root);
    return hit;
}

static void write_cache(const char *path, const char *key, const tv_caps *caps, bool sound) {
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_string(root, "device", caps->name) &&
                 tv_json_set_string(root, "driver", caps->driver) &&
                 tv_json_set_string(root, "tier", tv_tier_name(caps->tier)) &&
                 tv_json_set_bool(root, key, sound);
    if (!built || tv_json_write_file(path, root) != TV_OK)
        tv_debug("the verdict of a self-test was not kept: %s", tv_last_error());
    cJSON_Delete(root);
}

bool tv_device_is_sound(tv_device *device, const tv_self_test *test) {
    const tv_caps *caps = tv_device_caps(device);
    if (tv_device_self_tests_skipped())
        return true;
    char *path = cache_path(caps, test), key[32];
    bool sound = false, known;
    snprintf(key, sizeof key, "%s_are_sound", test->name);
    /* A process that RenderDoc watches is not copied. */
    if (!read_cache(path, key, &sound) && !tv_capture_available()) {
        sound = try_it(device, test, &known);
        if (known)
            write_cache(path, key, caps, sound);
    }
    free(path);
    return sound;
}

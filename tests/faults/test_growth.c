/* No growth: the device memory of 1,000 steps is that of 10, and the host's stands still from the 1,000th on.
 *
 * Tried: 2 KiB of host memory lost in each step: the bound fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "support/freed_memory.h"
#include "support/small_run.h"

enum { WARM_STEP = 1000, STEPS = 2000 };

/* From step 1,000 to 2,000, with 100 evaluations and 20 checkpoints between: 1.5 KiB a step. The driver's
 * threads take up to one MiB more at some step or other, once. A smaller leak is LeakSanitizer's to find,
 * which runs over the other tests of faults. */
static const double host_bound = 1536 * 1024;

static tv_child start(const tv_small_run *place, const char *out, int steps) {
    char *set = tv_format("train.steps=%d", steps);
    tv_child child = tv_start_trivium("pretrain", "--config", place->config, "--out", out, "--quiet",
                                      "--json", "--set", set);
    free(set);
    return child;
}

static double device_bytes(const tv_child_result *run) {
    cJSON *result = NULL;
    assert_ok(tv_json_parse(run->out, strlen(run->out), "the result", &result));
    const cJSON *bytes = tv_json_get(result, "device_bytes");
    assert_true(cJSON_IsNumber(bytes));
    double value = bytes->valuedouble;
    assert_true(value > 0);
    cJSON_Delete(result);
    return value;
}

/* 0 once the process has ended. */
static double host_bytes(const tv_child *child) {
    char *path = tv_format("/proc/%ld/statm", (long)child->pid), *text = NULL;
    assert_ok(tv_read_file(path, &text, NULL));
    const char *resident = strchr(text, ' ');
    double pages = resident ? strtod(resident, NULL) : 0;
    free(text);
    free(path);
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static uint64_t count_lines(const char *path) {
    char *text = NULL;
    uint64_t lines = 0;
    if (!tv_path_exists(path))
        return 0;
    assert_ok(tv_read_file(path, &text, NULL));
    for (const char *c = text; (c = strchr(c, '\n')); c++)
        lines++;
    free(text);
    return lines;
}

static tv_small_run create_place(void) {
    return tv_small_run_create("\"batch_size\": 2, \"lr\": 1e-3, \"warmup_steps\": 2, \"eval_every\": 10,"
                               " \"eval_tokens\": 32, \"checkpoint_every\": 50");
}

static void device_memory_stands_still(void **state) {
    (void)state;
    tv_small_run place = create_place();
    const int steps[] = {10, 1000};
    double bytes[2];
    for (int i = 0; i < 2; i++) {
        char *out = tv_small_run_path(&place, i == 0 ? "ten" : "thousand");
        tv_child child = start(&place, out, steps[i]);
        tv_child_result run = tv_child_wait(&child);
        tv_expect_exit(&run, 0);
        bytes[i] = device_bytes(&run);
        tv_child_result_free(&run);
        free(out);
    }
    if (bytes[0] != bytes[1])
        fail_msg("10 steps took %.0f bytes of device memory and 1,000 took %.0f", bytes[0], bytes[1]);
    tv_small_run_destroy(&place);
}

static void host_memory_stands_still(void **state) {
    (void)state;
    if (TV_TEST_KEEPS_FREED_MEMORY) {
        print_message("AddressSanitizer keeps freed memory, so its growth says nothing\n");
        skip();
    }
    tv_small_run place = create_place();
    char *out = tv_small_run_path(&place, "run"), *metrics = tv_small_run_path(&place, "run/metrics.jsonl");
    /* One heap for all threads: several differ by a MiB from run to run, as threads happen to share them. */
    setenv("MALLOC_ARENA_MAX", "1", 1);
    tv_child child = start(&place, out, STEPS);
    double warm = 0, peak = 0;
    while (tv_child_runs(&child)) {
        double now = host_bytes(&child);
        if (warm > 0)
            peak = now > peak ? now : peak;
        else if (count_lines(metrics) >= WARM_STEP)
            warm = now;
        tv_sleep(0.02);
    }
    tv_child_result run = tv_child_wait(&child);
    tv_expect_exit(&run, 0);
    assert_true(warm > 0 && peak > 0);
    print_message("host memory: %.1f MiB after %d steps, %+.0f KiB until %d\n", warm / (1024 * 1024),
                  WARM_STEP, (peak - warm) / 1024, STEPS);
    if (!(peak - warm <= host_bound))
        fail_msg("host memory grew by %.0f bytes from step %d to %d, expected at most %.0f", peak - warm,
                 WARM_STEP, STEPS, host_bound);
    tv_child_result_free(&run);
    free(metrics);
    free(out);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_memory_stands_still),
        cmocka_unit_test(host_memory_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

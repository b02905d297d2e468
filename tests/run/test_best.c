/* `best` leads to the checkpoint of the lowest validation loss, whatever is saved after it: checkpoints of
 * their own, those of a stop and a resume, and pruning, which leaves it where it is.
 *
 * Tried: `best` moved at every save, in checkpoint.c and by a best_step that is set at every evaluation; the
 * comparison the other way round; best_step forgotten on resuming. Each fails.
 */
#include "support/support.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/checkpoint.h"
#include "run/metrics.h"
#include "support/small_run.h"

enum { STEPS = 12 };

typedef struct lowest {
    uint64_t step;
    double loss;
} lowest;

static bool visit(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    lowest *found = context;
    const cJSON *loss = tv_json_get(line, "val_loss"), *step = tv_json_get(line, "step");
    assert_true(cJSON_IsNumber(loss) && cJSON_IsNumber(step));
    if (loss->valuedouble < found->loss)
        *found = (lowest){(uint64_t)step->valuedouble, loss->valuedouble};
    return true;
}

static void expect_best(const char *out, uint64_t last) {
    char *metrics = tv_format("%s/metrics.jsonl", out), *link = tv_format("%s/checkpoints/best", out);
    char *newest = tv_format("%s/checkpoints/last", out), *target = NULL;
    lowest found = {.loss = INFINITY};
    tv_checkpoint_state state;
    assert_ok(tv_metrics_each(metrics, visit, &found, NULL));
    char *expected = tv_format("step-%" PRIu64, found.step);
    assert_ok(tv_read_link(link, &target));
    assert_string_equal(target, expected);
    assert_ok(tv_checkpoint_read_state(link, &state));
    assert_int_equal(state.step, found.step);
    assert_ok(tv_checkpoint_read_state(newest, &state));
    assert_int_equal(state.step, last);
    assert_int_equal(state.best_step, found.step);
    assert_true(fabs(state.best_val_loss - found.loss) <= 1e-12);
    /* Or the test would show nothing. */
    assert_in_range(found.step, 1, last - 2);
    tv_free_all(target, expected, newest, link, metrics);
}

/* A rate at which the loss soon rises again. */
static void best_stays_where_the_loss_was_lowest(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(
        "\"steps\": 12, \"batch_size\": 2, \"lr\": 0.3, \"schedule\": \"constant\", \"warmup_steps\": 3,"
        " \"eval_every\": 1, \"eval_tokens\": 64, \"checkpoint_every\": 1, \"keep\": 1");
    char *out = tv_small_run_path(&place, "run");
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "7");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    expect_best(out, 7);
    tv_trivium_exits(0, "pretrain", "--out", out, "--quiet", "--resume");
    expect_best(out, STEPS);
    free(out);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_stays_where_the_loss_was_lowest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

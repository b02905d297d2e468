/* Gradients that are not finite: their updates are skipped and counted, ten in a row end the run with exit
 * code 1, a sentence, and a checkpoint with the last finite parameters.
 *
 * Tried: no checkpoint before the failure: there is nothing to read the state from.
 */
#include "support/support.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "run/checkpoint.h"
#include "support/small_run.h"

/* What was submitted before the tenth result came back is part of the run: two steps in flight. */
enum { SKIPS = 10, IN_FLIGHT = 2 };

static tv_checkpoint_state last_state(const char *out) {
    char *last = tv_format("%s/checkpoints/last", out);
    tv_checkpoint_state state;
    assert_ok(tv_checkpoint_read_state(last, &state));
    free(last);
    return state;
}

/* `words`: what it says of the saved parameters. */
static void expect_stopped(tv_child_result *run, const char *out, const char *words) {
    tv_expect_exit(run, 1);
    const char *sentence = strstr(run->err, "trivium pretrain: ");
    assert_non_null(sentence);
    assert_non_null(strstr(sentence, "not finite in the 10 steps"));
    assert_non_null(strstr(sentence, out));
    if (!strstr(sentence, words))
        fail_msg("expected \"%s\" in: %s", words, sentence);
    /* An earlier checkpoint is named only where there is one. */
    const char *earlier = strstr(sentence, "Start again from ");
    if (earlier) {
        char path[512] = "";
        assert_int_equal(sscanf(earlier, "Start again from %500s", path), 1);
        assert_true(tv_path_is_directory(path));
    }
    tv_child_result_free(run);
    tv_expect_no_litter(out);
}

/* What is changed here on purpose would be refused as damage. */
static void forget_checksums(const char *checkpoint) {
    char *path = tv_format("%s/trainer_state.json", checkpoint);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    cJSON_DeleteItemFromObjectCaseSensitive(root, "checksums");
    assert_ok(tv_json_write_file(path, root));
    cJSON_Delete(root);
    free(path);
}

/* A checkpoint without checksums, as of an earlier version, whose damage makes weights that are NaN: they are
 * refused by name as they are read, before a step of training, and nobody is told that those are finite. */
static void a_nan_is_not_called_finite(void **state) {
    (void)state;
    tv_small_run place =
        tv_small_run_create("\"steps\": 40, \"batch_size\": 2, \"lr\": 1e-3,"
                            " \"warmup_steps\": 2, \"eval_every\": 0, \"checkpoint_every\": 0");
    char *out = tv_small_run_path(&place, "run"), *bytes = NULL;
    char *first = tv_small_run_path(&place, "run/checkpoints/step-1");
    char *weights = tv_small_run_path(&place, "run/checkpoints/step-1/model.safetensors");
    uint64_t size;
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "1");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_ok(tv_read_file(weights, &bytes, &size));
    const float nothing = NAN;
    memcpy(bytes + size - sizeof nothing, &nothing, sizeof nothing);
    assert_ok(tv_write_file(weights, bytes, size));
    forget_checksums(first);
    run = tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume");
    assert_non_null(strstr(run.err, "has no checksums"));
    tv_expect_exit(&run, 2);
    assert_non_null(strstr(run.err, "holds nan"));
    assert_non_null(strstr(run.err, weights));
    assert_null(strstr(run.err, "last finite parameters"));
    tv_child_result_free(&run);
    tv_free_all(bytes, weights, first, out);
    tv_small_run_destroy(&place);
}

static void broken_weights_stop_the_run(void **state) {
    (void)state;
    tv_small_run place =
        tv_small_run_create("\"steps\": 40, \"batch_size\": 2, \"lr\": 1e-3,"
                            " \"warmup_steps\": 2, \"eval_every\": 0, \"checkpoint_every\": 0");
    char *sound = tv_small_run_path(&place, "sound"), *out = tv_small_run_path(&place, "run");
    char *init = tv_small_run_path(&place, "sound/checkpoints/step-1");
    char *weights = tv_small_run_path(&place, "sound/checkpoints/step-1/model.safetensors");
    char *written = tv_small_run_path(&place, "run/checkpoints/last"), *bytes = NULL;
    uint64_t size;
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", sound, "--quiet", "--stop-after", "1");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    /* Queries and keys near the largest float: their products are infinite, and so is the loss's gradient. */
    assert_ok(tv_read_file(weights, &bytes, &size));
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open_bytes((const uint8_t *)bytes, size, weights, &file));
    const tv_safetensor *tensor = tv_safetensors_find(file, "model.layers.0.self_attn.q_proj.weight");
    assert_non_null(tensor);
    uint64_t offset;
    memcpy(&offset, bytes, sizeof offset);
    offset += sizeof offset + tensor->offset;
    const float huge = FLT_MAX;
    for (uint64_t i = 0; i < tensor->count; i++)
        memcpy(bytes + offset + i * sizeof huge, &huge, sizeof huge);
    tv_safetensors_close(&file);
    assert_ok(tv_write_file(weights, bytes, size));
    forget_checksums(init);

    run = tv_run_trivium("pretrain", "--config", place.config, "--init", init, "--out", out, "--quiet");
    expect_stopped(&run, out, "holds the last finite parameters. Start again with");
    uint64_t step = tv_expect_whole_checkpoints(out);
    tv_checkpoint_state reached = last_state(out);
    assert_int_equal(reached.step, step);
    assert_in_range(step, SKIPS, SKIPS + IN_FLIGHT);
    assert_int_equal(reached.update.applied, 0);
    assert_int_equal(reached.update.skipped, step);
    assert_int_equal(tv_expect_metrics_in_order(out, false), step);
    tv_expect_same_file(init, written, "model.safetensors");
    /* Resuming it is allowed and stops again at once. */
    run = tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume");
    expect_stopped(&run, out, "holds the last finite parameters. Start again from");
    assert_in_range(tv_expect_whole_checkpoints(out), step + 1, step + 1 + IN_FLIGHT);
    tv_expect_same_file(init, written, "model.safetensors");
    tv_free_all(bytes, written, weights, init, sound, out);
    tv_small_run_destroy(&place);
}

/* The largest rate and decay that the settings allow multiply every weight by -1e6 in each step. */
static void an_exploding_run_saves_finite_parameters(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(
        "\"steps\": 40, \"batch_size\": 2, \"lr\": 1e3, \"schedule\": \"constant\", \"warmup_steps\": 0,"
        " \"weight_decay\": 1e3, \"grad_clip\": 0, \"eval_every\": 3, \"eval_tokens\": 32,"
        " \"checkpoint_every\": 1");
    char *out = tv_small_run_path(&place, "run");
    char *weights = tv_small_run_path(&place, "run/checkpoints/last/model.safetensors");
    tv_child_result run = tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet");
    expect_stopped(&run, out, "holds the last finite parameters. Start again from");
    (void)tv_expect_whole_checkpoints(out);
    tv_checkpoint_state reached = last_state(out);
    assert_true(reached.update.applied > 0);
    assert_int_equal(reached.update.skipped_in_row, SKIPS);
    assert_int_equal(reached.update.applied + reached.update.skipped, reached.step);
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(weights, &file));
    for (uint64_t i = 0; i < tv_safetensors_count(file); i++) {
        const tv_safetensor *tensor = tv_safetensors_at(file, i);
        float *values = calloc(tensor->count, sizeof *values);
        assert_non_null(values);
        assert_ok(tv_safetensors_read(file, tensor, 0, tensor->shape[0], false, values));
        for (uint64_t e = 0; e < tensor->count; e++) {
            if (!isfinite(values[e]))
                fail_msg("%s[%" PRIu64 "] is %g, expected a finite number", tensor->name, e,
                         (double)values[e]);
        }
        free(values);
    }
    tv_safetensors_close(&file);
    free(weights);
    free(out);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_weights_stop_the_run),
        cmocka_unit_test(a_nan_is_not_called_finite),
        cmocka_unit_test(an_exploding_run_saves_finite_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

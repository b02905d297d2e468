/* Models that give no numbers: every command that uses one says so, and where, with an exit code; none goes
 * on to texts or scores.
 *
 * One NaN among the weights is found as they are read. Weights so large that the logits overflow are found in
 * what comes out: attention's exponential of a NaN is a number in some drivers, so what comes out alone would
 * not do.
 *
 * Tried: either check left out; each fails here.
 */
#include "support/small_model.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/safetensors.h"
#include "support/planted.h"

/* Puts `value` over `count` elements of a tensor of a model directory; 0: all of them. */
static void spoil(const char *model, const char *name, uint64_t count, float value) {
    char *path = tv_format("%s/model.safetensors", model), *bytes = NULL;
    uint64_t size;
    tv_safetensors *file = NULL;
    assert_ok(tv_read_file(path, &bytes, &size));
    assert_ok(tv_safetensors_open_bytes((const uint8_t *)bytes, size, path, &file));
    const tv_safetensor *tensor = tv_safetensors_find(file, name);
    assert_non_null(tensor);
    assert_string_equal(tensor->dtype, "F32");
    uint64_t offset; /* of the data: behind the header and its size */
    memcpy(&offset, bytes, sizeof offset);
    offset += sizeof offset + tensor->offset;
    for (uint64_t i = 0; i < (count ? count : tensor->count); i++)
        memcpy(bytes + offset + i * sizeof value, &value, sizeof value);
    tv_safetensors_close(&file);
    assert_ok(tv_write_file(path, bytes, size));
    free(bytes);
    free(path);
}

static void expect(tv_child_result run, int exit_code, const char *const *words) {
    if (run.exit_code != exit_code)
        fail_msg("exit %d: %s%s", run.exit_code, run.out, run.err);
    for (; *words; words++)
        if (!strstr(run.err, *words))
            fail_msg("no \"%s\" in: %s", *words, run.err);
    tv_child_result_free(&run);
}

static void every_command_says_it(const tv_small_model *small, int exit_code, const char *what) {
    char *prompts = tv_small_model_file(small, "prompts.jsonl", "{\"prompt\": \"It was \"}\n"),
         *text = tv_small_model_file(small, "text.txt", "It was the best of times.\n"),
         *out = tv_format("%s/out.jsonl", small->dir),
         *command = tv_format("echo 'Who are you?' | %s chat --model %s --max-tokens 4", TRIVIUM_COMMAND,
                              small->model);
    const char *const words[] = {small->model, what, NULL};
    expect(tv_run_trivium("generate", "--model", small->model, "--prompt", "It was ", "--max-tokens", "4",
                          "--temperature", "0"),
           exit_code, words);
    expect(tv_run_trivium("generate", "--model", small->model, "--prompt", "It was ", "--max-tokens", "40",
                          "--top-k", "5", "--json"),
           exit_code, words);
    expect(tv_run_trivium("sample", "--model", small->model, "--prompts", prompts, "--out", out, "-k", "3",
                          "--max-tokens", "4"),
           exit_code, words);
    expect(tv_child_run((const char *const[]){"/bin/sh", "-c", command, NULL}), exit_code, words);
    expect(tv_run_trivium("eval", "--model", small->model, "--data", text), exit_code, words);
    tv_free_all(command, out, text, prompts);
}

static void a_weight_that_is_no_number(void **state) {
    const tv_small_model *small = *state;
    char *path = tv_format("%s/model.safetensors", small->model), *kept = NULL;
    uint64_t size;
    assert_ok(tv_read_file(path, &kept, &size));
    spoil(small->model, "model.layers.0.self_attn.q_proj.weight", 1, NAN);
    every_command_says_it(small, 2, "model.safetensors: tensor model.layers.0.self_attn.q_proj.weight");
    assert_ok(tv_write_file(path, kept, size));
    spoil(small->model, "model.norm.weight", 1, INFINITY);
    every_command_says_it(small, 2, "model.safetensors: tensor model.norm.weight");
    assert_ok(tv_write_file(path, kept, size));
    free(kept);
    free(path);
}

static void weights_that_overflow(void **state) {
    const tv_small_model *small = *state;
    char *path = tv_format("%s/model.safetensors", small->model), *kept = NULL;
    uint64_t size;
    assert_ok(tv_read_file(path, &kept, &size));
    spoil(small->model, "model.norm.weight", 0, FLT_MAX);
    every_command_says_it(small, 1, "not finite");
    assert_ok(tv_write_file(path, kept, size));
    free(kept);
    free(path);
}

static void a_reward_model_says_it(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&planted, "prefs.jsonl", 0, 4, 2, false),
         *nothing = tv_planted_reward(&planted, "nothing", NAN),
         *huge = tv_planted_reward(&planted, "huge", 1);
    spoil(huge, "score.weight", 0, FLT_MAX);
    expect(tv_run_trivium("score", "--model", nothing, "--data", data), 2,
           (const char *const[]){nothing, "tensor score.weight", NULL});
    expect(tv_run_trivium("score", "--model", huge, "--data", data), 1,
           (const char *const[]){"not finite", NULL});
    tv_free_all(huge, nothing, data);
    tv_planted_destroy(&planted);
}

static int make_model(void **state) {
    return tv_small_model_make(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_weight_that_is_no_number),
        cmocka_unit_test(weights_that_overflow),
        cmocka_unit_test(a_reward_model_says_it),
    };
    return cmocka_run_group_tests(tests, make_model, tv_small_model_remove);
}

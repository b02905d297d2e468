/* trivium bench as a person runs it: keys and finite numbers, not speed. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"
#include "support/subprocess.h"

static const char gpt2[] = TRIVIUM_SOURCE_DIR "/samples/bench/gpt2_875k.json";
static const char llama[] = TRIVIUM_SOURCE_DIR "/samples/bench/llama_260k.json";

static const char golden[] = TRIVIUM_SOURCE_DIR "/tests/golden/llama_100k";

static cJSON *result_of(tv_child_result *run) {
    cJSON *result = tv_result_of(run);
    tv_child_result_free(run);
    return result;
}

static void assert_positive(const cJSON *result, const char *const *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!(tv_result_number(result, keys[i]) > 0))
            fail_msg("\"%s\" is not above 0", keys[i]);
}

static void check_rows(tv_child_result run, const char *kernel, const char *const *shapes, int count) {
    cJSON *result = result_of(&run);
    assert_true(cJSON_IsString(tv_json_get(result, "device")));
    assert_string_equal(tv_json_get(result, "tier")->valuestring, "fp32");
    const cJSON *kernels = tv_json_get(result, "kernels"), *row;
    assert_int_equal(cJSON_GetArraySize(kernels), count);
    int i = 0;
    cJSON_ArrayForEach(row, kernels) {
        const char *const keys[] = {"ms", "gflops", "gbps", "peak_share"};
        assert_positive(row, keys, sizeof keys / sizeof *keys);
        if (kernel)
            assert_string_equal(tv_json_get(row, "kernel")->valuestring, kernel);
        assert_string_equal(tv_json_get(row, "shape")->valuestring, shapes[i++]);
    }
    cJSON_Delete(result);
}

static void products_of_any_shape(void **state) {
    (void)state;
    check_rows(tv_run_trivium("bench", "kernels", "--shape", "17x33x65", "--repeats", "1", "--json"),
               "matmul", (const char *const[]){"17x33x65", "17x33x65 nt", "17x33x65 tn"}, 3);
}

/* Every kernel of the table runs. */
static void every_kernel_has_a_row(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("bench", "kernels", "--repeats", "1", "--json");
    cJSON *result = result_of(&run);
    const char *const names[] = {"matmul",        "attention_forward", "attention_backward", "layernorm",
                                 "rmsnorm",       "gelu_forward",      "swiglu_forward",     "rotary",
                                 "cross_entropy", "embedding",         "gradient_norm",      "adamw",
                                 "sample",        "token_logprobs",    "token_gradient",     "gae"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cJSON *row;
        bool found = false;
        cJSON_ArrayForEach(row, tv_json_get(result, "kernels")) {
            tv_result_number(row, "gflops");
            assert_true(tv_result_number(row, "ms") > 0);
            found |= strstr(tv_json_get(row, "kernel")->valuestring, names[i]) != NULL;
        }
        if (!found)
            fail_msg("no row for %s", names[i]);
    }
    cJSON_Delete(result);
    run = tv_run_trivium("bench", "kernels", "--filter", "gelu_forward", "--repeats", "1");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "gelu_forward"));
    assert_null(strstr(run.out, "adamw"));
    tv_child_result_free(&run);
}

static void training(void **state) {
    (void)state;
    const char *const configs[] = {gpt2, llama};
    const char *const keys[] = {"tokens_per_second", "step_ms", "kernel_ms", "device_bytes"};
    for (int i = 0; i < 2; i++) {
        tv_child_result run =
            tv_run_trivium("bench", "train", "--config", configs[i], "--set", "train.batch_size=1", "--set",
                           "data.seq_len=16", "--steps", "2", "--warmup", "1", "--json");
        cJSON *result = result_of(&run);
        assert_int_equal(cJSON_GetArraySize(result), 6);
        assert_positive(result, keys, sizeof keys / sizeof *keys);
        /* The table has all of the kernels' time, the longest first. */
        double share = 0, before = INFINITY;
        bool adamw = false;
        const cJSON *row;
        cJSON_ArrayForEach(row, tv_json_get(result, "kernels")) {
            const char *const numbers[] = {"dispatches", "ms"};
            assert_positive(row, numbers, 2);
            assert_true(tv_result_number(row, "gflops") >= 0 && tv_result_number(row, "gbps") >= 0);
            assert_true(tv_result_number(row, "ms") <= before);
            assert_true(cJSON_IsString(tv_json_get(row, "shape")));
            before = tv_result_number(row, "ms");
            share += tv_result_number(row, "share");
            adamw |= strncmp(tv_json_get(row, "kernel")->valuestring, "adamw", 5) == 0;
        }
        assert_near(share, 1, 1e-9);
        assert_true(adamw);
        double step = tv_result_number(result, "step_ms");
        assert_near(tv_result_number(result, "gap_ms"), step - tv_result_number(result, "kernel_ms"),
                    1e-6 * step);
        assert_near(tv_result_number(result, "tokens_per_second"), 16 / (step * 1e-3),
                    1e-6 * 16 / (step * 1e-3));
        cJSON_Delete(result);
    }
    tv_child_result run =
        tv_run_trivium("bench", "train", "--config", llama, "--set", "train.batch_size=1", "--set",
                       "data.seq_len=16", "--set", "train.grad_accum=2", "--steps", "1");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "outside of kernels"));
    assert_non_null(strstr(run.out, "matmul"));
    tv_child_result_free(&run);
}

static void decoding(void **state) {
    (void)state;
    const char *const keys[] = {"tokens_per_second", "prompt_tokens_per_second",
                                "shared_prompt_tokens_per_second"};
    tv_child_result run =
        tv_run_trivium("bench", "decode", "--config", gpt2, "--rows", "2", "--tokens", "16", "--json");
    cJSON *result = result_of(&run);
    assert_int_equal(cJSON_GetArraySize(result), 4);
    assert_positive(result, keys, 3);
    assert_int_equal(tv_result_number(result, "rows"), 2);
    cJSON_Delete(result);
    run = tv_run_trivium("bench", "decode", "--model", golden, "--tokens", "16", "--json");
    result = result_of(&run);
    assert_positive(result, keys, 3);
    cJSON_Delete(result);
}

/* lavapipe tells nothing of its pipelines: what is made is listed, and that nothing is known is said. */
static void pipelines(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *isa = tv_format("%s/isa", dir);
    tv_child_result run = tv_run_trivium("bench", "pipelines", "--json");
    cJSON *result = result_of(&run);
    const cJSON *rows = tv_json_get(result, "pipelines"), *row;
    bool told = cJSON_IsTrue(tv_json_get(result, "statistics"));
    int all = cJSON_GetArraySize(rows);
    assert_true(all > 100);
    cJSON_Delete(result);

    run = tv_run_trivium("bench", "pipelines", "--config", gpt2, "--set", "train.batch_size=1", "--json");
    result = result_of(&run);
    rows = tv_json_get(result, "pipelines");
    bool adamw = false, sample = false;
    assert_in_range(cJSON_GetArraySize(rows), 20, all);
    cJSON_ArrayForEach(row, rows) {
        assert_true(cJSON_IsTrue(tv_json_get(row, "chosen")));
        assert_true(told == (cJSON_GetArraySize(tv_json_get(row, "driver")) > 0));
        adamw |= strncmp(tv_json_get(row, "kernel")->valuestring, "adamw", 5) == 0;
        sample |= strncmp(tv_json_get(row, "kernel")->valuestring, "sample", 6) == 0;
    }
    assert_true(adamw && sample);
    assert_null(tv_json_get(result, "recorded"));
    cJSON_Delete(result);

    /* A step is what bench train, which runs it, finds in it. */
    run = tv_run_trivium("bench", "pipelines", "--config", gpt2, "--set", "train.grad_accum=3", "--set",
                         "train.batch_size=1", "--set", "data.seq_len=16", "--record", "--json");
    result = result_of(&run);
    assert_true(cJSON_IsFalse(tv_json_get(result, "submitted")));
    const cJSON *steps = tv_json_get(result, "recorded"), *step;
    assert_int_equal(cJSON_GetArraySize(steps), 3);
    double dispatches = 0;
    cJSON_ArrayForEach(step, steps) {
        const char *const keys[] = {"dispatches", "barriers", "command_buffers", "record_ms", "host_ms"};
        assert_positive(step, keys, TV_COUNT(keys));
    }
    run =
        tv_run_trivium("bench", "train", "--config", gpt2, "--set", "train.grad_accum=3", "--set",
                       "train.batch_size=1", "--set", "data.seq_len=16", "--steps=1", "--warmup=1", "--json");
    cJSON *trained = result_of(&run);
    cJSON_ArrayForEach(row, tv_json_get(trained, "kernels")) {
        dispatches += tv_result_number(row, "dispatches");
    }
    assert_near(tv_result_number(cJSON_GetArrayItem(steps, 0), "dispatches"), dispatches, 1e-6);
    cJSON_Delete(trained);
    cJSON_Delete(result);

    run = tv_run_trivium("bench", "pipelines", "--config", gpt2, "--set=train.batch_size=1", "--isa", isa,
                         "--record");
    assert_int_equal(run.exit_code, 0);
    assert_true(told || strstr(run.out, "lacks VK_KHR_pipeline_executable_properties"));
    assert_true(told || strstr(run.out, "nothing was written"));
    assert_true(told || !tv_path_exists(isa));
    assert_non_null(strstr(run.out, "pretraining"));
    assert_non_null(strstr(run.out, "nothing was submitted"));
    tv_child_result_free(&run);
    free(isa);
    tv_test_dir_remove(&dir);
}

/* Nothing is begun on a device whose results mean nothing. */
static void training_refuses_skipped_self_tests(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *out = tv_format("%s/run", dir);
    assert_int_equal(setenv("TRIVIUM_SELF_TEST", "skip", 1), 0);
    tv_child_result run = tv_run_trivium("pretrain", "--config", gpt2, "--out", out);
    assert_int_equal(unsetenv("TRIVIUM_SELF_TEST"), 0);
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "TRIVIUM_SELF_TEST"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    free(out);
    tv_test_dir_remove(&dir);
}

static void mistakes_give_exit_code_2(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *config = tv_format("%s/config.json", dir);
    assert_ok(tv_write_file(config, "{}", 2));
    const struct {
        const char *words[4], *sentence;
    } cases[] = {
        {{"kernels", "--filter", "matmull", "--json"}, "matmul"},
        {{"kernels", "--shape", "5x5", "--json"}, "512x512x512"},
        {{"kernels", "--shape", "0x1x1", "--json"}, "512x512x512"},
        {{"train", "--config", config, "--json"}, "\"model\""},
        {{"train", "--config", llama, "--set=data.seq_len=4096"}, "128"},
        {{"train", "--json", "--quiet", "--steps=1"}, "--config"},
        {{"decode", "--rows=1", "--json", "--quiet"}, "--model DIR or --config F"},
        {{"decode", "--config", llama, "--tokens=4"}, "--tokens"},
        {{"pipelines", "--record", "--json"}, "--config"},
        {{"pipelines", "--config", config}, "\"model\""},
        {{"trian", "--config", llama, "--json"}, "train"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const *w = cases[i].words;
        tv_child_result run =
            tv_child_run((const char *const[]){TRIVIUM_COMMAND, "bench", w[0], w[1], w[2], w[3], NULL});
        if (run.exit_code != 2 || !strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: exit code %d, \"%s\"", i, run.exit_code, run.err);
        tv_child_result_free(&run);
    }
    free(config);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_any_shape),
        cmocka_unit_test(every_kernel_has_a_row),
        cmocka_unit_test(training),
        cmocka_unit_test(decoding),
        cmocka_unit_test(pipelines),
        cmocka_unit_test(training_refuses_skipped_self_tests),
        cmocka_unit_test(mistakes_give_exit_code_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* trivium pretrain as a person runs it: same bits twice, exact resume, the memory plan, and a sentence for
 * every mistake.
 *
 * Tried on 2026-11-22: the first moment not restored, the loader not sought: resume_continues_exactly fails.
 * A checkpoint written in place: tests/faults.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/small_run.h"

static tv_small_run create_place(void) {
    return tv_small_run_create(
        "\"steps\": 10, \"batch_size\": 3, \"grad_accum\": 2, \"lr\": 1e-2, \"warmup_steps\": 2,"
        " \"eval_every\": 4, \"eval_tokens\": 96, \"checkpoint_every\": 4");
}

static void same_seed_same_bits(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *a = tv_small_run_path(&p, "a"), *b = tv_small_run_path(&p, "b"), *c = tv_small_run_path(&p, "c");
    tv_child_result run = tv_run_trivium("pretrain", "--config", p.config, "--out", a, "--quiet");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", p.config, "--out", b, "--quiet");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_expect_same_run(a, b);
    run = tv_run_trivium("pretrain", "--config", p.config, "--out", c, "--quiet", "--seed", "2", "--json");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "\"finished\":true"));
    tv_child_result_free(&run);
    char *model_a = tv_format("%s/checkpoints/last/model.safetensors", a),
         *model_c = tv_format("%s/checkpoints/last/model.safetensors", c), *text_a = NULL, *text_c = NULL;
    uint64_t size_a, size_c;
    assert_ok(tv_read_file(model_a, &text_a, &size_a));
    assert_ok(tv_read_file(model_c, &text_c, &size_c));
    assert_int_equal(size_a, size_c);
    assert_memory_not_equal(text_a, text_c, size_a);
    tv_free_all(model_a, model_c, text_a, text_c, a, b, c);
    tv_small_run_destroy(&p);
}

static void resume_continues_exactly(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *whole = tv_small_run_path(&p, "whole"), *parts = tv_small_run_path(&p, "parts");
    tv_child_result run = tv_run_trivium("pretrain", "--config", p.config, "--out", whole, "--quiet");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", p.config, "--out", parts, "--quiet", "--stop-after", "5");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    char *step5 = tv_format("%s/checkpoints/step-5", parts);
    assert_true(tv_path_exists(step5));
    free(step5);
    run = tv_run_trivium("pretrain", "--out", parts, "--quiet", "--resume");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_expect_same_run(whole, parts);
    /* A finished run has nothing left to do; a used directory is not overwritten. */
    run = tv_run_trivium("pretrain", "--out", parts, "--quiet", "--resume");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", p.config, "--out", parts, "--quiet");
    tv_expect_exit(&run, 2);
    assert_non_null(strstr(run.err, "--resume"));
    tv_child_result_free(&run);
    free(whole);
    free(parts);
    tv_small_run_destroy(&p);
}

static double number_of(const char *json, const char *key) {
    cJSON *root = NULL;
    const char *last = strrchr(json, '{');
    assert_non_null(last);
    assert_ok(tv_json_parse(last, strlen(last), "output", &root));
    double value = tv_json_get(root, key)->valuedouble;
    cJSON_Delete(root);
    return value;
}

static void the_plan_is_what_the_run_takes(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *out = tv_small_run_path(&p, "run");
    tv_child_result run = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--dry-run");
    tv_expect_exit(&run, 0);
    const char *line = strstr(run.out, "bytes      ");
    assert_non_null(line);
    double planned = strtod(line + strlen("bytes      "), NULL);
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--quiet", "--json");
    tv_expect_exit(&run, 0);
    double taken = number_of(run.out, "device_bytes");
    if (!(fabs(taken - planned) <= 0.02 * planned))
        fail_msg("the plan said %.0f bytes and the run took %.0f", planned, taken);
    tv_child_result_free(&run);
    free(out);
    tv_small_run_destroy(&p);
}

/* Two sources, 3 to 1: the metrics name what each gave, all tokens are accounted for, and the share is the
 * weight's. Rows are dealt exactly over 65,536 of them, so 60 rows may be off: four standard deviations of 60
 * draws at 3/4 are 0.22. */
static void the_mix_is_reported(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *out = tv_small_run_path(&p, "run"), *copy = tv_small_run_path(&p, "copy.bin"), *text = NULL;
    char *metrics_path = tv_format("%s/metrics.jsonl", out), *metrics = NULL;
    uint64_t size;
    assert_ok(tv_read_file(p.shard, &text, &size));
    assert_ok(tv_write_file(copy, text, size));
    char *data = tv_format("data.train=[{\"path\": \"%s\", \"weight\": 3}, \"%s\"]", p.shard, copy);
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--quiet", "--set", data);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_ok(tv_read_file(metrics_path, &metrics, NULL));
    char *first = tv_format("tokens of %s", p.shard), *second = tv_format("tokens of %s", copy);
    char *last_line = strrchr(metrics, '{');
    double tokens = number_of(last_line, "tokens"), of_first = number_of(last_line, first);
    assert_near(of_first + number_of(last_line, second), tokens, 0);
    assert_near(of_first / tokens, 0.75, 0.22);
    tv_free_all(first, second, data, metrics, metrics_path, text, copy, out);
    tv_small_run_destroy(&p);
}

/* The whole command from --init to metrics.jsonl against PyTorch's figures (tests/golden/README.md).
 * train/golden compares tighter and names what differs; here the wiring is tested: schedule, order of the
 * shard, clip, decay. The metrics carry all digits, so 2e-6 and 1e-5 as there. */
static void the_command_equals_pytorch(void **state) {
    (void)state;
    const char *const names[] = {"gpt2_100k", "llama_100k", "gemma3_25k"};
    for (int n = 0; n < 3; n++) {
        char *dir = tv_test_dir();
        char *init = tv_format("%s/tests/golden/%s", TRIVIUM_SOURCE_DIR, names[n]),
             *out = tv_format("%s/run", dir);
        char *figures_path = tv_format("%s.json", init), *metrics_path = tv_format("%s/metrics.jsonl", out);
        char *train = tv_format("data.train=[\"%s/tests/golden/tokens.bin\"]", TRIVIUM_SOURCE_DIR);
        tv_child_result run = tv_run_trivium("pretrain", "--init", init, "--out", out, "--quiet", "--set",
                                             train, "--set", "data.shuffle=false", "--set", "data.seq_len=64",
                                             "--set", "train.steps=20", "--set", "train.batch_size=4",
                                             "--set", "train.lr=1e-3", "--set", "train.min_lr=1e-4", "--set",
                                             "train.warmup_steps=5", "--set", "train.eval_every=0");
        tv_expect_exit(&run, 0);
        tv_child_result_free(&run);
        cJSON *figures = NULL;
        char *metrics = NULL;
        assert_ok(tv_json_read_file(figures_path, &figures));
        assert_ok(tv_read_file(metrics_path, &metrics, NULL));
        char *line = strtok(metrics, "\n");
        for (int step = 0; step < 20; step++, line = strtok(NULL, "\n")) {
            assert_non_null(line);
            double loss = cJSON_GetArrayItem(tv_json_get(figures, "loss"), step)->valuedouble;
            double norm = cJSON_GetArrayItem(tv_json_get(figures, "grad_norm"), step)->valuedouble;
            assert_near(number_of(line, "loss"), loss, 2e-6 * loss);
            assert_near(number_of(line, "grad_norm"), norm, 1e-5 * norm);
        }
        assert_null(line);
        cJSON_Delete(figures);
        tv_free_all(metrics, train, metrics_path, figures_path, out, init);
        tv_test_dir_remove(&dir);
    }
}

/* A published file's dropout is not applied, and that is said. */
static void dropout_is_reported(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *out = tv_small_run_path(&p, "run");
    tv_child_result run = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--dry-run", "--set",
                                         "model.attention_dropout=0.1");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "\"model\": its dropout of 0.1 is not applied"));
    tv_child_result_free(&run);
    free(out);
    tv_small_run_destroy(&p);
}

/* Each mistake: exit code 2, a sentence with the word, and no run left behind. */
static void mistakes_are_sentences(void **state) {
    (void)state;
    tv_small_run p = create_place();
    char *cut = tv_small_run_path(&p, "cut.bin"), *wrong = tv_small_run_path(&p, "wrong.bin"),
         *outside = tv_small_run_path(&p, "outside.bin"), *few = tv_small_run_path(&p, "few.bin"),
         *out = tv_small_run_path(&p, "run");
    const int32_t few_tokens = 5;
    char *bytes = NULL;
    uint64_t size = 0;
    assert_ok(tv_read_file(p.shard, &bytes, &size));
    assert_ok(tv_write_file(cut, bytes, size - 100));
    bytes[0] ^= 1;
    assert_ok(tv_write_file(wrong, bytes, size));
    bytes[0] ^= 1;
    bytes[1024 + 2 * 100] = 61;
    assert_ok(tv_write_file(outside, bytes, size));
    memcpy(bytes + 8, &few_tokens, sizeof few_tokens);
    assert_ok(tv_write_file(few, bytes, 1024 + 2 * (uint64_t)few_tokens));
    free(bytes);
    char *data_cut = tv_format("data.train=[\"%s\"]", cut),
         *data_wrong = tv_format("data.train=[\"%s\"]", wrong),
         *data_outside = tv_format("data.train=[\"%s\"]", outside),
         *data_few = tv_format("data.train=[\"%s\"]", few);
    const struct {
        const char *set, *word;
    } cases[] = {
        {"train.stesp=5", "\"steps\""},
        {"train.steps=-1", "train.steps"},
        {"train.lr=\"fast\"", "train.lr"},
        {"train.schedule=cosin", "cosine"},
        {"model.num_attention_heads=5", "num_attention_heads"},
        {"model.num_key_value_heads=2", "num_key_value_heads"},
        {"model.hidden_sizes=4", "hidden_size"},
        {"data.seq_len=33", "seq_len"},
        {"data.train=[]", "data.train"},
        {"data.train=[\"/nonexistent/x.bin\"]", "/nonexistent/x.bin"},
        {data_cut, "cut.bin"},
        {data_few, "; pack more text or lower data.seq_len\n"},
        {data_wrong, "wrong.bin: expected a token shard with the magic number"},
        {data_wrong, "; `trivium data pack` makes shards\n"},
        {data_outside, "outside.bin"},
        {"train.batch_size=1000000", "fit"},
        {"steps", "KEY=VALUE"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run =
            tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--quiet", "--set", cases[i].set);
        if (run.exit_code != 2 || !strstr(run.err, cases[i].word) ||
            strchr(run.err, '\n') != strrchr(run.err, '\n'))
            fail_msg("--set %s: exit code %d, expected 2 and one line with \"%s\", found:\n%s", cases[i].set,
                     run.exit_code, cases[i].word, run.err);
        if (tv_path_exists(out))
            fail_msg("--set %s left a run behind", cases[i].set);
        tv_child_result_free(&run);
    }
    tv_child_result run = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--resume");
    tv_expect_exit(&run, 2);
    assert_non_null(strstr(run.err, "without --resume"));
    tv_child_result_free(&run);
    run = tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--device", "no such device");
    tv_expect_exit(&run, 3);
    assert_non_null(strstr(run.err, "no such device"));
    tv_child_result_free(&run);
    tv_free_all(data_few, few, data_cut, data_wrong, data_outside, cut, wrong, outside, out);
    tv_small_run_destroy(&p);
}

int main(void) {
    /* Nothing here measures speed, and a first dispatch compiles; the cache of the user is used as it is. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bits),
        cmocka_unit_test(resume_continues_exactly),
        cmocka_unit_test(the_plan_is_what_the_run_takes),
        cmocka_unit_test(the_mix_is_reported),
        cmocka_unit_test(the_command_equals_pytorch),
        cmocka_unit_test(dropout_is_reported),
        cmocka_unit_test(mistakes_are_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* trivium sample as a person runs it: the lines, what they depend on, going on after an interruption.
 *
 * Seen to fail with: a sequence number of prompt * k + candidate, the file not cut behind its last whole
 * line, ids and lengths of old lines not checked.
 */
#include "support/small_model.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"

#define PROMPTS                                                                                              \
    "{\"prompt\": \"It was \"}\n"                                                                            \
    "\n"                                                                                                     \
    "{\"id\": \"talk\", \"prompt\": [{\"role\": \"user\", \"content\": \"Who\\tare you?\"}]}\n"              \
    "{\"prompt\": \"\", \"note\": 1}\n"                                                                      \
    "{\"prompt\": \"and the rest of it, which is a longer prompt\"}\n"
enum { COUNT = 4 };

#define sample(small, prompts, out, ...)                                                                     \
    tv_run_trivium("sample", "--model", (small)->model, "--prompts", prompts, "--out", out, "--quiet",       \
                   __VA_ARGS__)

static void assert_done(tv_child_result run) {
    if (run.exit_code != 0)
        fail_msg("exit %d: %s", run.exit_code, run.err);
    tv_child_result_free(&run);
}

static char *path_of(const tv_small_model *small, const char *name) {
    return tv_format("%s/%s", small->dir, name);
}

/* NULL where there is no such file. Nothing is asserted here: GCC at -O3 would take the text for dangling. */
static char *text_of(const char *path) {
    char *text = NULL;
    return tv_read_file(path, &text, NULL) == TV_OK ? text : NULL;
}

/* The lines of a file as one JSON list. */
static cJSON *lines_of(const char *path) {
    char *text = text_of(path);
    assert_non_null(text);
    cJSON *list = cJSON_CreateArray();
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        cJSON *item = NULL;
        assert_ok(tv_json_parse(line, (uint64_t)(end - line), path, &item));
        cJSON_AddItemToArray(list, item);
    }
    free(text);
    return list;
}

static void lines_have_the_fields_in_the_order_of_the_prompts(void **state) {
    const tv_small_model *small = *state;
    char *prompts = tv_small_model_file(small, "prompts.jsonl", PROMPTS),
         *out = path_of(small, "fields.jsonl");
    /* 4 rows for 12 answers: rows are refilled. */
    tv_child_result run =
        sample(small, prompts, out, "-k", "3", "--max-tokens", "20", "--temperature", "1.5", "--top-k", "200",
               "--top-p", "0.95", "--seed", "18446744073709551615", "--rows", "4", "--json");
    if (run.exit_code != 0)
        fail_msg("exit %d: %s", run.exit_code, run.err);
    /* A key of people's data that nothing reads is said, once. */
    assert_non_null(strstr(run.err, "\"note\" of 1 line"));
    cJSON *result = NULL, *lines = lines_of(out), *line, *response;
    assert_ok(tv_json_parse(run.out, strlen(run.out), "result", &result));
    const char *const ids[COUNT] = {"p0", "talk", "p2", "p3"},
                      *const texts[COUNT] = {"\"It was \"",
                                             "[{\"role\":\"user\",\"content\":\"Who\\tare you?\"}]", "\"\"",
                                             "\"and the rest of it, which is a longer prompt\""};
    double tokens = 0, ended = 0;
    int i = 0;
    assert_int_equal(cJSON_GetArraySize(lines), COUNT);
    cJSON_ArrayForEach(line, lines) {
        assert_string_equal(tv_json_get(line, "id")->valuestring, ids[i]);
        char *prompt = cJSON_PrintUnformatted(tv_json_get(line, "prompt"));
        assert_string_equal(prompt, texts[i++]);
        cJSON_free(prompt);
        int c = 0;
        cJSON_ArrayForEach(response, tv_json_get(line, "responses")) {
            char id[16];
            snprintf(id, sizeof id, "r%d", c++);
            assert_string_equal(tv_json_get(response, "id")->valuestring, id);
            assert_string_equal(tv_json_get(response, "policy")->valuestring, small->model);
            assert_true(cJSON_IsString(tv_json_get(response, "text")));
            assert_true(tv_json_get(response, "temperature")->valuedouble == 1.5);
            assert_true(tv_json_get(response, "top_k")->valuedouble == 200);
            assert_true(tv_json_get(response, "top_p")->valuedouble == 0.95);
            double n = tv_json_get(response, "tokens")->valuedouble;
            bool eos = strcmp(tv_json_get(response, "finish")->valuestring, "eos") == 0;
            assert_true(eos ? n >= 1 && n <= 20 : n == 20);
            tokens += n;
            ended += eos;
        }
        assert_int_equal(c, 3);
    }
    assert_true(tv_json_get(result, "tokens")->valuedouble == tokens);
    assert_true(tv_json_get(result, "ended")->valuedouble == ended);
    assert_true(tv_json_get(result, "responses")->valuedouble == 3 * COUNT);
    assert_true(tv_json_get(result, "resumed")->valuedouble == 0);
    assert_true(tv_json_get(result, "tokens_per_second")->valuedouble > 0);
    /* The seed keeps its digits. */
    char *text = text_of(out);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"seed\":18446744073709551615,"));
    free(text);
    cJSON_Delete(result);
    cJSON_Delete(lines);
    tv_child_result_free(&run);
    free(prompts);
    free(out);
}

static void answers_depend_on_seed_prompt_and_number_only(void **state) {
    const tv_small_model *small = *state;
    char *prompts = tv_small_model_file(small, "prompts.jsonl", PROMPTS),
         *one = path_of(small, "rows1.jsonl"), *many = path_of(small, "rows64.jsonl"),
         *two = path_of(small, "k2.jsonl"), *other = path_of(small, "seed2.jsonl");
    assert_done(sample(small, prompts, one, "-k", "3", "--max-tokens", "12", "--rows", "1"));
    assert_done(sample(small, prompts, many, "-k", "3", "--max-tokens", "12"));
    assert_done(sample(small, prompts, two, "-k", "2", "--max-tokens", "12", "--rows", "3"));
    assert_done(sample(small, prompts, other, "-k", "3", "--max-tokens", "12", "--seed", "2"));
    char *a = text_of(one), *b = text_of(many), *d = text_of(other);
    assert_true(a && b && d);
    assert_string_equal(a, b);
    assert_string_not_equal(a, d);
    cJSON *three = lines_of(one), *fewer = lines_of(two);
    for (int i = 0; i < COUNT; i++) {
        const cJSON *x = tv_json_get(cJSON_GetArrayItem(three, i), "responses"),
                    *y = tv_json_get(cJSON_GetArrayItem(fewer, i), "responses");
        assert_int_equal(cJSON_GetArraySize(y), 2);
        for (int c = 0; c < 2; c++)
            assert_true(cJSON_Compare(cJSON_GetArrayItem(x, c), cJSON_GetArrayItem(y, c), true));
        assert_string_not_equal(tv_json_get(cJSON_GetArrayItem(x, 0), "text")->valuestring,
                                tv_json_get(cJSON_GetArrayItem(x, 1), "text")->valuestring);
    }
    cJSON_Delete(three);
    cJSON_Delete(fewer);
    tv_free_all(a, b, d, prompts, one, many, two, other);
}

static void a_cut_file_is_continued_and_a_foreign_one_refused(void **state) {
    const tv_small_model *small = *state;
    char *prompts = tv_small_model_file(small, "prompts.jsonl", PROMPTS), *out = path_of(small, "cut.jsonl");
    assert_done(sample(small, prompts, out, "-k", "2", "--max-tokens", "9"));
    char *whole = text_of(out);
    assert_non_null(whole);
    /* In the middle of the third line, as a kill leaves it; and with nothing but a broken first line. */
    const uint64_t cuts[] = {(uint64_t)(strstr(whole, "\"p2\"") - whole) + 30, 17, strlen(whole)};
    const double kept[] = {2, 0, COUNT};
    for (int i = 0; i < 3; i++) {
        assert_ok(tv_write_file(out, whole, cuts[i]));
        tv_child_result run = sample(small, prompts, out, "-k", "2", "--max-tokens", "9", "--json");
        cJSON *result = NULL;
        assert_int_equal(run.exit_code, 0);
        assert_ok(tv_json_parse(run.out, strlen(run.out), "result", &result));
        assert_true(tv_json_get(result, "resumed")->valuedouble == kept[i]);
        assert_true(tv_json_get(result, "responses")->valuedouble == 2 * (COUNT - kept[i]));
        char *now = text_of(out);
        assert_string_equal(now, whole);
        free(now);
        cJSON_Delete(result);
        tv_child_result_free(&run);
    }
    char *shorter = tv_small_model_file(small, "shorter.jsonl", "{\"prompt\": \"It was \"}\n"),
         *changed = tv_small_model_file(small, "changed.jsonl", "{\"prompt\": \"It is \"}\n"),
         *renamed = tv_small_model_file(small, "renamed.jsonl", "{\"id\": \"a\", \"prompt\": \"It was \"}\n");
    const struct {
        const char *prompts, *k, *length, *option, *sentence;
    } cases[] = {
        {prompts, "3", "9", "--seed=1", "number of responses"},
        {prompts, "2", "8", "--seed=1", "line 1: tokens"},
        {prompts, "2", "10", "--seed=1", "line 1: tokens"},
        {prompts, "2", "9", "--seed=2", "line 1: seed is 1 and this run's is 2"},
        {prompts, "2", "9", "--temperature=0.5", "temperature"},
        {prompts, "2", "9", "--top-k=3", "top_k"},
        {prompts, "2", "9", "--top-p=0.5", "top_p"},
        {shorter, "2", "9", "--seed=1", "line 2: there are only 1 prompts"},
        {changed, "2", "9", "--seed=1", "line 1: prompt"},
        {renamed, "2", "9", "--seed=1", "line 1: id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run = sample(small, cases[i].prompts, out, "-k", cases[i].k, "--max-tokens",
                                     cases[i].length, cases[i].option);
        assert_int_equal(run.exit_code, 2);
        if (!strstr(run.err, cases[i].sentence) || !strstr(run.err, out))
            fail_msg("case %zu: %s", i, run.err);
        tv_child_result_free(&run);
    }
    char *now = text_of(out);
    assert_string_equal(now, whole);
    tv_free_all(now, whole, shorter, changed, renamed, prompts, out);
}

/* Two would mix their lines, and cut each other's. */
static void a_file_that_another_process_writes_is_left_alone(void **state) {
    const tv_small_model *small = *state;
    char *prompts = tv_small_model_file(small, "prompts.jsonl", PROMPTS), *out = path_of(small, "held.jsonl");
    const char torn[] = "{\"id\": \"p0\"";
    tv_appender *other = NULL;
    assert_ok(tv_write_file(out, torn, sizeof torn - 1));
    assert_ok(tv_appender_open(out, UINT64_MAX, false, &other));
    assert_ok(tv_appender_lock(other));
    tv_child_result run = sample(small, prompts, out, "-k", "2", "--max-tokens", "4");
    if (run.exit_code != 1 || !strstr(run.err, "being written by another process") || !strstr(run.err, out))
        fail_msg("exit %d: %s", run.exit_code, run.err);
    tv_child_result_free(&run);
    char *text = text_of(out);
    assert_non_null(text);
    assert_string_equal(text, torn);
    free(text);
    tv_appender_close(&other);
    free(prompts);
    free(out);
}

/* Ctrl-C: exit code 130, whole lines, and the rest as it would have been. */
static void an_interrupted_run_goes_on(void **state) {
    const tv_small_model *small = *state;
    enum { PROMPT_COUNT = 12 };
    char lines[PROMPT_COUNT * 40] = "";
    for (int i = 0; i < PROMPT_COUNT; i++)
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "{\"prompt\": \"number %d\"}\n", i);
    char *prompts = tv_small_model_file(small, "many.jsonl", lines), *out = path_of(small, "stopped.jsonl"),
         *whole = path_of(small, "whole.jsonl");
    tv_child child = tv_start_trivium("sample", "--model", small->model, "--prompts", prompts, "--out", out,
                                      "-k", "3", "--max-tokens", "30", "--rows", "2");
    for (uint64_t size = 0; tv_child_runs(&child) && size == 0;) {
        tv_sleep(0.002);
        if (tv_path_exists(out))
            assert_ok(tv_file_size(out, &size));
    }
    kill(child.pid, SIGINT);
    tv_child_result run = tv_child_wait(&child);
    if (run.exit_code != 130 || !strstr(run.err, "the same command goes on behind them"))
        fail_msg("exit %d: %s", run.exit_code, run.err);
    tv_child_result_free(&run);
    cJSON *there = lines_of(out);
    assert_in_range(cJSON_GetArraySize(there), 1, PROMPT_COUNT - 1);
    cJSON_Delete(there);
    assert_done(sample(small, prompts, out, "-k", "3", "--max-tokens", "30"));
    assert_done(sample(small, prompts, whole, "-k", "3", "--max-tokens", "30"));
    char *a = text_of(out), *b = text_of(whole);
    assert_string_equal(a, b);
    tv_free_all(a, b, prompts, out, whole);
}

static void a_dry_run_prints_bytes_and_writes_nothing(void **state) {
    const tv_small_model *small = *state;
    char *prompts = tv_small_model_file(small, "prompts.jsonl", PROMPTS), *out = path_of(small, "dry.jsonl");
    double bytes[2];
    const char *const rows[] = {"5", "12"}; /* prompts are read in passes of the same length */
    for (int i = 0; i < 2; i++) {
        tv_child_result run = sample(small, prompts, out, "-k", "4", "--rows", rows[i], "--dry-run");
        const char *found = strstr(run.out, "\nbytes ");
        if (run.exit_code != 0 || !found || !strstr(run.out, "it fits"))
            fail_msg("exit %d: %s%s", run.exit_code, run.out, run.err);
        bytes[i] = strtod(found + 7, NULL);
        tv_child_result_free(&run);
    }
    /* Seven more rows of 2 layers x (keys and values) x 2 heads x 8 channels x 128 tokens, and activations.
     */
    assert_in_range(bytes[1] - bytes[0], 7 * 32768, 2 * 7 * 32768);
    assert_false(tv_path_exists(out));
    free(prompts);
    free(out);
}

static void mistakes_name_file_and_line(void **state) {
    const tv_small_model *small = *state;
    char *out = path_of(small, "none.jsonl"), *bare = path_of(small, "bare"), *long_line = malloc(3000);
    assert_ok(tv_make_dirs(bare));
    memset(long_line, 'q', 3000);
    memcpy(long_line, "{\"prompt\": \"", 12);
    memcpy(long_line + 2990, "\"}\n", 4);
    const struct {
        const char *text, *sentence;
    } cases[] = {
        {"{\"prompt\": \"a\"}\n{\"prompt\": 5}\n", "bad.jsonl line 2"},
        {"{\"prompt\": \"a\"}\n{\"prompt\": \"b\"\n", "bad.jsonl line 2"},
        {"{\"text\": \"a\"}\n", "bad.jsonl line 1"},
        {"{\"prompt\": [{\"role\": \"king\", \"content\": \"a\"}]}\n", "bad.jsonl line 1"},
        {"{\"id\": \"p1\", \"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n", "bad.jsonl line 2"},
        {long_line, "bad.jsonl line 1"},
        {"", "bad.jsonl"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *prompts = tv_small_model_file(small, "bad.jsonl", cases[i].text);
        tv_child_result run = sample(small, prompts, out, "-k", "2");
        assert_int_equal(run.exit_code, 2);
        if (strncmp(run.err, "trivium sample: ", 16) != 0 || !strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: %s", i, run.err);
        tv_child_result_free(&run);
        free(prompts);
    }
    char *prompts = tv_small_model_file(small, "good.jsonl", PROMPTS);
    const char *const options[][2] = {{"-k", "0"},      {"-k", "257"},         {"--rows", "0"},
                                      {"--top-p", "2"}, {"--max-tokens", "0"}, {"--prompts", "/nonexistent"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        tv_child_result run = sample(small, prompts, out, options[i][0], options[i][1]);
        assert_int_equal(run.exit_code, 2);
        tv_child_result_free(&run);
    }
    tv_child_result run = tv_run_trivium("sample", "--model", bare, "--prompts", prompts, "--out", out);
    assert_int_equal(run.exit_code, 2);
    tv_child_result_free(&run);
    assert_false(tv_path_exists(out));
    tv_free_all(prompts, long_line, bare, out);
}

static int make(void **state) {
    return tv_small_model_make(state);
}

/* A model that was trained on under the same name, as a run's best checkpoint is: a file of candidates is not
 * continued with its answers, unless that is asked for. One that only lies elsewhere is the same. */
static void another_model_under_the_name_is_noticed(void **state) {
    const tv_small_model *small = *state;
    char *prompts = tv_small_model_file(small, "prompts.jsonl", PROMPTS),
         *out = path_of(small, "model.jsonl");
    char *moved = tv_format("%s-moved", small->model);
    char *weights = tv_format("%s/model.safetensors", small->model), *bytes = NULL;
    uint64_t size;
    assert_done(sample(small, prompts, out, "-k", "2", "--max-tokens", "9"));
    char *whole = text_of(out);
    assert_non_null(whole);
    const uint64_t two_lines = (uint64_t)(strstr(whole, "{\"id\":\"p2\"") - whole);
    assert_ok(tv_rename_durable(small->model, moved));
    assert_ok(tv_write_file(out, whole, two_lines));
    assert_done(tv_run_trivium("sample", "--model", moved, "--prompts", prompts, "--out", out, "--quiet",
                               "-k", "2", "--max-tokens", "9"));
    assert_ok(tv_rename_durable(moved, small->model));
    assert_ok(tv_read_file(weights, &bytes, &size));
    bytes[size - 2] ^= 1; /* of the last float */
    assert_ok(tv_write_file(weights, bytes, size));
    assert_ok(tv_write_file(out, whole, two_lines));
    tv_child_result run = sample(small, prompts, out, "-k", "2", "--max-tokens", "9");
    assert_int_equal(run.exit_code, 2);
    if (!strstr(run.err, "line 1: policy_fingerprint is "))
        fail_msg("it said: %s", run.err);
    tv_child_result_free(&run);
    assert_done(sample(small, prompts, out, "-k", "2", "--max-tokens", "9", "--accept-changes"));
    char *now = text_of(out);
    assert_memory_equal(now, whole, two_lines);
    cJSON *lines = lines_of(out);
    assert_int_equal(cJSON_GetArraySize(lines), COUNT);
    cJSON_Delete(lines);
    bytes[size - 2] ^= 1;
    assert_ok(tv_write_file(weights, bytes, size));
    tv_free_all(now, bytes, weights, whole, moved, out, prompts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_the_fields_in_the_order_of_the_prompts),
        cmocka_unit_test(answers_depend_on_seed_prompt_and_number_only),
        cmocka_unit_test(a_cut_file_is_continued_and_a_foreign_one_refused),
        cmocka_unit_test(another_model_under_the_name_is_noticed),
        cmocka_unit_test(a_file_that_another_process_writes_is_left_alone),
        cmocka_unit_test(an_interrupted_run_goes_on),
        cmocka_unit_test(a_dry_run_prints_bytes_and_writes_nothing),
        cmocka_unit_test(mistakes_name_file_and_line),
    };
    return cmocka_run_group_tests(tests, make, tv_small_model_remove);
}

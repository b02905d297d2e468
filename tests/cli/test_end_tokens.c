/* What other programs stop at: config.json, generation_config.json and tokenizer_config.json of models that
 * sft, dpo and ppo save name the token that ends a turn where the data have turns, and nothing new where they
 * have none.
 *
 * Broken on purpose and seen to fail: the files of the base left as they were (each file alone); the base's
 * end lost; the turn's end behind it; another stage forgotten; the warning given with a trained head. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "support/small_model.h"
#include "support/small_run.h"

enum { END_OF_TEXT = 0, IM_END = 2 };

static int set_up(void **state) {
    return tv_small_model_make(state);
}

static cJSON *read_json(const char *run, const char *name) {
    char *path = tv_format("%s/checkpoints/last/%s", run, name);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    free(path);
    return root;
}

/* One id, or a list of two. */
static void expect_ids(const char *run, const char *file, int first, int second) {
    cJSON *root = read_json(run, file);
    const cJSON *ids = tv_json_get(root, "eos_token_id");
    char *found = NULL;
    assert_ok(tv_json_print_line(ids, &found));
    char *expected = second < 0 ? tv_format("%d", first) : tv_format("[%d,%d]", first, second);
    if (strcmp(found, expected) != 0)
        fail_msg("%s/%s: eos_token_id is %s, expected %s", run, file, found, expected);
    free(expected);
    free(found);
    cJSON_Delete(root);
}

static void expect_chat_ends(const tv_small_model *small, const char *run) {
    expect_ids(run, "config.json", IM_END, END_OF_TEXT);
    expect_ids(run, "generation_config.json", IM_END, END_OF_TEXT);
    char *path = tv_format("%s/tokenizer_config.json", small->model);
    cJSON *config = read_json(run, "tokenizer_config.json"), *before = NULL;
    assert_ok(tv_json_read_file(path, &before));
    assert_string_equal(tv_json_get(config, "eos_token")->valuestring, "<|im_end|>");
    /* All else is as it was. */
    assert_true(
        cJSON_ReplaceItemInObjectCaseSensitive(before, "eos_token", cJSON_CreateString("<|im_end|>")));
    assert_true(cJSON_Compare(config, before, true));
    cJSON_Delete(before);
    cJSON_Delete(config);
    free(path);
}

#define TURN(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"
static const char chat[] = "{\"messages\": [" TURN("user", "a") ", " TURN("assistant", "b") "]}\n";
static const char texts[] = "{\"prompt\": \"2+2=\", \"completion\": \"4\"}\n";
static const char pairs[] = "{\"prompt\": [" TURN("user", "a") "], \"chosen\": \"b\", \"rejected\": \"c\"}\n";
static const char prompts[] = "{\"prompt\": [" TURN("user", "a") "]}\n";

static char *new_run(const tv_small_model *small, const char *name) {
    return tv_format("%s/%s", small->dir, name);
}

static tv_child_result train(const char *stage, const char *model, const char *data, const char *out) {
    return tv_run_trivium(stage, "--model", model, "--data", data, "--out", out, "--set", "train.steps=1",
                          "--set", "train.batch_size=1", "--set", "train.warmup_steps=0", "--set",
                          "data.seq_len=64");
}

static void turns_end_in_all_three_files(void **state) {
    const tv_small_model *small = *state;
    char *data = tv_small_model_file(small, "chat.jsonl", chat), *out = new_run(small, "chat");
    tv_child_result run = train("sft", small->model, data, out);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "answers end with <|im_end|>"));
    expect_chat_ends(small, out);
    tv_child_result_free(&run);

    /* A model that says so is left alone, and stops there. */
    char *again = new_run(small, "again"), *last = tv_format("%s/checkpoints/last", out);
    run = train("sft", out, data, again);
    tv_expect_exit(&run, 0);
    assert_null(strstr(run.err, "answers end with"));
    char *next = tv_format("%s/checkpoints/last", again);
    static const char *const files[] = {"config.json", "generation_config.json", "tokenizer_config.json"};
    for (size_t i = 0; i < TV_COUNT(files); i++)
        tv_expect_same_file(last, next, files[i]);
    tv_child_result_free(&run);
    tv_free_all(next, last, again, out, data);
}

static void texts_change_nothing(void **state) {
    const tv_small_model *small = *state;
    char *data = tv_small_model_file(small, "texts.jsonl", texts), *out = new_run(small, "texts");
    char *last = tv_format("%s/checkpoints/last", out);
    tv_child_result run = train("sft", small->model, data, out);
    tv_expect_exit(&run, 0);
    expect_ids(out, "config.json", END_OF_TEXT, -1);
    expect_ids(out, "generation_config.json", END_OF_TEXT, -1);
    tv_expect_same_file(small->model, last, "tokenizer_config.json");
    tv_child_result_free(&run);
    tv_free_all(last, out, data);
}

/* The stages behind sft, from a base that knows no turns. */
static void every_stage_that_answers_says_it(void **state) {
    const tv_small_model *small = *state;
    char *data = tv_small_model_file(small, "pairs.jsonl", pairs), *out = new_run(small, "dpo");
    tv_child_result run = train("dpo", small->model, data, out);
    tv_expect_exit(&run, 0);
    expect_chat_ends(small, out);
    tv_child_result_free(&run);
    free(out);
    free(data);
    data = tv_small_model_file(small, "prompts.jsonl", prompts);
    out = new_run(small, "ppo");
    run =
        tv_run_trivium("ppo", "--model", small->model, "--prompts", data, "--out", out, "--reward-cmd",
                       "while read -r line; do echo '{\"score\": 1}'; done", "--set", "ppo.iterations=1",
                       "--set", "ppo.prompts=2", "--set", "ppo.minibatch=2", "--set", "ppo.max_new_tokens=4",
                       "--set", "train.batch_size=2", "--set", "train.warmup_steps=0");
    tv_expect_exit(&run, 0);
    expect_chat_ends(small, out);
    tv_child_result_free(&run);
    free(out);
    free(data);
}

/* A base whose end token was never learned, as far as its head shows it: the row of another token. */
static void an_end_that_no_adapter_can_learn_is_said(void **state) {
    const tv_small_model *small = *state;
    char *path = tv_format("%s/model.safetensors", small->model), *bytes = NULL;
    uint64_t size = 0;
    assert_ok(tv_read_file(path, &bytes, &size));
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open_bytes((const uint8_t *)bytes, size, path, &file));
    const tv_safetensor *head = tv_safetensors_find(file, "lm_head.weight");
    if (!head)
        head = tv_safetensors_find(file, "model.embed_tokens.weight");
    assert_non_null(head);
    uint64_t row = head->bytes / head->shape[0], begin; /* of the data: behind the header and its size */
    memcpy(&begin, bytes, sizeof begin);
    char *rows = bytes + sizeof begin + begin + head->offset;
    char *data = tv_small_model_file(small, "ends.jsonl", texts);
    for (int alike = 0; alike < 2; alike++) {
        if (alike) {
            memcpy(rows + 7 * row, rows + END_OF_TEXT * row, row);
            memcpy(rows + 9 * row, rows + END_OF_TEXT * row, row);
            assert_ok(tv_write_file(path, bytes, size));
        }
        const char *const ranks[] = {"lora.rank=2", "lora.rank=0"};
        for (int all = 0; all < 2; all++) {
            tv_child_result run =
                tv_run_trivium("sft", "--model", small->model, "--data", data, "--out", "none", "--set",
                               "data.seq_len=64", "--set", ranks[all], "--dry-run");
            tv_expect_exit(&run, 0);
            const char *said = strstr(run.err, "is about that of 2 other tokens");
            if (!said != !(alike && !all))
                fail_msg("alike %d, %s: %s", alike, ranks[all], run.err);
            tv_child_result_free(&run);
        }
    }
    tv_safetensors_close(&file);
    tv_free_all(data, bytes, path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_end_in_all_three_files),
        cmocka_unit_test(texts_change_nothing),
        cmocka_unit_test(every_stage_that_answers_says_it),
        cmocka_unit_test(an_end_that_no_adapter_can_learn_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tv_small_model_remove);
}

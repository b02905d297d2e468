/* trivium generate as a person runs it, on a small published model with a tokenizer trained here. */
#include "support/small_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"

#define GOLDEN TRIVIUM_SOURCE_DIR "/tests/golden/llama_100k/"

enum { CONTEXT = TV_SMALL_CONTEXT };

typedef tv_small_model fixture;

static void copy_file(const char *from, const char *folder, const char *name) {
    char *text = NULL, *source = tv_format("%s%s", from, name), *target = tv_format("%s/%s", folder, name);
    uint64_t size;
    assert_ok(tv_read_file(source, &text, &size));
    assert_ok(tv_write_file(target, text, size));
    tv_free_all(text, source, target);
}

static int make_model(void **state) {
    return tv_small_model_make(state);
}

static uint64_t count_of(const cJSON *result, const char *key) {
    return (uint64_t)cJSON_GetArraySize(tv_json_get(result, key));
}

static void json_has_text_ids_and_logprobs(void **state) {
    const fixture *f = *state;
    tv_child_result run =
        tv_run_trivium("generate", "--model", f->model, "--prompt", "It was ", "--max-tokens", "24", "--seed",
                       "5", "--temperature", "1", "--json", "--quiet");
    assert_string_equal(run.err, "");
    cJSON *result = tv_result_of(&run);
    uint64_t count = count_of(result, "ids");
    assert_in_range(count, 1, 24);
    assert_int_equal(count_of(result, "logprobs"), count);
    const cJSON *item;
    double sum = 0;
    cJSON_ArrayForEach(item, tv_json_get(result, "logprobs")) {
        assert_true(item->valuedouble < 0);
        sum += item->valuedouble;
    }
    /* Hardly trained: about ln 307 = 5.7 nats a token, drawn from the model itself. */
    assert_near(-sum / (double)count, 5, 2.5);
    bool length = strcmp(tv_json_get(result, "finish")->valuestring, "length") == 0;
    assert_int_equal(length, count == 24);

    /* The text is what the tokenizer makes of the ids. */
    char *ids = tv_format("%s/ids", f->dir), list[1024] = "";
    cJSON_ArrayForEach(item, tv_json_get(result, "ids"))
        snprintf(list + strlen(list), sizeof list - strlen(list), "%d ", item->valueint);
    assert_ok(tv_write_file(ids, list, strlen(list)));
    tv_child_result decoded = tv_run_trivium("tokenizer", "decode", "--tokenizer", f->model, "--input", ids,
                                             "--skip-special", "--json");
    cJSON *text = tv_result_of(&decoded);
    assert_string_equal(tv_json_get(text, "text")->valuestring, tv_json_get(result, "text")->valuestring);
    cJSON_Delete(text);
    cJSON_Delete(result);
    tv_child_result_free(&decoded);
    tv_child_result_free(&run);
    free(ids);
}

static void seeds_and_greed_decide(void **state) {
    const fixture *f = *state;
    tv_child_result a = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens",
                                       "20", "--seed", "1");
    tv_child_result b = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens",
                                       "20", "--seed", "1");
    tv_child_result c = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens",
                                       "20", "--seed", "2");
    assert_int_equal(a.exit_code, 0);
    assert_string_equal(a.out, b.out);
    assert_string_not_equal(a.out, c.out);
    assert_int_equal(strncmp(a.out, "It", 2), 0);
    assert_non_null(strstr(a.err, "tokens/s"));
    tv_child_result_free(&a);
    tv_child_result_free(&b);
    tv_child_result_free(&c);
    a = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens", "20",
                       "--temperature", "0", "--seed", "1");
    b = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens", "20", "--top-k",
                       "1", "--seed", "2");
    assert_int_equal(a.exit_code, 0);
    assert_string_equal(a.out, b.out);
    tv_child_result_free(&a);
    tv_child_result_free(&b);
}

/* A capture changes no text; each is asked for once, at its step. */
static void drawing_is_captured(void **state) {
    const fixture *f = *state;
    tv_child_result plain = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens",
                                           "9"),
                    captured = tv_run_trivium("generate", "--model", f->model, "--prompt", "It",
                                              "--max-tokens", "9", "--capture-step", "3"),
                    beyond = tv_run_trivium("generate", "--model", f->model, "--prompt", "It", "--max-tokens",
                                            "9", "--capture-step", "3000");
    assert_int_equal(captured.exit_code, 0);
    assert_string_equal(captured.out, plain.out);
    const char *said = strstr(captured.err, "no capture");
    assert_non_null(said);
    assert_null(strstr(said + 1, "no capture"));
    assert_null(strstr(plain.err, "no capture"));
    assert_null(strstr(beyond.err, "no capture"));
    tv_child_result_free(&plain);
    tv_child_result_free(&captured);
    tv_child_result_free(&beyond);
    char *prompts = tv_small_model_file(f, "prompts.jsonl", "{\"prompt\": \"It\"}\n");
    char *out = tv_format("%s/candidates.jsonl", f->dir);
    captured = tv_run_trivium("sample", "--model", f->model, "--prompts", prompts, "--out", out,
                              "--max-tokens", "9", "--capture-step", "6");
    assert_int_equal(captured.exit_code, 0);
    assert_non_null(strstr(captured.err, "no capture"));
    tv_child_result_free(&captured);
    free(prompts);
    free(out);
}

static void the_context_ends_the_text(void **state) {
    const fixture *f = *state;
    char prompt[101];
    memset(prompt, '.', 100);
    prompt[100] = 0;
    tv_child_result encoded =
        tv_run_trivium("tokenizer", "encode", "--tokenizer", f->model, "--text", prompt, "--json");
    cJSON *ids = tv_result_of(&encoded);
    uint64_t length = count_of(ids, "ids");
    tv_child_result run = tv_run_trivium("generate", "--model", f->model, "--prompt", prompt, "--max-tokens",
                                         "500", "--temperature", "0", "--json");
    cJSON *result = tv_result_of(&run);
    assert_string_equal(tv_json_get(result, "finish")->valuestring, "length");
    assert_int_equal(count_of(result, "ids"), CONTEXT - length);
    cJSON_Delete(ids);
    cJSON_Delete(result);
    tv_child_result_free(&encoded);
    tv_child_result_free(&run);
}

/* Greedy, and as long as the context allows. */
static cJSON *ids_behind(const char *model, const char *prompt) {
    tv_child_result run = tv_run_trivium("generate", "--model", model, "--prompt", prompt, "--max-tokens",
                                         "500", "--temperature", "0", "--json");
    cJSON *result = tv_result_of(&run), *ids = cJSON_DetachItemFromObjectCaseSensitive(result, "ids");
    cJSON_Delete(result);
    tv_child_result_free(&run);
    return ids;
}

/* With the token that the tokenizer's files put before a text, once, also where the prompt spells it; an
 * empty prompt is that token and not the end-of-text token. */
static void a_text_begins_as_the_tokenizer_says(void **state) {
    const fixture *f = *state;
    static const char config[] =
        "{\"add_bos_token\": true, \"bos_token\": \"<|im_start|>\", \"eos_token\": \"<|endoftext|>\"}";
    char *begins = tv_format("%s/begins", f->dir), *at = tv_format("%s/tokenizer_config.json", begins);
    assert_ok(tv_make_dirs(begins));
    const char *const names[] = {"/config.json", "/model.safetensors", "/tokenizer.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        copy_file(f->model, begins, names[i]);
    assert_ok(tv_write_file(at, config, sizeof config - 1));
    cJSON *without = ids_behind(f->model, "...."), *with = ids_behind(begins, "....");
    cJSON *spelled = ids_behind(begins, "<|im_start|>....");
    assert_int_equal(cJSON_GetArraySize(with), cJSON_GetArraySize(without) - 1);
    assert_true(cJSON_Compare(with, spelled, true));
    cJSON *empty = ids_behind(begins, ""), *token = ids_behind(f->model, "<|im_start|>");
    cJSON *end = ids_behind(f->model, "");
    assert_true(cJSON_Compare(empty, token, true));
    assert_false(cJSON_Compare(empty, end, true));
    cJSON *const lists[] = {without, with, spelled, empty, token, end};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        cJSON_Delete(lists[i]);
    free(at);
    free(begins);
}

/* Without a prompt the text is a new document; a run stands for its best checkpoint. */
static void a_run_and_no_prompt_do(void **state) {
    const fixture *f = *state;
    char *checkpoints = tv_format("%s/run/checkpoints", f->dir), *step = tv_format("%s/step-1", checkpoints),
         *best = tv_format("%s/best", checkpoints), *run_path = tv_format("%s/run", f->dir);
    assert_ok(tv_make_dirs(step));
    const char *const names[] = {"/config.json", "/model.safetensors", "/tokenizer.json",
                                 "/tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        copy_file(f->model, step, names[i]);
    assert_ok(tv_replace_link("step-1", best));
    tv_child_result run = tv_run_trivium("generate", "--model", run_path, "--max-tokens", "3", "--json");
    cJSON *result = tv_result_of(&run);
    assert_in_range(count_of(result, "ids"), 1, 3);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    tv_free_all(checkpoints, step, best, run_path);
}

static void mistakes_give_exit_code_2(void **state) {
    const fixture *f = *state;
    char *bare = tv_format("%s/bare", f->dir), *long_prompt = calloc(1, 4001);
    assert_ok(tv_make_dirs(bare));
    copy_file(GOLDEN, bare, "config.json");
    copy_file(GOLDEN, bare, "model.safetensors");
    memset(long_prompt, 'q', 4000);
    const struct {
        const char *model, *prompt, *option, *sentence;
    } cases[] = {
        {f->model, long_prompt, "--max-tokens=1", "the model's context is 128"},
        {bare, "x", "--max-tokens=1", "tokenizer.json"},
        {f->dir, "x", "--max-tokens=1", "found none of them"},
        {"/nonexistent", "x", "--max-tokens=1", "/nonexistent"},
        {f->model, "x", "--max-tokens=0", "max-tokens"},
        {f->model, "x", "--temperature=-1", "temperature"},
        {f->model, "x", "--top-p=1.5", "top-p"},
        {f->model, "x", "--top-q=1", "--top-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run = tv_run_trivium("generate", "--model", cases[i].model, "--prompt",
                                             cases[i].prompt, cases[i].option);
        assert_int_equal(run.exit_code, 2);
        assert_string_equal(run.out, "");
        if (strncmp(run.err, "trivium generate: ", 18) != 0 || !strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: %s", i, run.err);
        tv_child_result_free(&run);
    }
    free(bare);
    free(long_prompt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_text_ids_and_logprobs),
        cmocka_unit_test(seeds_and_greed_decide),
        cmocka_unit_test(drawing_is_captured),
        cmocka_unit_test(the_context_ends_the_text),
        cmocka_unit_test(a_run_and_no_prompt_do),
        cmocka_unit_test(mistakes_give_exit_code_2),
        cmocka_unit_test(a_text_begins_as_the_tokenizer_says),
    };
    return cmocka_run_group_tests(tests, make_model, tv_small_model_remove);
}

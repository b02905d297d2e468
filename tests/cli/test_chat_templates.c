/* Chat templates of strangers under the commands: what cannot be rendered is one sentence, exit code 2, and
 * no run; a model tuned with the built-in template is saved with it.
 *
 * Broken on purpose and seen to fail: the template not saved; the line of the data left out of the sentence;
 * the date of resuming in place of the beginning's.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/small_model.h"
#include "support/small_run.h"

static int set_up(void **state) {
    return tv_small_model_make(state);
}

/* The model's tokenizer_config.json with this template, as JSON or NULL. */
static void write_template(const tv_small_model *small, const char *jinja) {
    char *path = tv_format("%s/tokenizer_config.json", small->model);
    char *text = jinja ? tv_format("{\"eos_token\": \"<|endoftext|>\", \"chat_template\": %s}", jinja)
                       : tv_format("{\"eos_token\": \"<|endoftext|>\"}");
    tv_write_text(path, text);
    tv_free_all(path, text);
}

#define TURN(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"
static const char lines[] = "{\"messages\": [" TURN("user", "a") ", " TURN(
    "assistant", "b") "]}\n"
                      "{\"messages\": [" TURN("user", "c") ", " TURN("user", "d") ", " TURN("assistant",
                                                                                            "e") "]}\n";

static void what_cannot_be_rendered_is_a_sentence(void **state) {
    const tv_small_model *small = *state;
    static const char *const cases[][2] = {
        {"\"{% for m in messages %}\\n{{ m.content\"", "chat template line 2: expected }}"},
        {"\"{% set r = range(9999) %}\\n\\n{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}\"",
         "chat template line 3: expected a template that ends"},
        {"\"{% set n = namespace(t='a') %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}\"",
         "chat template line 1: expected a template that needs memory"},
        {"\"{% for m in messages %}{% if m.role == 'user' and loop.index0 % 2 %}{{ raise_exception('roles "
         "must "
         "alternate') }}{% endif %}{{ m.content }}<|im_end|>{% endfor %}\"",
         "data.jsonl line 2: chat template line 1: the template refuses the conversation: roles must "
         "alternate"},
    };
    char *data = tv_small_model_file(small, "data.jsonl", lines), *out = tv_format("%s/run", small->dir);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        write_template(small, cases[i][0]);
        tv_trivium_says(2, cases[i][1], "sft", "--model", small->model, "--data", data, "--out", out,
                        "--quiet");
        assert_false(tv_path_exists(out));
    }
    tv_trivium_says(2, "roles must alternate", "sft", "--model", small->model, "--data", data, "--out", out,
                    "--quiet");
    tv_free_all(data, out);
}

static void train_dated(const char *model, const char *data, const char *out, const char *date,
                        const char *stop_after, const char *resume) {
    assert_int_equal(setenv("SOURCE_DATE_EPOCH", date, 1), 0);
    tv_child_result run =
        tv_run_trivium("sft", "--out", out, "--model", model, "--data", data, "--quiet", "--set",
                       "train.steps=4", "--set", "train.batch_size=1", "--set", "train.warmup_steps=0",
                       "--set", "data.seq_len=96", "--stop-after", stop_after, resume);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    unsetenv("SOURCE_DATE_EPOCH");
}

/* A template that writes the date, as Llama 3.1's, and a run that goes on another day. */
static void a_resumed_run_keeps_its_date(void **state) {
    const tv_small_model *small = *state;
    static const char *const names[] = {"whole", "parted", "tomorrow"};
    char *data = tv_small_model_file(small, "data.jsonl", lines), *last[3], *out[3];
    for (int i = 0; i < 3; i++) {
        out[i] = tv_format("%s/%s", small->dir, names[i]);
        last[i] = tv_format("%s/checkpoints/last", out[i]);
    }
    write_template(
        small, "\"{% set day = strftime_now('%d %b %Y') %}{% for m in messages %}<|im_start|>{{ m.role }} "
               "{{ day }}\\n{{ m.content }}<|im_end|>\\n{% endfor %}{% if add_generation_prompt %}"
               "<|im_start|>assistant {{ day }}\\n{% endif %}\"");
    train_dated(small->model, data, out[0], "1721990400", "0", NULL);
    train_dated(small->model, data, out[1], "1721990400", "2", NULL);
    train_dated(small->model, data, out[1], "1722090400", "0", "--resume");
    train_dated(small->model, data, out[2], "1722090400", "0", NULL);
    tv_expect_same_file(last[0], last[1], "model.safetensors");
    char *texts[2] = {tv_format("%s/model.safetensors", last[0]), tv_format("%s/model.safetensors", last[2])};
    char *bytes[2];
    uint64_t sizes[2];
    for (int i = 0; i < 2; i++)
        assert_ok(tv_read_file(texts[i], &bytes[i], &sizes[i]));
    assert_true(sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) != 0); /* the date matters */
    for (int i = 0; i < 2; i++)
        tv_free_all(texts[i], bytes[i]);
    for (int i = 0; i < 3; i++)
        tv_free_all(out[i], last[i]);
    free(data);
}

static void the_built_in_template_is_saved(void **state) {
    const tv_small_model *small = *state;
    char *data = tv_small_model_file(small, "data.jsonl", lines), *out = tv_format("%s/tuned", small->dir);
    char *saved = tv_format("%s/checkpoints/last/tokenizer_config.json", out);
    cJSON *config = NULL;
    write_template(small, NULL);
    tv_child_result run = tv_run_trivium("sft", "--model", small->model, "--data", data, "--out", out,
                                         "--set", "train.steps=1", "--set", "train.batch_size=1", "--set",
                                         "train.warmup_steps=0", "--set", "data.seq_len=64");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "chat template: built-in ChatML; the tokenizer has none"));
    tv_child_result_free(&run);
    assert_ok(tv_json_read_file(saved, &config));
    const cJSON *jinja = tv_json_get(config, "chat_template");
    assert_true(cJSON_IsString(jinja));
    assert_non_null(strstr(jinja->valuestring, "{{ '<|im_start|>assistant\\n' }}"));
    assert_string_equal(tv_json_get(config, "eos_token")->valuestring, "<|im_end|>");
    cJSON_Delete(config);
    /* It is the tuned model's own from now on. */
    run = tv_run_trivium("generate", "--model", out, "--chat", "--prompt", "a", "--max-tokens", "1");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "chat template: the tokenizer's own; turns end with <|im_end|>"));
    tv_child_result_free(&run);
    tv_free_all(data, out, saved);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_rendered_is_a_sentence),
        cmocka_unit_test(a_resumed_run_keeps_its_date),
        cmocka_unit_test(the_built_in_template_is_saved),
    };
    return cmocka_run_group_tests(tests, set_up, tv_small_model_remove);
}

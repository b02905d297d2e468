/* trivium export as a person runs it: what goes out as GGUF or as a directory says the same when it is read
 * again; a GGUF file serves wherever a model does; mistakes are one sentence, exit code 2, and leave nothing.
 */
#include "support/small_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"

typedef tv_small_model fixture;

static int make_model(void **state) {
    return tv_small_model_make(state);
}

/* Text, ids and log-probabilities of a greedy answer, as one line. */
static char *greedy(const char *model) {
    tv_child_result run = tv_run_trivium("generate", "--model", model, "--prompt", "It was the best",
                                         "--max-tokens", "20", "--temperature", "0", "--json", "--quiet");
    if (run.exit_code != 0)
        fail_msg("%s: %s", model, run.err);
    char *said = tv_format("%s", run.out);
    tv_child_result_free(&run);
    return said;
}

static void export_to(const char *model, const char *format, const char *dtype, const char *out) {
    tv_child_result run = tv_run_trivium("export", "--model", model, "--format", format, "--dtype", dtype,
                                         "--out", out, "--json", "--quiet");
    if (run.exit_code != 0)
        fail_msg("%s %s: %s", format, dtype, run.err);
    cJSON *result = tv_result_of(&run);
    assert_string_equal(cJSON_GetStringValue(tv_json_get(result, "out")), out);
    cJSON_Delete(result);
    tv_child_result_free(&run);
}

static void what_goes_out_says_the_same(void **state) {
    const fixture *f = *state;
    char *gguf = tv_format("%s/f32.gguf", f->dir), *hf = tv_format("%s/hf", f->dir);
    char *back = tv_format("%s/back", f->dir), *again = tv_format("%s/again.gguf", f->dir);
    char *here = greedy(f->model);
    export_to(f->model, "gguf", "f32", gguf);
    export_to(f->model, "hf", "f32", hf);
    export_to(gguf, "hf", "f32", back);
    export_to(back, "gguf", "f32", again);
    const char *const models[] = {gguf, hf, back, again};
    for (size_t i = 0; i < TV_COUNT(models); i++) {
        char *there = greedy(models[i]);
        assert_string_equal(there, here); /* log-probabilities too, so logits to the last bit */
        free(there);
    }
    /* Twice the same bytes: nothing of the time or the machine is in the file. */
    char *one = NULL, *other = NULL;
    uint64_t one_size, other_size;
    export_to(f->model, "gguf", "f32", again);
    assert_ok(tv_read_file(gguf, &one, &one_size));
    assert_ok(tv_read_file(again, &other, &other_size));
    assert_int_equal(one_size, other_size);
    assert_memory_equal(one, other, one_size);
    tv_free_all(gguf, hf, back, again, here, one, other);
}

static void narrower_types_are_read_again(void **state) {
    const fixture *f = *state;
    static const char *const types[] = {"f16", "bf16", "q8_0"};
    for (size_t i = 0; i < TV_COUNT(types); i++) {
        char *path = tv_format("%s/%s.gguf", f->dir, types[i]),
             *back = tv_format("%s/back-%s", f->dir, types[i]);
        export_to(f->model, "gguf", types[i], path);
        export_to(path, "hf", "f32", back);
        /* The rounded weights are the same weights, whichever way they come. */
        char *here = greedy(path), *there = greedy(back);
        assert_string_equal(there, here);
        tv_free_all(path, back, here, there);
    }
}

static void a_file_serves_where_a_model_does(void **state) {
    const fixture *f = *state;
    char *gguf = tv_format("%s/base.gguf", f->dir), *run_dir = tv_format("%s/run", f->dir);
    char *data = tv_small_model_file(f, "answers.jsonl",
                                     "{\"prompt\": \"one\", \"completion\": \"two\"}\n"
                                     "{\"prompt\": \"three\", \"completion\": \"four\"}\n");
    char *text =
        tv_small_model_file(f, "text.txt", "It was the age of wisdom, it was the age of foolishness.\n");
    export_to(f->model, "gguf", "f32", gguf);
    double losses[2];
    const char *const models[] = {f->model, gguf};
    for (int i = 0; i < 2; i++) {
        tv_child_result run =
            tv_run_trivium("eval", "--model", models[i], "--data", text, "--json", "--quiet");
        if (run.exit_code != 0)
            fail_msg("%s", run.err);
        cJSON *result = tv_result_of(&run);
        losses[i] = tv_result_number(result, "loss");
        cJSON_Delete(result);
        tv_child_result_free(&run);
    }
    assert_near(losses[1], losses[0], 0);
    tv_child_result run = tv_run_trivium("sft", "--model", gguf, "--data", data, "--out", run_dir, "--quiet",
                                         "--set", "train.steps=2", "--set", "data.seq_len=32");
    if (run.exit_code != 0)
        fail_msg("%s", run.err);
    tv_child_result_free(&run);
    char *weights = tv_format("%s/checkpoints/last/model.safetensors", run_dir);
    char *tokenizer = tv_format("%s/checkpoints/last/tokenizer.json", run_dir);
    assert_true(tv_path_exists(weights));
    assert_true(tv_path_exists(tokenizer));
    free(greedy(run_dir));
    run = tv_run_trivium("sft", "--data", data, "--out", run_dir, "--quiet", "--resume", "--set",
                         "train.steps=3");
    if (run.exit_code != 0)
        fail_msg("%s", run.err);
    tv_child_result_free(&run);
    tv_free_all(gguf, run_dir, data, text, weights, tokenizer);
}

static void expect(tv_child_result run, const char *words) {
    if (run.exit_code != 2 || !strstr(run.err, words) || strchr(run.err, '\n') != strrchr(run.err, '\n'))
        fail_msg("expected exit code 2 and one line with \"%s\", found %d: %s", words, run.exit_code,
                 run.err);
    tv_child_result_free(&run);
}

static void mistakes_leave_nothing(void **state) {
    const fixture *f = *state;
    char *folder = tv_format("%s/mistakes", f->dir), *out = tv_format("%s/out", folder);
    char *weights = tv_format("%s/model.safetensors", f->model), *cut = tv_format("%s/cut.gguf", f->dir);
    char *whole = tv_format("%s/whole.gguf", f->dir), *bytes = NULL;
    uint64_t size;
    assert_ok(tv_make_dirs(folder));
    export_to(f->model, "gguf", "f32", whole);
    assert_ok(tv_read_file(whole, &bytes, &size));
    assert_ok(tv_write_file(cut, bytes, size - 100));
    expect(tv_run_trivium("export", "--model", f->model, "--format", "onnx", "--out", out), "hf|gguf");
    expect(tv_run_trivium("export", "--model", f->model, "--out", out), "--format");
    expect(tv_run_trivium("export", "--model", f->model, "--format", "gguf"), "--out");
    expect(tv_run_trivium("export", "--model", f->dir, "--format", "gguf", "--out", out),
           "expected a model directory");
    expect(tv_run_trivium("export", "--model", f->model, "--format", "hf", "--dtype", "q8_0", "--out", out),
           "q8_0");
    expect(tv_run_trivium("export", "--model", f->model, "--format", "hf", "--out", folder), "new name");
    expect(tv_run_trivium("export", "--model", f->model, "--format", "gguf", "--out", folder), "directory");
    expect(tv_run_trivium("export", "--model", f->model, "--format", "gguf", "--out", weights),
           "model.safetensors");
    expect(tv_run_trivium("export", "--model", whole, "--format", "gguf", "--out", whole), "whole.gguf");
    expect(tv_run_trivium("export", "--model", cut, "--format", "gguf", "--out", out), "cut short");
    expect(tv_run_trivium("generate", "--model", cut, "--prompt", "x"), "cut short");
    expect(tv_run_trivium("score", "--model", whole, "--data", weights), "language model");
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(folder, &names, &count));
    assert_int_equal(count, 0);
    tv_free_names(&names, count);
    free(greedy(f->model)); /* and the model is what it was */
    tv_free_all(folder, out, weights, cut, whole, bytes);
}

/* Cut into files, the model says the same. */
static void shards_are_as_large_as_asked(void **state) {
    const fixture *f = *state;
    char *cut = tv_format("%s/cut", f->dir),
         *index = tv_format("%s/cut/model.safetensors.index.json", f->dir);
    char *here = greedy(f->model);
    tv_child_result run = tv_run_trivium("export", "--model", f->model, "--format", "hf", "--shard-size",
                                         "50KB", "--out", cut, "--quiet");
    if (run.exit_code != 0)
        fail_msg("%s", run.err);
    tv_child_result_free(&run);
    assert_true(tv_path_exists(index));
    char **names = NULL;
    uint64_t count = 0, shards = 0;
    assert_ok(tv_list_dir(cut, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        shards += strncmp(names[i], "model-", 6) == 0;
    assert_true(shards > 1);
    char *there = greedy(cut);
    assert_string_equal(there, here);
    static const char *const wrong[] = {"", "5 GB", "0", "-1MB", "5TB", "nan", "1e99GB"};
    for (size_t i = 0; i < TV_COUNT(wrong); i++) {
        run = tv_run_trivium("export", "--model", f->model, "--format", "hf", "--shard-size", wrong[i],
                             "--out", cut);
        if (run.exit_code != 2 || !strstr(run.err, "--shard-size: expected a size"))
            fail_msg("%s: %s", wrong[i], run.err);
        tv_child_result_free(&run);
    }
    tv_free_names(&names, count);
    tv_free_all(there, here, index, cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_out_says_the_same),      cmocka_unit_test(narrower_types_are_read_again),
        cmocka_unit_test(a_file_serves_where_a_model_does), cmocka_unit_test(mistakes_leave_nothing),
        cmocka_unit_test(shards_are_as_large_as_asked),
    };
    return cmocka_run_group_tests(tests, make_model, tv_small_model_remove);
}

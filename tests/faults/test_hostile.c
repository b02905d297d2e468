/* Hostile inputs through the whole command: exit code 2 (1 where it is the disk that fails), one line that
 * names the file, nothing written and nothing changed.
 *
 * Tried: the run's directory made before the configuration is read; --out allowed to be a model's directory.
 * Each fails.
 */
#include "support/support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "support/small_run.h"
#include "text/shard.h"

static const char train_json[] = "\"steps\": 8, \"batch_size\": 2, \"lr\": 1e-2, \"warmup_steps\": 1,"
                                 " \"eval_every\": 0, \"checkpoint_every\": 4";

/* The run must end with 2, or 1, and one line with `word`; and the folder be what it was. */
static void expect_refused(tv_child_result *run, const tv_small_run *place, const char *before,
                           const char *word, const char *what) {
    tv_expect_sentence(run, run->exit_code == 1 ? 1 : 2, word, what);
    tv_child_result_free(run);
    char *after = tv_tree_text(place->dir);
    if (strcmp(before, after) != 0)
        fail_msg("%s: the folder was changed, from\n%sto\n%s", what, before, after);
    free(after);
}

static void configurations(void **state) {
    (void)state;
    enum { DEEP = 100 << 20 };
    tv_small_run place = tv_small_run_create(train_json);
    char *out = tv_small_run_path(&place, "run"), *bad = tv_small_run_path(&place, "bad.json");
    char *deep = malloc(DEEP);
    assert_non_null(deep);
    memset(deep, '[', DEEP);
    static const char zeros[64], binary[] = "\x7f"
                                            "ELF\x02\x01\x01\x00\xff\xfe\xc3\x28";
    const struct {
        const char *what, *bytes;
        uint64_t size;
    } cases[] = {
        {"an empty configuration", "", 0},
        {"a configuration of spaces", "  \n\t ", 5},
        {"a configuration of zeros", zeros, sizeof zeros},
        {"a binary configuration", binary, sizeof binary - 1},
        {"a list", "[]", 2},
        {"a number", "1", 1},
        {"half a configuration", "{\"data\": {\"train\": [", 20},
        {"two configurations", "{} {}", 5},
        {"bytes that are not UTF-8", "{\"\xff\": 1}", 8},
        {"100 MB of brackets", deep, DEEP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(tv_write_file(bad, cases[i].bytes, cases[i].size));
        char *before = tv_tree_text(place.dir);
        tv_child_result run = tv_run_trivium("pretrain", "--config", bad, "--out", out, "--quiet");
        expect_refused(&run, &place, before, "bad.json", cases[i].what);
        free(before);
    }
    assert_ok(tv_remove_tree(bad));
    char *before = tv_tree_text(place.dir);
    tv_child_result run = tv_run_trivium("pretrain", "--config", place.dir, "--out", out, "--quiet");
    expect_refused(&run, &place, before, place.dir, "a directory as configuration");
    tv_free_all(before, deep, bad, out);
    tv_small_run_destroy(&place);
}

static void shards(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *out = tv_small_run_path(&place, "run"), *bad = tv_small_run_path(&place, "bad.bin");
    char *train = tv_format("data.train=[\"%s\"]", bad), *val = tv_format("data.val=[\"%s\"]", bad),
         *bytes = NULL;
    const char *const sets[] = {train, val};
    uint64_t size;
    assert_ok(tv_read_file(place.shard, &bytes, &size));
    /* Empty, half a header, no token behind it, one token, which has no target. */
    const uint64_t sizes[] = {0, 512, 1024, 1024 + 2};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const uint32_t count = sizes[i] > 1024;
        memcpy(bytes + 8, &count, sizeof count);
        assert_ok(tv_write_file(bad, bytes, sizes[i]));
        char *before = tv_tree_text(place.dir);
        for (int s = 0; s < 2; s++) {
            tv_child_result run = tv_run_trivium("pretrain", "--config", place.config, "--out", out,
                                                 "--quiet", "--set", sets[s]);
            expect_refused(&run, &place, before, "bad.bin", sets[s]);
        }
        free(before);
    }
    assert_ok(tv_remove_tree(bad));
    assert_ok(tv_make_dirs(bad));
    char *before = tv_tree_text(place.dir);
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--set", train);
    expect_refused(&run, &place, before, "bad.bin", "a directory as shard");
    tv_free_all(before, bytes, train, val, bad, out);
    tv_small_run_destroy(&place);
}

static void replace_once(char *bytes, uint64_t size, const char *from, const char *to) {
    uint64_t length = strlen(from);
    assert_int_equal(length, strlen(to));
    for (uint64_t i = 0; i + length <= size; i++) {
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            return;
        }
    }
    fail_msg("\"%s\" is not in the file", from);
}

static void initial_models(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *first = tv_small_run_path(&place, "first"), *out = tv_small_run_path(&place, "run");
    char *init = tv_small_run_path(&place, "first/checkpoints/step-1");
    char *weights = tv_small_run_path(&place, "first/checkpoints/step-1/model.safetensors"), *bytes = NULL;
    uint64_t size;
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", first, "--quiet", "--stop-after", "1");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_ok(tv_read_file(weights, &bytes, &size));
    const struct {
        const char *what;
        uint64_t cut;
        const char *from, *to;
    } cases[] = {
        {"an empty file", size, "", ""},
        {"half a length", size - 4, "", ""},
        {"half a header", size - 100, "", ""},
        {"half the tensors", size / 2, "", ""},
        {"the last byte missing", 1, "", ""},
        {"a tensor under another name", 0, "model.norm.weight", "model.norn.weight"},
        {"a tensor of another shape", 0, "[61,24]", "[24,61]"},
        {"a tensor of another size", 0, "[61,24]", "[61,25]"},
        {"a negative size", 0, "[61,24]", "[61,-4]"},
        {"overlapping tensors", 0, "\"data_offsets\":[0,", "\"data_offsets\":[4,"},
        {"another type", 0, "\"F32\"", "\"F99\""},
        {"integers", 0, "\"F32\"", "\"I32\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, bytes, size);
        replace_once(copy, size, cases[i].from, cases[i].to);
        assert_ok(tv_write_file(weights, copy, size - cases[i].cut));
        char *before = tv_tree_text(place.dir);
        run = tv_run_trivium("pretrain", "--config", place.config, "--init", init, "--out", out, "--quiet");
        expect_refused(&run, &place, before, "step-1", cases[i].what);
        free(before);
        free(copy);
    }
    bytes[7] = 0x7f; /* a header of 9e18 bytes */
    assert_ok(tv_write_file(weights, bytes, size));
    char *before = tv_tree_text(place.dir);
    run = tv_run_trivium("pretrain", "--config", place.config, "--init", init, "--out", out, "--quiet");
    expect_refused(&run, &place, before, "model.safetensors", "a lying header");
    tv_free_all(before, bytes, weights, init, first, out);
    tv_small_run_destroy(&place);
}

/* What --out names and no run wrote stays as it is. */
static void places_of_others(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *below = tv_small_run_path(&place, "config.json/run");
    char *before = tv_tree_text(place.dir);
    const struct {
        const char *what, *out, *word;
    } cases[] = {
        {"a file", place.shard, "tokens.bin"},
        {"below a file", below, "config.json"},
        {"the directory of a configuration or model", place.dir, "config.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run =
            tv_run_trivium("pretrain", "--config", place.config, "--out", cases[i].out, "--quiet");
        expect_refused(&run, &place, before, cases[i].word, cases[i].what);
    }
    free(before);
    free(below);
    tv_small_run_destroy(&place);
}

/* Each file of the newest checkpoint, cut to nothing, to half and by a byte, and taken away. */
static void damaged_checkpoints(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *out = tv_small_run_path(&place, "run");
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "5");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    const char *const files[] = {"checkpoints/step-5/config.json", "checkpoints/step-5/model.safetensors",
                                 "checkpoints/step-5/training_state/optimizer.safetensors",
                                 "checkpoints/step-5/trainer_state.json", "config.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = tv_format("%s/%s", out, files[i]), *bytes = NULL;
        uint64_t size;
        assert_ok(tv_read_file(path, &bytes, &size));
        /* JSON of ours ends with a newline, which may go. */
        const uint64_t kept[] = {UINT64_MAX, 0, size / 2, size - 2};
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
            if (kept[k] == UINT64_MAX)
                assert_ok(tv_remove_tree(path));
            else
                assert_ok(tv_write_file(path, bytes, kept[k]));
            char *before = tv_tree_text(place.dir);
            run = tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume");
            expect_refused(&run, &place, before,
                           strrchr(files[i], '/') ? strrchr(files[i], '/') + 1 : files[i], files[i]);
            free(before);
        }
        assert_ok(tv_write_file(path, bytes, size));
        free(bytes);
        free(path);
    }
    /* Put together again it resumes. */
    tv_trivium_exits(0, "pretrain", "--out", out, "--quiet", "--resume");
    free(out);
    tv_small_run_destroy(&place);
}

/* A line in the middle of the metrics that is no JSON: which lines to keep is not for the program to guess.
 */
static void damaged_metrics(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *out = tv_small_run_path(&place, "run"), *metrics = tv_small_run_path(&place, "run/metrics.jsonl");
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "5");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    char *text = NULL;
    uint64_t size;
    assert_ok(tv_read_file(metrics, &text, &size));
    strchr(text, '\n')[1] = '?';
    assert_ok(tv_write_file(metrics, text, size));
    char *before = tv_tree_text(place.dir);
    run = tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume");
    expect_refused(&run, &place, before, "metrics.jsonl line 2", "a broken line of metrics");
    tv_free_all(before, text, metrics, out);
    tv_small_run_destroy(&place);
}

/* The exit code and the sentence of a command that must not wait; it is killed after a while. */
static void expect_sentence_at_once(const char *const *argv, const char *words) {
    tv_child child = tv_child_start(argv);
    for (int i = 0; i < 2000 && tv_child_runs(&child); i++)
        tv_sleep(0.01);
    if (tv_child_runs(&child))
        kill(child.pid, SIGKILL);
    tv_child_result run = tv_child_wait(&child);
    if (run.exit_code < 1 || run.exit_code > 2 || !strstr(run.err, words))
        fail_msg("exit code %d, expected \"%s\": %s", run.exit_code, words, run.err);
    tv_child_result_free(&run);
}

/* Pipes that nobody writes, devices without end and directories in the place of files. */
static void what_is_no_file(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *out = tv_small_run_path(&place, "run"), *fresh = tv_small_run_path(&place, "fresh"),
         *pipe_name = tv_small_run_path(&place, "pipe.json");
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", place.config, "--out", out, "--quiet", "--stop-after", "1");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_int_equal(mkfifo(pipe_name, 0600), 0);
    char *train = tv_format("data.train=[\"%s\"]", pipe_name);
    const char *config[] = {TRIVIUM_COMMAND, "pretrain", "--config", pipe_name, "--out", fresh, NULL};
    const char *shard[] = {TRIVIUM_COMMAND, "pretrain", "--config", place.config, "--out",
                           fresh,           "--set",    train,      NULL};
    const char *device[] = {TRIVIUM_COMMAND, "prefs", "--rankings", "/dev/zero", "--out", fresh, NULL};
    const char *resume[] = {TRIVIUM_COMMAND, "pretrain", "--out", out, "--resume", NULL};
    expect_sentence_at_once(config, "expected a file, found a pipe");
    expect_sentence_at_once(shard, "expected a file, found a pipe");
    expect_sentence_at_once(device, "found a device");
    static const char *const parts[] = {
        "run.json",
        "config.json",
        "metrics.jsonl",
        "checkpoints/last/trainer_state.json",
        "checkpoints/last/model.safetensors",
        "checkpoints/last/config.json",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *part = tv_format("%s/%s", out, parts[i]), *kept = tv_format("%s/kept", place.dir);
        const char *name = strrchr(parts[i], '/');
        for (int what = 0; what < 2; what++) {
            assert_int_equal(rename(part, kept), 0);
            assert_int_equal(what ? mkdir(part, 0700) : mkfifo(part, 0600), 0);
            expect_sentence_at_once(resume, name ? name : parts[i]);
            assert_int_equal(remove(part), 0);
            assert_int_equal(rename(kept, part), 0);
        }
        free(part);
        free(kept);
    }
    tv_free_all(train, pipe_name, fresh, out);
    tv_small_run_destroy(&place);
}

/* Data through a pipe is what a person may want. */
static void lines_through_a_pipe(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create(train_json);
    char *lines = tv_small_run_path(&place, "rankings.jsonl"),
         *out = tv_small_run_path(&place, "prefs.jsonl");
    tv_write_text(lines, "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\"A\"},"
                         "{\"id\":\"r1\",\"text\":\"B\"}],\"ranking\":[[\"r1\"],[\"r0\"]]}\n");
    char *script = tv_format("cat %s | %s prefs --rankings /dev/stdin --out %s", lines, TRIVIUM_COMMAND, out),
         *text = NULL;
    tv_child_result run = tv_child_run((const char *const[]){"/bin/sh", "-c", script, NULL});
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_ok(tv_read_file(out, &text, NULL));
    assert_string_equal(text, "{\"prompt\":\"p\",\"chosen\":\"B\",\"rejected\":\"A\"}\n");
    free(text);
    free(script);
    /* Unless it is read twice. */
    script =
        tv_format("cat %s | %s data pack --tokenizer tests/text/data/trained --input /dev/stdin --out %s "
                  "--val-fraction 0.5",
                  lines, TRIVIUM_COMMAND, out);
    run = tv_child_run((const char *const[]){"/bin/sh", "-c", script, NULL});
    tv_expect_sentence(&run, 2, "reads the text twice, which a pipe does not allow", "a split of a pipe");
    tv_child_result_free(&run);
    tv_free_all(script, lines, out);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_file),     cmocka_unit_test(lines_through_a_pipe),
        cmocka_unit_test(configurations),      cmocka_unit_test(shards),
        cmocka_unit_test(initial_models),      cmocka_unit_test(places_of_others),
        cmocka_unit_test(damaged_checkpoints), cmocka_unit_test(damaged_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

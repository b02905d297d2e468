/* What commands write over: never what they read, never through a link that came later, and what is replaced
 * keeps its mode and its links.
 *
 * Tried: comparing names instead of files, leaving the temporary file's mode, renaming over a link or a pipe.
 * Each fails.
 */
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "support/small_run.h"

#define RANKINGS                                                                                             \
    "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\"A\"},{\"id\":\"r1\","           \
    "\"text\":\"B\"}],\"ranking\":[[\"r1\"],[\"r0\"]],\"annotator\":\"ann\",\"flags\":[]}\n"                 \
    "{\"id\":\"b\",\"prompt\":\"q\",\"responses\":[{\"id\":\"r0\",\"text\":\"A\"},{\"id\":\"r1\","           \
    "\"text\":\"B\"}],\"ranking\":[[\"r1\"],[\"r0\"]],\"annotator\":\"ann\",\"flags\":[]}\n"
#define PREFS                                                                                                \
    "{\"prompt\":\"p\",\"chosen\":\"B\",\"rejected\":\"A\"}\n"                                               \
    "{\"prompt\":\"q\",\"chosen\":\"B\",\"rejected\":\"A\"}\n"

static char *dir, *input;

static int set_up(void **state) {
    (void)state;
    dir = tv_test_dir();
    input = tv_format("%s/input.jsonl", dir);
    return !dir || !input || tv_write_file(input, RANKINGS, strlen(RANKINGS)) != TV_OK;
}

static int tear_down(void **state) {
    (void)state;
    tv_test_dir_remove(&dir);
    free(input);
    return 0;
}

static char *in_dir(const char *name) {
    char *path = tv_format("%s/%s", dir, name);
    assert_non_null(path);
    return path;
}

static void expect_file(const char *path, const char *expected) {
    char *text = NULL;
    assert_ok(tv_read_file(path, &text, NULL));
    assert_string_equal(text, expected);
    free(text);
}

static void expect_refusal(tv_child_result run, const char *what) {
    if (run.exit_code != 2 || !strstr(run.err, what))
        fail_msg("exit code %d: %s", run.exit_code, run.err);
    expect_file(input, RANKINGS);
    tv_child_result_free(&run);
}

static void inputs_are_never_written_over(void **state) {
    (void)state;
    char *link_name = in_dir("link.jsonl"), *hard = in_dir("hard.jsonl"), *val = in_dir("out_val.jsonl"),
         *out = in_dir("out.jsonl"), *shard = in_dir("x.bin"), *prefix = in_dir("x");
    const char *is_read = "is read here";
    assert_int_equal(symlink("input.jsonl", link_name), 0);
    assert_int_equal(link(input, hard), 0);
    assert_int_equal(link(input, val), 0);
    assert_int_equal(link(input, shard), 0);
    const char *const others[] = {input, link_name, hard};
    for (int i = 0; i < 3; i++) {
        expect_refusal(tv_run_trivium("prefs", "--rankings", input, "--out", others[i]), is_read);
        expect_refusal(tv_run_trivium("prefs", "--rankings", others[i], "--out", input), is_read);
        expect_refusal(tv_run_trivium("score", "--model", dir, "--data", others[i], "--out", input), is_read);
        expect_refusal(tv_run_trivium("eval", "--model", dir, "--data", others[i], "--logprobs", input),
                       is_read);
        expect_refusal(tv_run_trivium("sample", "--model", dir, "--prompts", others[i], "--out", input),
                       is_read);
        expect_refusal(tv_run_trivium("rank", "--candidates", others[i], "--out", input), is_read);
        expect_refusal(tv_run_trivium("report", dir, "--pipeline", others[i], "--out", input), is_read);
    }
    expect_refusal(tv_run_trivium("prefs", "--rankings", input, "--out", out, "--val-fraction", "0.5"),
                   is_read);
    expect_refusal(tv_run_trivium("data", "pack", "--tokenizer", "tests/text/data/trained", "--input", input,
                                  "--out", prefix),
                   is_read);
    char *tokens = in_dir("tokenizer.json");
    assert_int_equal(link(input, tokens), 0);
    expect_refusal(
        tv_run_trivium("tokenizer", "train", "--input", input, "--vocab-size", "270", "--out", dir), is_read);
    free(tokens);
    /* A part of a model that is read. */
    char *config = in_dir("config.json");
    assert_int_equal(link(input, config), 0);
    expect_refusal(tv_run_trivium("score", "--model", dir, "--data", val, "--out", config), is_read);
    tv_free_all(config, link_name, hard, val, out, shard, prefix);
}

static mode_t mode_of(const char *path) {
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    return info.st_mode;
}

static void mode_and_links_stay(void **state) {
    (void)state;
    char *kept = in_dir("kept.jsonl"), *name = in_dir("name.jsonl"), *missing = in_dir("missing.jsonl"),
         *to_missing = in_dir("to_missing.jsonl");
    assert_ok(tv_write_file(kept, "old", 3));
    assert_int_equal(chmod(kept, 0600), 0);
    assert_int_equal(symlink("kept.jsonl", name), 0);
    assert_int_equal(symlink(missing, to_missing), 0);
    tv_child_result run = tv_run_trivium("prefs", "--rankings", input, "--out", name);
    assert_int_equal(run.exit_code, 0);
    tv_child_result_free(&run);
    assert_true(S_ISLNK(mode_of(name)));
    assert_int_equal(mode_of(kept) & 07777, 0600);
    expect_file(kept, PREFS);
    run = tv_run_trivium("prefs", "--rankings", input, "--out", to_missing);
    assert_int_equal(run.exit_code, 0);
    tv_child_result_free(&run);
    assert_true(S_ISLNK(mode_of(to_missing)));
    expect_file(missing, PREFS);
    /* Nothing is left beside them. */
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    assert_int_equal(count, 5);
    tv_free_names(&names, count);
    tv_free_all(kept, name, missing, to_missing);
}

static void pipes_and_directories_as_outputs(void **state) {
    (void)state;
    char *pipe_name = in_dir("pipe"), *folder = in_dir("folder");
    assert_int_equal(mkfifo(pipe_name, 0600), 0);
    assert_ok(tv_make_dirs(folder));
    int reader = open(pipe_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    tv_child_result run = tv_run_trivium("prefs", "--rankings", input, "--out", pipe_name);
    char text[256] = {0};
    if (run.exit_code != 0 || read(reader, text, sizeof text - 1) <= 0)
        fail_msg("exit code %d: %s", run.exit_code, run.err);
    assert_string_equal(text, PREFS);
    assert_true(S_ISFIFO(mode_of(pipe_name)));
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", input, "--out", "/dev/stdout", "--quiet");
    assert_int_equal(run.exit_code, 0);
    assert_string_equal(run.out, PREFS);
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", input, "--out", folder);
    assert_int_not_equal(run.exit_code, 0);
    assert_non_null(strstr(run.err, "found a directory"));
    tv_child_result_free(&run);
    run = tv_run_trivium("rank", "--candidates", input, "--out", pipe_name);
    assert_int_not_equal(run.exit_code, 0);
    assert_non_null(strstr(run.err, "found a pipe"));
    tv_child_result_free(&run);
    close(reader);
    free(pipe_name);
    free(folder);
}

/* A run directory from somebody else, whose links lead into a home directory. */
static void links_of_a_run_are_not_followed(void **state) {
    (void)state;
    tv_small_run p = tv_small_run_create(
        "\"steps\": 6, \"batch_size\": 2, \"lr\": 1e-2, \"warmup_steps\": 2, \"checkpoint_every\": 2");
    char *out = tv_small_run_path(&p, "run"), *home = tv_small_run_path(&p, "home"),
         *victim = tv_format("%s/notes.txt", home), *metrics = tv_format("%s/metrics.jsonl", out),
         *checkpoints = tv_format("%s/checkpoints", out), *moved = tv_format("%s/checkpoints", home);
    tv_child_result run =
        tv_run_trivium("pretrain", "--config", p.config, "--out", out, "--quiet", "--stop-after", "4");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_ok(tv_make_dirs(home));
    tv_write_text(victim, "of years\n");
    char *kept = tv_format("%s.kept", metrics);
    assert_int_equal(rename(metrics, kept), 0);
    assert_int_equal(symlink(victim, metrics), 0);
    run = tv_run_trivium("pretrain", "--out", out, "--quiet", "--resume");
    assert_int_not_equal(run.exit_code, 0);
    tv_expect_sentence(&run, run.exit_code, "metrics.jsonl", "a link to notes");
    tv_child_result_free(&run);
    expect_file(victim, "of years\n");
    assert_int_equal(rename(kept, metrics), 0);
    assert_int_equal(rename(checkpoints, moved), 0);
    assert_int_equal(symlink(moved, checkpoints), 0);
    char *before = tv_tree_text(home);
    tv_trivium_says(1, "checkpoints is a link", "pretrain", "--out", out, "--quiet", "--resume");
    char *after = tv_tree_text(home);
    assert_string_equal(before, after);
    tv_free_all(before, after, kept, out, home, victim, metrics, checkpoints, moved);
    tv_small_run_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inputs_are_never_written_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mode_and_links_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pipes_and_directories_as_outputs, set_up, tear_down),
        cmocka_unit_test(links_of_a_run_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A small pretraining run for tests of the command: its data and settings, and what must hold of the
 * directory that it leaves, whatever happened to it.
 *
 * Every tv_expect_* fails the running cmocka test with a sentence.
 */
#ifndef TV_TESTS_SMALL_RUN_H
#define TV_TESTS_SMALL_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "support/subprocess.h"

enum { TV_SMALL_VOCAB = 61, TV_SMALL_SEQ_LEN = 16 };

/* A temporary folder with a shard of structured tokens, which is also the validation shard, and a
 * configuration of a Llama of 12,000 parameters. */
typedef struct tv_small_run {
    char *dir, *shard, *config;
} tv_small_run;
/* `train` holds the members of "train", as JSON without braces. */
tv_small_run tv_small_run_create(const char *train);
void tv_small_run_destroy(tv_small_run *place);
/* The path of `name` in the folder; the caller frees. */
char *tv_small_run_path(const tv_small_run *place, const char *name);
void tv_write_text(const char *path, const char *text);

void tv_expect_exit(const tv_child_result *run, int code);
/* The exit code, and one line on standard error with `word` in it. `what` names the case. */
void tv_expect_sentence(const tv_child_result *run, int code, const char *word, const char *what);
/* Runs it to its end, which is to be with `code`; with `word`, one line on standard error has it. */
void tv_expect_program(int code, const char *word, const char *const *argv);
#define tv_trivium_says(code, word, ...)                                                                     \
    tv_expect_program(code, word, (const char *const[]){TRIVIUM_COMMAND, __VA_ARGS__, NULL})
#define tv_trivium_exits(code, ...) tv_trivium_says(code, NULL, __VA_ARGS__)
void tv_expect_same_file(const char *a, const char *b, const char *name);
/* The links, weights, moments and state of the last checkpoint, and the metrics but for the speed. */
void tv_expect_same_run(const char *a, const char *b);
/* Every checkpoint is complete, of its name's step, and each of its files parses; `last` and `best`, where
 * they are, lead to one of them. Returns the newest step, 0 when there is none. */
uint64_t tv_expect_whole_checkpoints(const char *run);
/* metrics.jsonl holds the steps from 1 to its end, each once; returns the last of them. A torn last line is
 * allowed where `torn` is true. */
uint64_t tv_expect_metrics_in_order(const char *run, bool torn);
/* Neither the run nor its checkpoints hold a temporary name. */
void tv_expect_no_litter(const char *run);

/* Every path below `dir` with its size and checksum, or its link's target, for comparing before and after.
 * The caller frees. */
char *tv_tree_text(const char *dir);

#endif

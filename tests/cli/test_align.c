/* trivium align: rounds in one directory, killed and gone on with, refused where they would go on with
 * something else.
 *
 * TRIVIUM_KILLS sets how often kill -9 ends it (default 4), at moments drawn by seed over its whole duration;
 * after each kill the same command or, by turns, --resume goes on, and in the end the bits are those of
 * rounds that nobody disturbed.
 */
#include "support/support.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "base/rng.h"
#include "support/answering.h"
#include "support/small_run.h"

enum { DEFAULT_KILLS = 4, PROMPTS = 8, SEED = 11, MOST_WORDS = 48 };

static tv_answering place;
static char *prompts, *judge;

/* Better is what has more of "golden" among its words; equally good answers are a tie. */
static const char judge_program[] =
    "$| = 1;\n"
    "while (<STDIN>) {\n"
    "    my ($id) = /^\\{\"id\":\"([^\"]*)\"/; my %score;\n"
    "    while (/\"id\":\"(r\\d+)\",\"text\":\"([^\"]*)\"/g) {\n"
    "        my ($r, $text) = ($1, $2); my @words = split ' ', $text;\n"
    "        $score{$r} = @words ? 1 + (grep { $_ eq 'golden' } @words) / @words : 0;\n"
    "    }\n"
    "    my %groups; push @{$groups{$score{$_}}}, $_ for sort keys %score;\n"
    "    print '{\"id\":\"', $id, '\",\"ranking\":[', join(',', map { '[\"' . join('\",\"', @{$groups{$_}}) "
    ". '\"]' }\n"
    "        sort { $b <=> $a } keys %groups), \"]}\\n\";\n"
    "}\n";

static int set_up(void **state) {
    (void)state;
    place = tv_answering_create(TV_ARCH_GPT2, 60);
    prompts = tv_answering_path(&place, "few.jsonl");
    char *text = NULL, *program = tv_answering_path(&place, "judge.pl"), *end;
    assert_ok(tv_read_file(place.prompts, &text, NULL));
    end = text;
    for (int i = 0; i < PROMPTS; i++)
        end = strchr(end, '\n') + 1;
    assert_ok(tv_write_file(prompts, text, (uint64_t)(end - text)));
    assert_ok(tv_write_file(program, judge_program, strlen(judge_program)));
    judge = tv_format("perl %s", program);
    tv_free_all(text, program);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tv_free_all(prompts, judge);
    tv_answering_destroy(&place);
    return 0;
}

/* Two rounds of dpo by the program, with further words that end with NULL. */
static tv_child start(const char *out, const char *const *more) {
    const char *argv[MOST_WORDS] = {TRIVIUM_COMMAND,
                                    "align",
                                    "--model",
                                    place.model,
                                    "--prompts",
                                    prompts,
                                    "--out",
                                    out,
                                    "--judge",
                                    judge,
                                    "-k",
                                    "4",
                                    "--max-tokens",
                                    "6",
                                    "--temperature",
                                    "1",
                                    "--set",
                                    "train.steps=4",
                                    "--set",
                                    "dpo.train.lr=1e-3",
                                    "--set",
                                    "train.batch_size=4",
                                    "--set",
                                    "train.checkpoint_every=1",
                                    "--quiet"};
    uint64_t count = 0;
    while (argv[count])
        count++;
    while (*more)
        argv[count++] = *more++;
    return tv_child_start(argv);
}

static void expect_end(tv_child child, int code, const char *word) {
    tv_run run = tv_child_wait(&child);
    if (run.exit_code != code || (word && !strstr(run.err, word)))
        fail_msg("expected exit code %d and \"%s\", found %d: %s", code, word ? word : "", run.exit_code,
                 run.err);
    tv_run_free(&run);
}

static const char *const nothing[] = {NULL};

/* Of rounds in a folder of the same name: candidates and checkpoints note paths. */
static void expect_same_rounds(const char *whole, const char *out) {
    for (int round = 1; round <= 2; round++) {
        char *a = tv_format("%s/round-%d", whole, round), *b = tv_format("%s/round-%d", out, round);
        char *run = tv_format("%s/dpo", a), *other = tv_format("%s/dpo", b);
        tv_expect_same_file(a, b, "candidates.jsonl");
        tv_expect_same_file(a, b, "prefs.jsonl");
        tv_expect_same_run(run, other);
        tv_free_all(a, b, run, other);
    }
    tv_expect_no_litter(out);
}

static void kills_change_nothing(void **state) {
    (void)state;
    const char *wanted = getenv("TRIVIUM_KILLS");
    const uint64_t kills = wanted ? strtoull(wanted, NULL, 10) : DEFAULT_KILLS;
    char *whole = tv_answering_path(&place, "whole"), *out = tv_answering_path(&place, "rounds");
    const tv_rng rng = {.seed = SEED, .stream = TV_STREAM_TEST};
    double begin = tv_seconds();
    uint64_t draws = 0, done = 0;
    expect_end(start(out, nothing), 0, NULL);
    const double life = tv_seconds() - begin;
    assert_ok(tv_rename_durable(out, whole));
    while (done < kills) {
        bool finished = false;
        for (uint64_t i = 0; !finished; i++) {
            char *plan = tv_format("%s/align.json", out);
            tv_child child =
                i % 2 && tv_path_exists(plan)
                    ? tv_start_trivium("align", "--out", out, "--resume", "--judge", judge, "--quiet")
                    : start(out, nothing);
            free(plan);
            const double moment = tv_seconds() + life * (double)tv_uniform(&rng, draws++);
            while (tv_child_runs(&child) && (done >= kills || tv_seconds() < moment))
                tv_sleep(1e-3);
            finished = !tv_child_runs(&child);
            if (!finished)
                kill(child.pid, SIGKILL);
            expect_end(child, finished ? 0 : 128 + SIGKILL, NULL);
            done += !finished;
        }
        expect_same_rounds(whole, out);
        assert_ok(tv_remove_tree(out));
    }
    print_message("%" PRIu64 " kills of rounds that take %.1f s\n", done, life);
    tv_free_all(whole, out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_change_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* trivium align: rounds in one directory, killed and gone on with, refused where they would go on with
 * something else.
 *
 * TRIVIUM_KILLS sets how often kill -9 ends rounds of each learner (default: 4 in all), at moments drawn by
 * seed over their whole duration; after each kill the same command or, by turns, --resume goes on, and in the
 * end the bits are those of rounds that nobody disturbed.
 *
 * Tried on 2026-11-29, each fails here: a run with checkpoints begun anew; each round from the first policy;
 * a reward model of one round's preferences; the same seed in each round; no marks of finished steps;
 * settings for every step; fingerprints not compared; settings not looked at before; a program that only the
 * directory names; a page that ends at its first judgment, or while somebody has an item before them; links
 * that change from round to round.
 */
#include "support/support.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "base/rng.h"
#include "support/answering.h"
#include "support/small_run.h"

enum { PROMPTS = 8, SEED = 11, MOST_WORDS = 48 };

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

/* Two rounds of a learner by the program. */
typedef struct learner {
    const char *name;
    uint64_t kills; /* where TRIVIUM_KILLS does not say */
    const char *const *sets;
} learner;

static const char *const dpo_sets[] = {"train.steps=4", "dpo.train.lr=1e-3", "train.batch_size=4",
                                       "train.checkpoint_every=1", NULL};
static const char *const ppo_sets[] = {"reward.train.steps=2",
                                       "ppo.iterations=2",
                                       "ppo.prompts=8",
                                       "ppo.minibatch=4",
                                       "ppo.epochs=2",
                                       "ppo.max_new_tokens=4",
                                       "ppo.train.lr=1e-3",
                                       "train.batch_size=4",
                                       "train.checkpoint_every=1",
                                       NULL};
static const char *const grpo_sets[] = {"reward.train.steps=2",
                                        "grpo.iterations=2",
                                        "grpo.prompts=4",
                                        "grpo.answers=4",
                                        "grpo.minibatch=8",
                                        "grpo.epochs=2",
                                        "grpo.max_new_tokens=4",
                                        "grpo.train.lr=1e-3",
                                        "train.batch_size=4",
                                        "train.checkpoint_every=1",
                                        NULL};
static const learner learners[] = {{"dpo", 2, dpo_sets}, {"ppo", 1, ppo_sets}, {"grpo", 1, grpo_sets}};

static tv_child start(const learner *l, const char *out) {
    const char *argv[MOST_WORDS] = {
        TRIVIUM_COMMAND, "align", "--model", place.model, "--prompts", prompts, "--out",        out,
        "--judge",       judge,   "--learn", l->name,     "-k",        "4",     "--max-tokens", "6",
        "--temperature", "1",     "--quiet"};
    uint64_t count = 0;
    while (argv[count])
        count++;
    for (const char *const *set = l->sets; *set; set++) {
        argv[count++] = "--set";
        argv[count++] = *set;
    }
    assert_true(count < MOST_WORDS);
    return tv_child_start(argv);
}

static void expect_end(tv_child child, int code, const char *word) {
    tv_child_result run = tv_child_wait(&child);
    if (run.exit_code != code || (word && !strstr(run.err, word)))
        fail_msg("expected exit code %d and \"%s\", found %d: %s", code, word ? word : "", run.exit_code,
                 run.err);
    tv_child_result_free(&run);
}

/* Of rounds in a folder of the same name: candidates and checkpoints note paths. */
static void expect_same_rounds(const learner *l, const char *whole, const char *out) {
    for (int round = 1; round <= 2; round++) {
        char *a = tv_format("%s/round-%d", whole, round), *b = tv_format("%s/round-%d", out, round);
        char *run = tv_format("%s/%s", a, l->name), *other = tv_format("%s/%s", b, l->name);
        tv_expect_same_file(a, b, "candidates.jsonl");
        tv_expect_same_file(a, b, "prefs.jsonl");
        tv_expect_same_run(run, other);
        tv_free_all(a, b, run, other);
    }
    tv_expect_no_litter(out);
}

static void kill_rounds(const learner *l, uint64_t kills) {
    char *whole = tv_format("%s/%s-whole", place.planted.dir, l->name),
         *out = tv_format("%s/%s-rounds", place.planted.dir, l->name);
    const tv_rng rng = {.seed = SEED, .stream = TV_STREAM_TEST};
    double begin = tv_seconds();
    uint64_t draws = 0, done = 0;
    expect_end(start(l, out), 0, NULL);
    const double life = tv_seconds() - begin;
    assert_ok(tv_rename_durable(out, whole));
    while (done < kills) {
        bool finished = false;
        for (uint64_t i = 0; !finished; i++) {
            char *plan = tv_format("%s/align.json", out);
            tv_child child =
                i % 2 && tv_path_exists(plan)
                    ? tv_start_trivium("align", "--out", out, "--resume", "--judge", judge, "--quiet")
                    : start(l, out);
            free(plan);
            const double moment = tv_seconds() + life * (double)tv_uniform(&rng, draws++);
            while (tv_child_runs(&child) && (done >= kills || tv_seconds() < moment))
                tv_sleep(1e-3);
            if (tv_child_runs(&child))
                kill(child.pid, SIGKILL);
            /* It may have ended meanwhile. */
            tv_child_result run = tv_child_wait(&child);
            finished = run.exit_code == 0;
            tv_expect_exit(&run, finished ? 0 : 128 + SIGKILL);
            tv_child_result_free(&run);
            done += !finished;
        }
        expect_same_rounds(l, whole, out);
        assert_ok(tv_remove_tree(out));
    }
    print_message("%" PRIu64 " kills of rounds of %s that take %.1f s\n", done, l->name, life);
    tv_free_all(whole, out);
}

static void kills_change_nothing(void **state) {
    (void)state;
    const char *wanted = getenv("TRIVIUM_KILLS");
    for (size_t i = 0; i < TV_COUNT(learners); i++)
        kill_rounds(&learners[i], wanted ? strtoull(wanted, NULL, 10) : learners[i].kills);
}

/* ---- people ---- */

typedef struct open_page {
    unsigned port;
    char secret[64];
    char answer[1 << 16];
} open_page;

/* Waits for the link of the `nth` page that this child has opened. */
static void wait_for_page(const tv_child *child, int nth, open_page *page) {
    char printed[4096] = "", *link;
    for (int i = 0; i < 2400 && tv_child_runs(child); i++) {
        /* The program writes at the same offset, so it must not move. */
        const ssize_t got = pread(fileno(child->out), printed, sizeof printed - 1, 0);
        printed[got > 0 ? got : 0] = '\0';
        link = printed;
        for (int n = 0; link && n < nth; n++)
            link = strstr(link + (n > 0), "kim ranks at http://127.0.0.1:");
        if (link && strchr(link, '\n')) {
            if (sscanf(link, "kim ranks at http://127.0.0.1:%u/#%63[0-9a-f]", &page->port, page->secret) != 2)
                fail_msg("expected a link, found %.100s", link);
            return;
        }
        tv_sleep(0.05);
    }
    fail_msg("page %d did not open within two minutes; printed: %s", nth, printed);
}

/* A call as the page makes it; the body of the answer as JSON, which the caller frees. NULL where nobody
 * listens. */
static cJSON *call(open_page *page, const char *name, const char *body) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)page->port)};
    const struct timeval patience = {.tv_sec = 10};
    const int handle = socket(AF_INET, SOCK_STREAM, 0);
    cJSON *root = NULL;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(handle, (const struct sockaddr *)&address, sizeof address) == 0) {
        char *text =
            tv_format("POST /api/%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n"
                      "Content-Type: application/json\r\nX-Trivium-Link: %s\r\nContent-Length: %zu\r\n\r\n%s",
                      name, page->port, page->secret, strlen(body), body);
        assert_int_equal(send(handle, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
        size_t size = 0;
        for (ssize_t got = 1; got > 0 && size<sizeof page->answer - 1; size += got> 0 ? (size_t)got : 0)
            got = recv(handle, page->answer + size, sizeof page->answer - 1 - size, 0);
        page->answer[size] = '\0';
        const char *json = strstr(page->answer, "\r\n\r\n");
        if (strncmp(page->answer, "HTTP/1.1 200", 12) == 0 && json)
            assert_ok(tv_json_parse(json + 4, strlen(json + 4), name, &root));
        else
            fail_msg("%s: %.300s", name, page->answer);
        free(text);
    }
    close(handle);
    return root;
}

/* Judges up to `most` items, as they are shown: the first is the best. Returns how many it did. */
static int judge_items(open_page *page, int most) {
    int done = 0;
    cJSON *shown = call(page, "next", "{}");
    for (; done < most && shown && cJSON_IsObject(tv_json_get(shown, "item")); done++) {
        const cJSON *item = tv_json_get(shown, "item");
        char *body = tv_format("{\"presentation\":%.0f,\"ranking\":[[0],[1],[2],[3]],\"t_shown\":%.3f}",
                               tv_json_get(item, "presentation")->valuedouble,
                               tv_json_get(item, "t_shown")->valuedouble);
        assert_int_equal(tv_json_get(item, "k")->valuedouble, 4);
        cJSON_Delete(shown);
        shown = call(page, "judge", body);
        free(body);
    }
    cJSON_Delete(shown);
    return done;
}

static int lines_of(const char *out, const char *name) {
    char *path = tv_format("%s/%s", out, name), *text = NULL;
    int lines = 0;
    assert_ok(tv_read_file(path, &text, NULL));
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    tv_free_all(path, text);
    return lines;
}

static tv_child start_people(const char *out) {
    return tv_start_trivium("align", "--model", place.model, "--prompts", prompts, "--out", out, "--people",
                            "--annotator", "kim", "-k", "4", "--max-tokens", "6", "--temperature", "1",
                            "--set", "train.steps=2", "--set", "train.batch_size=4", "--quiet", "--json");
}

/* Killed with some items judged, it waits for the others; a round that is judged goes on by itself; Ctrl-C
 * says how to go on. The link holds through all of it. */
static void it_waits_for_people_and_goes_on(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "people");
    open_page page = {0};
    char secret[64];
    tv_child child = start_people(out);
    wait_for_page(&child, 1, &page);
    snprintf(secret, sizeof secret, "%s", page.secret);
    assert_int_equal(judge_items(&page, 3), 3);
    cJSON_Delete(call(&page, "release", "{}"));
    tv_sleep(2); /* longer than it takes to notice that enough is judged, and that nobody has an item */
    assert_true(tv_child_runs(&child));
    kill(child.pid, SIGKILL);
    expect_end(child, 128 + SIGKILL, NULL);
    assert_int_equal(lines_of(out, "round-1/rankings.jsonl"), 3);

    child = tv_start_trivium("align", "--out", out, "--resume", "--annotator", "kim", "--quiet", "--json");
    wait_for_page(&child, 1, &page);
    assert_string_equal(page.secret, secret);
    assert_true(judge_items(&page, 100) >= PROMPTS - 3);
    wait_for_page(&child, 2, &page);
    assert_string_equal(page.secret, secret);
    assert_true(lines_of(out, "round-1/rankings.jsonl") >= PROMPTS);
    assert_int_equal(judge_items(&page, 1), 1);
    kill(child.pid, SIGINT);
    expect_end(child, 130, "go on with: trivium align --out");

    child = start_people(out);
    wait_for_page(&child, 1, &page);
    assert_true(judge_items(&page, 100) >= PROMPTS - 1);
    tv_child_result run = tv_child_wait(&child);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "round-2/dpo\""));
    tv_child_result_free(&run);
    char *policy = tv_format("%s/round-2/dpo", out);
    assert_int_equal(tv_expect_whole_checkpoints(policy), 2);
    tv_free_all(out, policy);
}

/* Enough is judged, and somebody is about to judge one more: their page does not close before them. */
static void a_page_waits_for_whoever_has_an_item(void **state) {
    (void)state;
    char *candidates = tv_answering_path(&place, "people/round-1/candidates.jsonl"),
         *out = tv_answering_path(&place, "waiting.jsonl");
    open_page page = {0};
    tv_child child = tv_start_trivium("rank", "--candidates", candidates, "--out", out, "--web", "--until",
                                      "0.25", "--annotator", "kim", "--quiet");
    wait_for_page(&child, 1, &page);
    assert_int_equal(judge_items(&page, 3), 3);
    tv_sleep(2.5);
    assert_true(tv_child_runs(&child));
    cJSON_Delete(call(&page, "release", "{}"));
    tv_child_result run = tv_child_wait(&child);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_free_all(candidates, out);
}

/* ---- steps ---- */

static void expect_step(const char *printed, const char *words) {
    if (!strstr(printed, words))
        fail_msg("expected a step with \"%s\", found:\n%s", words, printed);
}

/* Each round stands on the one before it; a reward model learns from all that was judged so far. Settings
 * reach the steps that they name. Nothing is written. */
static void steps_are_commands(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "planned"), *words;
    tv_child_result run =
        tv_run_trivium("align", "--model", place.model, "--prompts", prompts, "--out", out, "--judge", "it's",
                       "--learn", "ppo", "--rounds", "2", "--seed", "7", "--val-fraction", "0.25", "--set",
                       "train.batch_size=4", "--set", "reward.train.lr=1e-3", "--set", "ppo.iterations=3",
                       "--set", "ppo.train.lr=1e-4", "--set", "reward.loss=pairs", "--dry-run");
    tv_expect_exit(&run, 0);
    assert_false(tv_path_exists(out));
#define STEP(...)                                                                                            \
    words = tv_format(__VA_ARGS__);                                                                          \
    expect_step(run.out, words);                                                                             \
    free(words)
    STEP("round 1: trivium sample --model=%s --prompts %s --out=%s/round-1/candidates.jsonl ", place.model,
         prompts, out);
    STEP("--temperature=0.8 --top-k=0 --top-p=1 --rows=64 --seed=7\n");
    STEP("round 1: trivium rank --candidates=%s/round-1/candidates.jsonl --out=%s/round-1/rankings.jsonl "
         "'--judge=it'\\''s' --seed=7\n",
         out, out);
    STEP("round 1: trivium prefs --rankings=%s/round-1/rankings.jsonl --out=%s/round-1/prefs.jsonl\n", out,
         out);
    STEP("round 1: trivium reward --out=%s/round-1/reward --model=%s --data %s/round-1/prefs.jsonl "
         "--val-fraction=0.25 "
         "--set=train.batch_size=4 --set=train.lr=1e-3 --set=reward.loss=pairs --seed=7\n",
         out, place.model, out);
    STEP("round 1: trivium ppo --out=%s/round-1/ppo --model=%s --prompts %s --reward=%s/round-1/reward "
         "--set=train.batch_size=4 --set=ppo.iterations=3 --set=train.lr=1e-4 --seed=7\n",
         out, place.model, prompts, out);
    STEP("round 2: trivium sample --model=%s/round-1/ppo --prompts ", out);
    STEP("round 2: trivium reward --out=%s/round-2/reward --model=%s --data %s/round-1/prefs.jsonl "
         "%s/round-2/prefs.jsonl --val-fraction=0.25 ",
         out, place.model, out, out);
    STEP("round 2: trivium ppo --out=%s/round-2/ppo --model=%s/round-1/ppo --prompts %s "
         "--reward=%s/round-2/reward ",
         out, out, prompts, out);
    tv_child_result_free(&run);
    run = tv_run_trivium("align", "--model", place.model, "--prompts", prompts, "--out", out, "--reward",
                         place.model, "--rounds", "1", "--dry-run");
    tv_expect_exit(&run, 0);
    STEP("--keep=ranked --reward=%s --out=%s/round-1/prefs.jsonl --drawn=%s/round-1/candidates.jsonl ",
         place.model, out, out);
    STEP("round 1: trivium dpo --out=%s/round-1/dpo --model=%s --data %s/round-1/prefs.jsonl --seed=1\n", out,
         place.model, out);
    assert_null(strstr(run.out, "trivium rank"));
    tv_child_result_free(&run);
#undef STEP
    free(out);
}

/* Rounds of grpo by way of a reward model, to their end and then with one more. */
static void rounds_of_grpo_end_and_go_on(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "grpo"), *last = tv_format("%s/round-2/grpo", out);
    const char *const argv[] = {TRIVIUM_COMMAND, "align",
                                "--model",       place.model,
                                "--prompts",     prompts,
                                "--out",         out,
                                "--judge",       judge,
                                "--learn",       "grpo",
                                "--rounds",      "1",
                                "--max-tokens",  "6",
                                "--temperature", "1",
                                "--set",         "reward.train.steps=2",
                                "--set",         "grpo.iterations=2",
                                "--set",         "grpo.prompts=4",
                                "--set",         "grpo.max_new_tokens=4",
                                "--quiet",       NULL};
    tv_expect_program(0, NULL, argv);
    assert_false(tv_path_exists(last));
    tv_trivium_exits(0, "align", "--out", out, "--resume", "--judge", judge, "--rounds", "2", "--quiet");
    assert_int_equal(tv_expect_whole_checkpoints(last), 2);
    /* It is the first round's policy that answered. */
    char *candidates = tv_format("%s/round-2/candidates.jsonl", out), *text = NULL,
         *policy = tv_format("\"policy\":\"%s/round-1/grpo/checkpoints/last\"", out),
         *report = tv_format("%s/report.html", out);
    assert_ok(tv_read_file(candidates, &text, NULL));
    assert_non_null(strstr(text, policy));
    assert_non_null(strstr(text, "\"seed\":2,"));
    free(text);
    assert_ok(tv_read_file(report, &text, NULL));
    assert_non_null(strstr(text, "round 2 of 2"));
    tv_free_all(out, last, candidates, text, policy, report);
}

/* ---- what does not go together ---- */

#define SAYS(word, ...)                                                                                      \
    tv_trivium_says(2, word, "align", "--quiet", "--out", out, "--model", place.model, "--prompts", prompts, \
                    __VA_ARGS__)

static void what_does_not_go_together_is_refused(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "none");
    SAYS("expected one who judges the answers, found none", "--rounds", "1");
    SAYS("found several", "--judge", judge, "--people");
    SAYS("at most 16", "--judge", judge, "-k", "17");
    SAYS("two at least", "--judge", judge, "-k", "1");
    SAYS("for --people, who are not asked", "--judge", judge, "--port", "8080");
    /* Settings of every step, before anything is drawn. */
    SAYS("they train dpo", "--judge", judge, "--set", "ppo.clip=0.1");
    SAYS("no step of these rounds is reward", "--judge", judge, "--set", "reward.train.lr=1e-3");
    SAYS("for dpo: ", "--judge", judge, "--set", "dpo.betta=1");
    SAYS("for ppo: ", "--judge", judge, "--learn", "ppo", "--set", "train.steps=5");
    SAYS("it is --seed here", "--judge", judge, "--set", "dpo.train.seed=5");
    SAYS("preferences come from the rounds", "--judge", judge, "--set", "data.train=[\"x\"]");
    tv_trivium_says(2, "found no align.json there", "align", "--quiet", "--out", out, "--resume");
    tv_trivium_says(2, "--model DIR and --prompts F", "align", "--quiet", "--out", out, "--people");
    assert_false(tv_path_exists(out));
    free(out);
}

/* Rounds go on with what they began with. Stands on those that were killed; nothing is drawn. */
static void other_rounds_are_refused(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "dpo-whole"), *plan = tv_format("%s/align.json", out), *text = NULL;
    char *other = tv_answering_path(&place, "other.jsonl"), *before = tv_tree_text(out);
    char *litter = tv_format("%s/round-1/prefs.jsonl.tmp-4711", out);
    uint64_t size;
#define SAME                                                                                                 \
    "-k", "4", "--max-tokens", "6", "--set", "train.steps=4", "--set", "dpo.train.lr=1e-3", "--set",         \
        "train.batch_size=4", "--set", "train.checkpoint_every=1"
    SAYS("\"temperature\" was 1 and is 0.5", SAME, "--judge", judge, "--temperature", "0.5");
    SAYS("\"judge\" was", SAME, "--judge", "cat", "--temperature", "1");
    SAYS("\"people\" was false and is true", SAME, "--people", "--temperature", "1");
    SAYS("\"set\" was", SAME, "--judge", judge, "--temperature", "1", "--set", "dpo.beta=0.2");
    SAYS("\"learn\" was \"dpo\" and is \"grpo\"", "-k", "4", "--max-tokens", "6", "--set",
         "train.batch_size=4", "--judge", judge, "--temperature", "1", "--learn", "grpo");
    tv_write_text(other, "{\"prompt\": \"another\"}\n");
    tv_trivium_says(2, "--prompts[0] are not what the rounds began with", "align", "--quiet", "--out", out,
                    "--model", place.model, "--prompts", other, "--judge", judge, "--temperature", "1", SAME);
    tv_trivium_says(2, "--model is not what the rounds began with", "align", "--quiet", "--out", out,
                    "--model", place.planted.base, "--prompts", prompts, "--judge", judge, "--temperature",
                    "1", SAME);
    /* A directory may be a stranger's: a program that only it names does not run. */
    tv_trivium_says(2, "names a program that scores", "align", "--quiet", "--out", out, "--resume");
    tv_trivium_says(2, "are judged by", "align", "--quiet", "--out", out, "--resume", "--judge", "cat");
    tv_trivium_says(2, "beside it stand only", "align", "--quiet", "--out", out, "--resume", "-k", "4");
    /* What is done is not done again; what a kill left of a file that was being written goes. */
    tv_write_text(litter, "{");
    tv_trivium_exits(0, "align", "--quiet", "--out", out, "--resume", "--judge", judge);
    char *after = tv_tree_text(out);
    assert_string_equal(before, after);
    assert_ok(tv_read_file(plan, &text, &size));
    assert_ok(tv_write_file(plan, text, size / 2));
    tv_trivium_says(2, "align.json", "align", "--quiet", "--out", out, "--resume", "--judge", judge);
    assert_ok(tv_write_file(plan, text, size));
    tv_free_all(out, plan, text, other, before, after, litter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_change_nothing),
        cmocka_unit_test(other_rounds_are_refused),
        cmocka_unit_test(what_does_not_go_together_is_refused),
        cmocka_unit_test(steps_are_commands),
        cmocka_unit_test(rounds_of_grpo_end_and_go_on),
        cmocka_unit_test(it_waits_for_people_and_goes_on),
        cmocka_unit_test(a_page_waits_for_whoever_has_an_item),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* trivium reward, trivium score and trivium prefs --reward as a person runs them: a run with all its files,
 * exact resume, the memory plan, the three shapes that are scored, and a sentence for every mistake.
 *
 * Tried on 2026-11-26: batches counted from 0 after a resume: resume_continues_exactly fails.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"
#include "support/planted.h"
#include "support/small_run.h"

static void resume_continues_exactly(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_LLAMA);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 26, 3, true);
    char *whole = tv_format("%s/whole", p.dir), *parts = tv_format("%s/parts", p.dir);
    /* 18 training groups in micro-batches of 2, two a step: the last step of an epoch is not full. */
    for (int i = 0; i < 2; i++) {
        tv_child_result run =
            tv_run_trivium("reward", "--model", p.base, "--data", data, "--val-fraction", "0.3", "--out",
                           i ? parts : whole, "--quiet", "--set", "train.batch_size=2", "--set",
                           "train.grad_accum=2", "--set", "train.epochs=2", "--set", "train.lr=1e-2", "--set",
                           "train.eval_every=4", "--set", "train.checkpoint_every=3", "--set",
                           "data.seq_len=48", "--set", "reward.loss=kwise", "--stop-after", i ? "5" : "0");
        tv_expect_exit(&run, 0);
        tv_child_result_free(&run);
    }
    tv_child_result run = tv_run_trivium("reward", "--out", parts, "--quiet", "--resume", "--json");
    cJSON *result = tv_result_of(&run);
    assert_near(tv_result_number(result, "step"), 10, 0);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    tv_expect_same_run(whole, parts);
    tv_expect_same_file(whole, parts, "checkpoints/last/reward.json");
    tv_expect_metrics_in_order(parts, false);
    tv_free_all(whole, parts, data);
    tv_planted_destroy(&p);
}

/* A reward model goes on from another one, with its head: the learned order is there from the first step. */
static void a_reward_model_goes_on(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 64, 2, false);
    char *first = tv_format("%s/first", p.dir), *second = tv_format("%s/second", p.dir);
    tv_child_result run =
        tv_run_trivium("reward", "--model", p.base, "--data", data, "--out", first, "--set", "train.lr=3e-3",
                       "--set", "train.epochs=5", "--set", "train.batch_size=8", "--set", "data.seq_len=48",
                       "--set", "train.warmup_steps=4", "--quiet", "--json");
    cJSON *result = tv_result_of(&run);
    double learned = tv_result_number(result, "loss");
    double planned = tv_result_number(result, "planned_bytes");
    assert_near(tv_result_number(result, "device_bytes"), planned, 0.02 * planned);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    assert_true(learned < 0.4);
    run =
        tv_run_trivium("reward", "--model", first, "--data", data, "--out", second, "--set", "train.steps=1",
                       "--set", "train.batch_size=8", "--set", "data.seq_len=48", "--quiet", "--json");
    result = tv_result_of(&run);
    assert_true(tv_result_number(result, "loss") < 0.45);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    /* What writes text cannot use it, and says so. */
    run = tv_run_trivium("generate", "--model", first, "--prompt", "x");
    tv_expect_sentence(&run, 2, "expected a language model, found a reward model", "generate");
    tv_child_result_free(&run);
    run = tv_run_trivium("eval", "--model", first, "--data", data);
    tv_expect_sentence(&run, 2, "expected a language model, found a reward model", "eval");
    tv_child_result_free(&run);
    char *third = tv_format("%s/third", p.dir);
    run = tv_run_trivium("pretrain", "--init", first, "--out", third, "--set", "data.train=[\"x.bin\"]");
    tv_expect_sentence(&run, 2, "expected a language model, found a reward model", "pretrain");
    tv_child_result_free(&run);
    tv_free_all(first, second, third, data);
    tv_planted_destroy(&p);
}

static void a_dry_run_writes_nothing(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 8, 2, true), *out = tv_format("%s/run", p.dir);
    tv_child_result run =
        tv_run_trivium("reward", "--model", p.base, "--data", data, "--out", out, "--dry-run");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "parameters"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    free(out);
    free(data);
    tv_planted_destroy(&p);
}

static char *write_lines(const tv_planted *p, const char *name, const char *text) {
    char *path = tv_format("%s/%s", p->dir, name);
    assert_non_null(path);
    tv_write_text(path, text);
    return path;
}

/* Reads up to 8 numbers, one a line. */
static int read_scores(const char *path, double *scores) {
    char *text = NULL;
    int count = 0;
    assert_ok(tv_read_file(path, &text, NULL));
    for (char *line = text; *line && count < 8; line++)
        scores[count++] = strtod(line, &line);
    free(text);
    return count;
}

/* The same responses in the three shapes get the same scores; a cut one is scored at its last token. */
static void three_shapes_are_scored(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *reward = tv_planted_reward(&p, "reward", 1), *out = tv_format("%s/scores.txt", p.dir);
    char *pairs =
        write_lines(&p, "pairs.jsonl",
                    "{\"prompt\": \"Tell me.\", \"chosen\": \" calm\", \"rejected\": \" foul day\"}\n"
                    "{\"prompt\": \"Tell me.\", \"chosen\": \" foul day\", \"rejected\": \" calm\"}\n");
    char *lines = write_lines(&p, "lines.jsonl",
                              "{\"prompt\": \"Tell me.\", \"response\": \" calm\"}\n\n"
                              "{\"prompt\": \"Tell me.\", \"response\": \" foul day\", \"other\": 1}\n");
    char *candidates = write_lines(
        &p, "candidates.jsonl",
        "{\"id\": \"p0\", \"prompt\": \"Tell me.\", \"responses\": [{\"id\": \"r0\", \"text\": \" calm\", "
        "\"finish\": \"eos\"}, {\"id\": \"r1\", \"text\": \" foul day\", \"finish\": \"eos\"}, "
        "{\"id\": \"r2\", \"text\": \" calm\", \"finish\": \"length\"}, {\"id\": \"r3\", \"text\": "
        "\"\"}]}\n");
    double of_pairs[8], of_lines[8], of_candidates[8];
    tv_child_result run = tv_run_trivium("score", "--model", reward, "--data", pairs, "--out", out, "--json");
    cJSON *result = tv_result_of(&run);
    /* The second pair is the first turned around. */
    assert_near(tv_result_number(result, "accuracy"), 0.5, 0);
    assert_near(tv_result_number(result, "margin"), 0, 0);
    assert_near(tv_result_number(result, "groups"), 2, 0);
    assert_near(tv_result_number(result, "responses"), 4, 0);
    assert_int_equal(read_scores(out, of_pairs), 4);
    assert_near(tv_result_number(result, "mean"), (of_pairs[0] + of_pairs[1]) / 2, 1e-6);
    assert_near(tv_result_number(result, "max"), fmax(of_pairs[0], of_pairs[1]), 1e-6);
    assert_near(tv_result_number(result, "normalised_mean"), tv_result_number(result, "mean"), 0);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    run = tv_run_trivium("score", "--model", reward, "--data", lines, "--out", out, "--json");
    result = tv_result_of(&run);
    assert_null(tv_json_get(result, "accuracy"));
    assert_string_equal(cJSON_GetStringValue(tv_json_get(result, "shape")), "responses");
    assert_non_null(strstr(run.err, "lines.jsonl: keys that nothing reads: \"other\" of 1 line;"));
    cJSON_Delete(result);
    tv_child_result_free(&run);
    assert_int_equal(read_scores(out, of_lines), 2);
    run = tv_run_trivium("score", "--model", reward, "--data", candidates, "--out", out);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "responses   4"));
    assert_null(strstr(run.err, "nothing reads"));
    tv_child_result_free(&run);
    assert_int_equal(read_scores(out, of_candidates), 4);
    for (int i = 0; i < 2; i++) {
        assert_near(of_pairs[i], of_lines[i], 0);
        assert_near(of_pairs[3 - i], of_lines[i], 0);
        assert_near(of_candidates[i], of_lines[i], 0);
    }
    assert_true(fabs(of_candidates[2] - of_candidates[0]) > 1e-4);

    /* With a scale, normalised scores are its arithmetic. */
    char *scale = tv_format("%s/reward.json", reward);
    double normalised[8];
    tv_write_text(scale, "{\"mean\": 0.5, \"deviation\": 0.25, \"samples\": 10}");
    run = tv_run_trivium("score", "--model", reward, "--data", lines, "--out", out, "--normalised");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_int_equal(read_scores(out, normalised), 2);
    for (int i = 0; i < 2; i++)
        assert_near(normalised[i], (of_lines[i] - 0.5) / 0.25, 1e-6);
    tv_free_all(scale, candidates, lines, pairs, out, reward);
    tv_planted_destroy(&p);
}

/* One judgment of the answers " calm" (r0), " foul day" (r1) and " calm" cut at its limit (r2). */
static char *judgment(const char *id, const char *ranking, const char *annotator, const char *flags) {
    return tv_format(
        "{\"id\": \"%s\", \"prompt\": \"Tell me.\", \"responses\": [{\"id\": \"r0\", \"text\": \" calm\"}, "
        "{\"id\": \"r1\", \"text\": \" foul day\"}, {\"id\": \"r2\", \"text\": \" calm\", \"finish\": "
        "\"length\"}], \"ranking\": %s, \"annotator\": \"%s\", \"flags\": [%s]}\n",
        id, ranking, annotator, flags);
}

/* The scores are known from trivium score; judgments are made to agree with them, or not.
 *
 * Tried on 2026-11-26: the higher score taken for the higher rank; repeats not left out; "finish" not looked
 * at: each fails. */
static void a_reward_model_stands_beside_people(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *reward = tv_planted_reward(&p, "reward", 1), *out = tv_format("%s/scores.txt", p.dir);
    char *candidates = judgment("x", "[]", "a", "");
    char *file = write_lines(&p, "candidates.jsonl", candidates);
    double scores[8];
    tv_child_result run = tv_run_trivium("score", "--model", reward, "--data", file, "--out", out);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_int_equal(read_scores(out, scores), 3);
    /* As the scores say: best, middle, worst. */
    int best = 0, worst = 0;
    for (int i = 1; i < 3; i++) {
        best = scores[i] > scores[best] ? i : best;
        worst = scores[i] < scores[worst] ? i : worst;
    }
    int middle = 3 - best - worst;
    char *right = tv_format("[[\"r%d\"], [\"r%d\"], [\"r%d\"]]", best, middle, worst);
    char *turned = tv_format("[[\"r%d\"], [\"r%d\"], [\"r%d\"]]", worst, middle, best);
    char *tied = tv_format("[[\"r%d\", \"r%d\"], [\"r%d\"]]", best, middle, worst);
    char *lines[] = {judgment("a", right, "ann", ""), judgment("a", turned, "bob", ""),
                     judgment("b", tied, "ann", ""), judgment("b", turned, "ann", "\"repeat\""),
                     judgment("c", "null", "bob", "\"skip\"")};
    char *all = tv_format("%s%s%s%s%s", lines[0], lines[1], lines[2], lines[3], lines[4]);
    char *rankings = write_lines(&p, "rankings.jsonl", all);
    /* Pairs: 3 right, 3 wrong; of the third judgment 2 right and a tie. */
    run = tv_run_trivium("prefs", "--rankings", rankings, "--agreement", "--reward", reward, "--json");
    cJSON *result = tv_result_of(&run);
    const cJSON *found = tv_json_get(result, "reward");
    assert_near(tv_result_number(found, "judgments"), 3, 0);
    assert_near(tv_result_number(found, "pairs"), 9, 0);
    assert_near(tv_result_number(found, "strict_pairs"), 8, 0);
    assert_near(tv_result_number(found, "accuracy"), 5.0 / 8, 1e-12);
    assert_near(tv_result_number(found, "agreement"), 5.5 / 9, 1e-12);
    assert_near(tv_result_number(found, "too_long"), 0, 0);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    /* ann and bob agree on none of three pairs, so that the model stands above them. */
    run = tv_run_trivium("prefs", "--rankings", rankings, "--agreement", "--reward", reward);
    tv_expect_exit(&run, 0);
    assert_non_null(
        strstr(run.out, "reward model: agrees on 61.1 % of 9 pairs, 62.5 % of the 8 strict ones"));
    assert_non_null(strstr(run.out, "more than people agree here (0.0 %)"));
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, "--out", out, "--reward", reward);
    tv_expect_sentence(&run, 2, "add --agreement", "no agreement");
    tv_child_result_free(&run);
    run = tv_run_trivium("prefs", "--rankings", rankings, "--agreement", "--reward", p.base);
    tv_expect_sentence(&run, 2, "expected a reward model", "`trivium reward` trains one from it");
    tv_child_result_free(&run);
    for (size_t i = 0; i < TV_COUNT(lines); i++)
        free(lines[i]);
    tv_free_all(rankings, all, tied, turned, right, file, candidates, out, reward);
    tv_planted_destroy(&p);
}

static void mistakes_of_score_are_said(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *reward = tv_planted_reward(&p, "reward", 1), *out = tv_format("%s/scores.txt", p.dir);
    char *good = write_lines(&p, "good.jsonl", "{\"prompt\": \"a\", \"response\": \"b\"}\n");
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "case"},
        {"{\"prompt\": \"a\"\n", "line 1"},
        {"{\"prompt\": \"a\", \"response\": \"b\"}\n[1]\n", "line 2"},
        {"{\"prompt\": \"a\", \"response\": \"\"}\n", "line 1: expected a text that is not empty"},
        {"{\"prompt\": \"a\", \"response\": 7}\n", "\"response\""},
        {"{\"prompt\": \"a\", \"response\": null}\n", "found the keys prompt, response (null)"},
        {"{\"prompt\": \"a\", \"responses\": null, \"chosen\": \"b\", \"rejected\": null}\n",
         "responses (null), chosen, rejected (null)"},
        {"{\"response\": \"b\"}\n", "\"prompt\""},
        {"{\"prompt\": 3, \"response\": \"b\"}\n", "\"prompt\""},
        {"{\"prompt\": \"a\", \"responses\": []}\n", "\"responses\""},
        {"{\"prompt\": \"a\", \"responses\": [{\"id\": \"r0\"}]}\n", "\"text\""},
        {"{\"prompt\": \"a\", \"responses\": [{\"text\": \"b\", \"finish\": 1}]}\n", "\"finish\""},
        {"{\"prompt\": \"a\", \"response\": \"b\"}\n{\"prompt\": \"a\", \"responses\": [{\"text\": "
         "\"b\"}]}\n",
         "line 2: expected a prompt and a \"response\""},
        {"{\"prompt\": \"a\", \"chosen\": \"b\"}\n", "line 1"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *file = write_lines(&p, "case.jsonl", cases[i].text);
        tv_child_result run = tv_run_trivium("score", "--model", reward, "--data", file, "--out", out);
        tv_expect_sentence(&run, 2, cases[i].words, cases[i].text);
        assert_string_equal(run.out, "");
        assert_false(tv_path_exists(out));
        tv_child_result_free(&run);
        free(file);
    }
    /* 128 positions. */
    char *text = tv_format("{\"prompt\": \"a\", \"response\": \"%0*d\"}\n", 200, 7);
    char *file = write_lines(&p, "long.jsonl", text);
    tv_child_result run = tv_run_trivium("score", "--model", reward, "--data", file);
    tv_expect_exit(&run, 2);
    assert_non_null(strstr(run.err, "within the 128 positions of the reward model, found none"));
    tv_child_result_free(&run);
    /* One of three: the others are scored, and lines and numbers stay together. */
    char *some = tv_format(
        "{\"prompt\": \"a\", \"response\": \"b\"}\n%s{\"prompt\": \"a\", \"response\": \"b\"}\n", text);
    free(write_lines(&p, "long.jsonl", some));
    run = tv_run_trivium("score", "--model", reward, "--data", file, "--out", out);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "long.jsonl line 2: prompt and response have 2"));
    assert_non_null(strstr(run.out, "left out    1 responses"));
    tv_child_result_free(&run);
    char *scores = NULL, *second = NULL;
    assert_ok(tv_read_file(out, &scores, NULL));
    second = strchr(scores, '\n') + 1;
    if (strncmp(second, "nan\n", 4) != 0 || strncmp(scores, second + 4, (size_t)(second - scores)) != 0 ||
        strlen(second + 4) != (size_t)(second - scores))
        fail_msg("scores: %s", scores);
    free(scores);
    free(some);
    run = tv_run_trivium("score", "--model", p.base, "--data", good);
    tv_expect_sentence(&run, 2, "expected a reward model", "`trivium reward` trains one from it");
    tv_child_result_free(&run);
    run = tv_run_trivium("score", "--model", reward, "--data", good, "--normalised");
    tv_expect_sentence(&run, 2, "--out", "normalised without a file");
    tv_child_result_free(&run);
    run = tv_run_trivium("score", "--help");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "--normalised"));
    tv_child_result_free(&run);
    tv_free_all(text, file, good, out, reward);
    tv_planted_destroy(&p);
}

static void mistakes_of_reward_are_said(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *out = tv_format("%s/run", p.dir);
    char *good = tv_planted_preferences(&p, "prefs.jsonl", 0, 8, 2, false);
    char *bad = write_lines(&p, "bad.jsonl",
                            "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n{\"prompt\": 1}\n");
    char *ties = write_lines(&p, "ties.jsonl",
                             "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"tie\": true}\n");
    char *ranked = judgment("p", "[[\"r1\"],[\"r0\"]]", "ann", "");
    char *rankings = write_lines(&p, "rankings.jsonl", ranked);
    const struct {
        const char *argv[12], *words;
    } cases[] = {
        {{"--data", good}, "--model"},
        {{"--model", p.base}, "data.train"},
        {{"--model", p.base, "--data", bad}, "bad.jsonl line 2"},
        {{"--model", p.base, "--data", ties, "--set", "reward.loss=kwise"}, "better than another"},
        {{"--model", p.base, "--data", good, "--set", "reward.loss=elo"}, "pairs|kwise|listwise"},
        {{"--model", p.base, "--data", good, "--set", "data.seq_len=129"}, "positions for 128"},
        {{"--model", p.base, "--data", good, "--set", "data.seq_len=4"}, "prefs.jsonl: expected preferences"},
        {{"--model", p.base, "--data", good, "--set", "data.seq_len=4"}, "; raise data.seq_len\n"},
        {{"--model", p.base, "--data", rankings},
         "; `trivium prefs --rankings FILE --out prefs.jsonl` makes preferences of rankings\n"},
        {{"--model", p.base, "--data", good, "--val", good, "--val-fraction", "0.5"}, "found both"},
        {{"--model", p.base, "--data", good, "--val-fraction", "2"}, "--val-fraction"},
        {{"--model", p.base, "--data", good, "--set", "lora.rank=-1"}, "lora.rank"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        const char *argv[18] = {TRIVIUM_COMMAND, "reward", "--out", out, "--quiet"};
        for (int k = 0; k < 12 && cases[i].argv[k]; k++)
            argv[5 + k] = cases[i].argv[k];
        tv_child_result run = tv_child_run(argv);
        if (run.exit_code != 2 || !strstr(run.err, cases[i].words))
            fail_msg("case %zu: exit code %d, \"%s\"", i, run.exit_code, run.err);
        assert_false(tv_path_exists(out));
        tv_child_result_free(&run);
    }
    tv_free_all(rankings, ranked, ties, bad, good, out);
    tv_planted_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resume_continues_exactly),
        cmocka_unit_test(a_reward_model_goes_on),
        cmocka_unit_test(a_dry_run_writes_nothing),
        cmocka_unit_test(three_shapes_are_scored),
        cmocka_unit_test(a_reward_model_stands_beside_people),
        cmocka_unit_test(mistakes_of_score_are_said),
        cmocka_unit_test(mistakes_of_reward_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

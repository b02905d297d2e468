/* trivium sample --keep: what a reward model likes of the answers that were drawn, as sft, reward and dpo
 * read it.
 *
 * Tried on 2026-11-29, each fails here: scores of another answer; answers that were cut scored as if they had
 * ended; --out the file of the candidates.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/answering.h"
#include "support/small_run.h"

enum { K = 4 };

static tv_answering place;
static char *reward, *best, *ranked, *drawn;

static int set_up(void **state) {
    (void)state;
    place = tv_answering_create(TV_ARCH_GPT2, 60);
    reward = tv_planted_reward(&place.planted, "reward", 1);
    best = tv_answering_path(&place, "best.jsonl");
    ranked = tv_answering_path(&place, "ranked.jsonl");
    drawn = tv_answering_path(&place, "best_candidates.jsonl");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tv_free_all(reward, best, ranked, drawn);
    tv_answering_destroy(&place);
    return 0;
}

static cJSON *next_line(char **at) {
    char *end = strchr(*at, '\n');
    cJSON *root = NULL;
    if (!**at || !end)
        return NULL;
    assert_ok(tv_json_parse(*at, (uint64_t)(end - *at), "line", &root));
    *at = end + 1;
    return root;
}

/* What `trivium score` says of the candidates, of which many are cut, decides which answer stands in each
 * line. */
static void lines_hold_what_score_likes(void **state) {
    (void)state;
    char *scores = tv_answering_path(&place, "scores.txt"), *texts[3] = {0}, *at[2], *number;
    tv_trivium_exits(0, "sample", "--model", place.model, "--prompts", place.prompts, "-k", "4",
                     "--max-tokens", "3", "--temperature", "1", "--keep", "best", "--reward", reward, "--out",
                     best, "--quiet");
    tv_trivium_exits(0, "score", "--model", reward, "--data", drawn, "--out", scores, "--quiet");
    assert_ok(tv_read_file(best, &texts[0], NULL));
    assert_ok(tv_read_file(drawn, &texts[1], NULL));
    assert_ok(tv_read_file(scores, &texts[2], NULL));
    at[0] = texts[0];
    at[1] = texts[1];
    number = texts[2];
    int count = 0;
    for (cJSON *line, *candidates; (candidates = next_line(&at[1])); count++) {
        const cJSON *responses = tv_json_get(candidates, "responses"), *response;
        const char *chosen = "";
        double most = -INFINITY;
        cJSON_ArrayForEach(response, responses) {
            const double score = strtod(number, &number);
            if (score > most && tv_json_get(response, "text")->valuestring[0]) {
                most = score;
                chosen = tv_json_get(response, "text")->valuestring;
            }
        }
        assert_int_equal(cJSON_GetArraySize(responses), K);
        line = next_line(&at[0]);
        assert_non_null(line);
        assert_true(cJSON_Compare(tv_json_get(line, "prompt"), tv_json_get(candidates, "prompt"), true));
        assert_string_equal(tv_json_get(line, "completion")->valuestring, chosen);
        assert_near(tv_json_get(line, "score")->valuedouble, most, 1e-6);
        cJSON_Delete(line);
        cJSON_Delete(candidates);
    }
    assert_int_equal(count, TV_ANSWERING_PROMPTS);
    assert_null(next_line(&at[0]));
    tv_free_all(scores, texts[0], texts[1], texts[2]);
}

/* Each reader takes them without a word about keys that it does not know. */
static void they_are_read_where_they_belong(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "run");
    tv_trivium_exits(0, "sample", "--model", place.model, "--prompts", place.prompts, "-k", "4",
                     "--max-tokens", "3", "--temperature", "1", "--keep", "ranked", "--reward", reward,
                     "--out", ranked, "--drawn", drawn, "--quiet");
    const char *const commands[][2] = {{"sft", best}, {"reward", ranked}, {"dpo", ranked}};
    for (size_t i = 0; i < TV_COUNT(commands); i++) {
        tv_child_result run = tv_run_trivium(commands[i][0], "--model", place.model, "--data", commands[i][1],
                                             "--out", out, "--dry-run");
        if (run.exit_code != 0 || strstr(run.err, "\"score\""))
            fail_msg("%s: exit code %d: %s", commands[i][0], run.exit_code, run.err);
        tv_child_result_free(&run);
    }
    free(out);
}

/* The same command again draws nothing and writes the same bytes; a killed one left whole candidates alone.
 */
static void again_gives_the_same_bytes(void **state) {
    (void)state;
    char *before = tv_tree_text(best), *text = NULL, *after;
    assert_ok(tv_read_file(drawn, &text, NULL));
    assert_ok(tv_write_file(drawn, text, strlen(text) / 2));
    tv_trivium_exits(0, "sample", "--model", place.model, "--prompts", place.prompts, "-k", "4",
                     "--max-tokens", "3", "--temperature", "1", "--keep", "best", "--reward", reward, "--out",
                     best, "--quiet");
    after = tv_tree_text(best);
    assert_string_equal(before, after);
    tv_free_all(before, after, text);
}

static void what_does_not_go_together_is_refused(void **state) {
    (void)state;
    char *out = tv_answering_path(&place, "none.jsonl"),
         *other = tv_answering_path(&place, "none_candidates.jsonl");
#define REFUSED(word, ...)                                                                                   \
    tv_trivium_says(2, word, "sample", "--model", place.model, "--prompts", place.prompts, "--out", out,     \
                    "--quiet", __VA_ARGS__)
    REFUSED("--reward DIR", "--keep", "best");
    REFUSED("--keep, which is not given", "--reward", reward);
    REFUSED("--drawn is for --keep", "--drawn", other);
    REFUSED("-k 1 draws one", "--keep", "ranked", "--reward", reward, "-k", "1");
    REFUSED("reward", "--keep", "best", "--reward", place.model);
    REFUSED("best|ranked", "--keep", "worst", "--reward", reward);
    REFUSED("none.jsonl", "--keep", "best", "--reward", reward, "--drawn", out);
#undef REFUSED
    assert_false(tv_path_exists(out));
    assert_false(tv_path_exists(other));
    /* A policy that says the same each time teaches no order. */
    tv_trivium_says(2, "no prompt has two different ones", "sample", "--model", place.model, "--prompts",
                    place.prompts, "--out", out, "--quiet", "--keep", "ranked", "--reward", reward,
                    "--temperature", "0", "--max-tokens", "4");
    assert_false(tv_path_exists(out));
    tv_free_all(out, other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_hold_what_score_likes),
        cmocka_unit_test(they_are_read_where_they_belong),
        cmocka_unit_test(again_gives_the_same_bytes),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

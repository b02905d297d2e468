/* The programs of the samples: what they cut from a text, how the simulated annotator judges, and what the
 * quickstart measures, each against figures made by hand. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/subprocess.h"

static char *put(const char *dir, const char *name, const char *text) {
    char *path = tv_format("%s/%s", dir, name);
    assert_ok(tv_write_file(path, text, strlen(text)));
    return path;
}

static const char lexicon[] = "happy\t2\t0.9\t[2, 2, 2, 4, 2, 4, 3, -1, 1, 1]\n"
                              "sad\t-2\t0.5\t[-2, -2, -2, -2, -2, -2, -2, -2, -2, -2]\n"
                              "frank\t3\t0.1\t[3, 3, 3, 3, 3, 3, 3, 3, 3, 3]\n";

static const char items[] =
    "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\" a sad, sad day.\"},"
    "{\"id\":\"r1\",\"text\":\" Frank went home.\"},{\"id\":\"r2\",\"text\":\" a happy happy day.\"},"
    "{\"id\":\"r3\",\"text\":\" the day.\"}]}\n";

/* Runs the annotator over the file; `options` come behind the lexicon. */
static tv_child_result judge(const char *dir, const char *file, const char *options) {
    char *words = put(dir, "words.txt", lexicon);
    char *command = tv_format("samples/annotator/simulated.pl --lexicon %s %s < %s", words, options, file);
    tv_child_result run = tv_child_run((const char *const[]){"/bin/sh", "-c", command, NULL});
    free(command);
    free(words);
    return run;
}

/* Seen to fail without "!$seen{$word}++" (r2 twice as happy changes nothing here, so a pair below does it),
 * and with lc around the word (Frank wins). */
static void the_annotator_goes_by_the_lexicon(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *file = put(dir, "items.jsonl", items);
    tv_child_result run = judge(dir, file, "--noise 0");
    assert_string_equal(run.err, "");
    assert_string_equal(run.out, "{\"id\":\"a\",\"ranking\":[[\"r2\"],[\"r1\",\"r3\"],[\"r0\"]]}\n");
    tv_child_result_free(&run);
    free(file);
    /* Said twice or once: a tie. */
    file = put(dir, "items.jsonl",
               "{\"id\":\"b\",\"prompt\":\"p\",\"responses\":[{\"id\":\"x\",\"text\":\"happy happy\"},"
               "{\"id\":\"y\",\"text\":\"happy\"}]}\n");
    run = judge(dir, file, "--noise 0");
    assert_string_equal(run.out, "{\"id\":\"b\",\"ranking\":[[\"x\",\"y\"]]}\n");
    tv_child_result_free(&run);
    free(file);
    tv_test_dir_remove(&dir);
}

static void noise_is_drawn_by_seed(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *many = NULL;
    for (int i = 0; i < 300; i++) {
        char *more =
            tv_format("%s{\"id\":\"i%d\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\"happy\"},"
                      "{\"id\":\"r1\",\"text\":\"sad\"}]}\n",
                      many ? many : "", i);
        free(many);
        many = more;
    }
    char *file = put(dir, "items.jsonl", many);
    tv_child_result one = judge(dir, file, "--noise 2 --seed 1"),
                    again = judge(dir, file, "--noise 2 --seed 1"),
                    other = judge(dir, file, "--noise 2 --seed 2");
    assert_string_equal(one.out, again.out);
    assert_string_not_equal(one.out, other.out);
    uint64_t right = 0;
    for (const char *at = one.out; (at = strstr(at, "[[\"r0\"],[\"r1\"]]")); at++)
        right++;
    /* happy lies 4 above sad on average, each with a deviation of 2.4 and 2: about 0.87 of 300, less ties. */
    if (right < 225 || right > 285)
        fail_msg("happy was above sad %llu times of 300", (unsigned long long)right);
    tv_child_result_free(&one);
    tv_child_result_free(&again);
    tv_child_result_free(&other);
    free(file);
    free(many);
    tv_test_dir_remove(&dir);
}

static void the_annotator_says_what_is_wrong(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *file = put(dir, "items.jsonl", "nonsense\n");
    tv_child_result run = judge(dir, file, "--noise 0");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "line 1"));
    tv_child_result_free(&run);
    run = judge(dir, file, "--noise loud");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "--noise"));
    tv_child_result_free(&run);
    free(file);
    tv_test_dir_remove(&dir);
}

/* Runs a measure of three files at most (NULL: no more) and returns the number of its line. */
static double measured_of(const char *what, const char *first, const char *second, const char *third,
                          const char *key) {
    tv_child_result run = tv_child_run(
        (const char *const[]){"samples/quickstart/measure.pl", what, first, second, third, NULL});
    assert_string_equal(run.err, "");
    cJSON *line = NULL;
    assert_ok(tv_json_parse(run.out, strlen(run.out), what, &line));
    double number = tv_json_get(line, key)->valuedouble;
    cJSON_Delete(line);
    tv_child_result_free(&run);
    return number;
}

static double measured(const char *what, const char *path, const char *key) {
    return measured_of(what, path, NULL, NULL, key);
}

/* Seen to fail with each condition of follows_form taken out. */
static void the_form_is_one_sentence_and_an_end(void **state) {
    (void)state;
    static const struct {
        const char *text, *finish;
        double follows;
    } cases[] = {
        {" agitated to encounter him.", "eos", 1},
        {", and Mr. Knightley went away!", "eos", 1},
        {" agitated to encounter him.", "length", 0}, /* it did not stop by itself */
        {" agitated to encounter him", "eos", 0},
        {" agitated. She went home.", "eos", 0},
        {" agitated to\\nencounter him.", "eos", 0},
        {" \\\"agitated\\\" to encounter him.", "eos", 0},
        {"-lcome was agreeable.", "eos", 0}, /* not from a word on */
        {".", "eos", 1},
        {"", "eos", 0},
    };
    char *dir = tv_test_dir();
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *line = tv_format("{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\"%s\","
                               "\"finish\":\"%s\"}]}\n",
                               cases[i].text, cases[i].finish);
        char *path = put(dir, "candidates.jsonl", line);
        double share = measured("form", path, "share");
        if (share != cases[i].follows)
            fail_msg("\"%s\" (%s): %g", cases[i].text, cases[i].finish, share);
        free(path);
        free(line);
    }
    tv_test_dir_remove(&dir);
}

static void what_is_measured(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = put(dir, "compared.jsonl",
                     "{\"id\":\"a\",\"annotator\":\"x\",\"ranking\":[[\"r1\"],[\"r0\"]]}\n"
                     "{\"id\":\"b\",\"annotator\":\"x\",\"ranking\":[[\"r0\"],[\"r1\"]]}\n"
                     "{\"id\":\"c\",\"annotator\":\"x\",\"ranking\":[[\"r0\",\"r1\"]]}\n"
                     "{\"id\":\"d\",\"annotator\":\"x\",\"ranking\":[[\"r1\"],[\"r0\"]]}\n"
                     "{\"id\":\"e\",\"annotator\":\"x\",\"ranking\":null}\n");
    assert_near(measured("wins", path, "share"), 2.5 / 4, 1e-12);
    free(path);
    /* x and y agree on r0 above r1 and disagree on r2 against r1; r0 against r2 is tied for y. */
    path = put(dir, "rankings.jsonl",
               "{\"id\":\"a\",\"annotator\":\"x\",\"ranking\":[[\"r0\"],[\"r1\"],[\"r2\"]]}\n"
               "{\"id\":\"a\",\"annotator\":\"y\",\"ranking\":[[\"r0\",\"r2\"],[\"r1\"]]}\n"
               "{\"id\":\"a\",\"annotator\":\"x\",\"ranking\":[[\"r0\"],[\"r1\"],[\"r2\"]]}\n"
               "{\"id\":\"b\",\"annotator\":\"y\",\"ranking\":[[\"r0\"],[\"r1\"],[\"r2\"]]}\n");
    /* The first and the third line each against the second. */
    assert_near(measured("agreement", path, "pairs"), 4, 0);
    assert_near(measured("agreement", path, "share"), 0.5, 1e-12);
    free(path);
    path = put(dir, "candidates.jsonl",
               "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\" so happy, so "
               "happy.\"}]}\n");
    /* so happy, happy so, so happy */
    assert_near(measured("bigrams", path, "share"), 2.0 / 3, 1e-12);
    free(path);
    tv_test_dir_remove(&dir);
}

static bool holds(const char *text, const char *word) {
    return strstr(text, word) != NULL;
}

/* Every sentence of this text can be cut; the last paragraphs are held out. */
static void prompts_and_answers_are_cut_apart(void **state) {
    (void)state;
    static const char *const names[] = {"train.txt",     "heldout.txt",        "sft.jsonl",
                                        "sft_val.jsonl", "test_prompts.jsonl", "prompts.jsonl"};
    char *dir = tv_test_dir(), *text = NULL, *files[6];
    for (int i = 0; i < 400; i++) {
        char *more = tv_format("%sThe %c%c%c house of the family stood\nat the end of a road which led to "
                               "the village church.\n\n",
                               text ? text : "", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 7 % 26);
        free(text);
        text = more;
    }
    char *path = put(dir, "book.txt", text);
    tv_child_result run = tv_child_run((const char *const[]){"samples/quickstart/answers.pl", "--text", path,
                                                             "--out", dir, "--held-out", "8000", "--examples",
                                                             "200", "--prompts", "60", NULL});
    assert_string_equal(run.err, "");
    assert_int_equal(run.exit_code, 0);
    cJSON *counts = NULL;
    assert_ok(tv_json_parse(run.out, strlen(run.out), "counts", &counts));
    assert_near(tv_json_get(counts, "examples")->valuedouble, 190, 0);
    assert_near(tv_json_get(counts, "validation")->valuedouble, 10, 0);
    assert_near(tv_json_get(counts, "prompts")->valuedouble, 60, 0);
    cJSON_Delete(counts);
    tv_child_result_free(&run);
    for (int i = 0; i < 6; i++) {
        char *name = tv_format("%s/%s", dir, names[i]);
        assert_ok(tv_read_file(name, &files[i], NULL));
        free(name);
    }
    /* Lines are joined, and what is held out is nowhere else. */
    assert_true(holds(files[0], "stood at the end"));
    for (int i = 0; i < 400; i++) {
        char *word = tv_format("The %c%c%c ", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 7 % 26);
        int train = holds(files[0], word), held = holds(files[1], word);
        int used = holds(files[2], word) + holds(files[3], word) + holds(files[5], word);
        if (train == held || (held && used) || used > 1 || (train && holds(files[4], word)))
            fail_msg("%sis in the wrong files: %d %d %d", word, train, held, used);
        free(word);
    }
    /* Prompt and completion together are the sentence. */
    const char *end = strchr(files[2], '\n');
    cJSON *line = NULL;
    assert_ok(tv_json_parse(files[2], (uint64_t)(end - files[2]), "line", &line));
    char *whole = tv_format("%s%s\n", tv_json_get(line, "prompt")->valuestring,
                            tv_json_get(line, "completion")->valuestring);
    assert_true(holds(files[0], whole));
    free(whole);
    cJSON_Delete(line);
    for (int i = 0; i < 6; i++)
        free(files[i]);
    free(path);
    free(text);
    tv_test_dir_remove(&dir);
}

/* Of a's pairs x has three in an order and y two; the scores have r0 above r1 and r2, which are equal: 2.5 of
 * 3 and 1.5 of 2. x and y agree on one of two. In b both have the pair the other way round than the scores.
 */
static void scores_against_annotators(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *candidates =
        put(dir, "candidates.jsonl",
            "{\"id\":\"a\",\"prompt\":\"p\",\"responses\":[{\"id\":\"r0\",\"text\":\"k\"},{\"id\":\"r1\","
            "\"text\":\"l\"},{\"id\":\"r2\",\"text\":\"m\"}]}\n"
            "{\"id\":\"b\",\"prompt\":\"q\",\"responses\":[{\"id\":\"r0\",\"text\":\"k\"},{\"id\":\"r1\","
            "\"text\":\"l\"}]}\n");
    char *scores = put(dir, "scores.txt", "3\n-1\n-1\n0\n1\n");
    char *rankings = put(dir, "rankings.jsonl",
                         "{\"id\":\"a\",\"annotator\":\"x\",\"ranking\":[[\"r0\"],[\"r1\"],[\"r2\"]]}\n"
                         "{\"id\":\"b\",\"annotator\":\"x\",\"ranking\":[[\"r0\"],[\"r1\"]]}\n"
                         "{\"id\":\"a\",\"annotator\":\"y\",\"ranking\":[[\"r0\",\"r2\"],[\"r1\"]]}\n"
                         "{\"id\":\"b\",\"annotator\":\"y\",\"ranking\":[[\"r0\"],[\"r1\"]]}\n");
    const struct {
        const char *key;
        double value;
    } expected[] = {{"prompts", 2},
                    {"pairs", 7},
                    {"share", 4.0 / 7},
                    {"agreement", 2.0 / 3},
                    {"difference", -2.0 / 21},
                    {"error", 1.4142135623730951 * (8.0 / 49 + 1.0 / 9)}};
    for (size_t i = 0; i < TV_COUNT(expected); i++) {
        const double found = measured_of("orders", candidates, scores, rankings, expected[i].key);
        if (!(found - expected[i].value < 1e-12 && expected[i].value - found < 1e-12))
            fail_msg("%s: %.9g, expected %.9g", expected[i].key, found, expected[i].value);
    }
    tv_free_all(candidates, scores, rankings);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_annotator_goes_by_the_lexicon),
        cmocka_unit_test(noise_is_drawn_by_seed),
        cmocka_unit_test(the_annotator_says_what_is_wrong),
        cmocka_unit_test(the_form_is_one_sentence_and_an_end),
        cmocka_unit_test(what_is_measured),
        cmocka_unit_test(scores_against_annotators),
        cmocka_unit_test(prompts_and_answers_are_cut_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* trivium eval of questions with several endings, against sums that the public API's logits give in double
 * precision.
 *
 * Seen to fail with: the length of endings in tokens, their first token left out, scores put back in the
 * order of batches.
 */
#include "support/small_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trivium/trivium.h>

#include "base/bytes.h"
#include "base/files.h"
#include "support/command_result.h"
#include "support/small_run.h"

enum { VOCAB = 307, QUESTIONS = 12, ENDINGS = 3 };

/* Texts of many lengths, so that batches are of several widths and hold padding. */
static const char *const words[] = {"It",     "was",  "the",      "river", "and",
                                    "nobody", "said", "anything", "of",    "his"};

static void add_words(char *text, size_t size, int from, int count) {
    for (int i = 0; i < count; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s%s", i ? " " : "",
                 words[(from * 7 + i * 3) % (int)TV_COUNT(words)]);
}

typedef struct question {
    char text[400], endings[ENDINGS][200];
    int right;
} question;

static void make_questions(question *all) {
    for (int q = 0; q < QUESTIONS; q++) {
        all[q] = (question){.right = q % ENDINGS};
        add_words(all[q].text, sizeof all[q].text, q, 1 + q * q % 17);
        for (int i = 0; i < ENDINGS; i++)
            add_words(all[q].endings[i], sizeof all[q].endings[i], q + 3 * i + 1, 1 + (q + 2 * i) % 6);
    }
}

/* The log-probability of what stands behind the text's own tokens. */
static double logprob_of(tv_language_model *model, tv_tokenizer *tokenizer, const char *text,
                         const char *ending) {
    static float logits[TV_SMALL_CONTEXT * VOCAB];
    char *whole = tv_format("%s %s", text, ending);
    tv_ids ids = {0}, before = {0};
    assert_ok(tv_tokenizer_encode(tokenizer, whole, strlen(whole), false, &ids));
    assert_ok(tv_tokenizer_encode(tokenizer, text, strlen(text), false, &before));
    assert_ok(tv_language_model_all_logits(model, ids.data, ids.size, logits));
    double sum = 0;
    for (uint64_t t = before.size; t < ids.size; t++) {
        const float *row = logits + (t - 1) * VOCAB;
        double total = 0;
        for (int v = 0; v < VOCAB; v++)
            total += exp((double)row[v]);
        sum += (double)row[ids.data[t]] - log(total);
    }
    tv_ids_free(&ids);
    tv_ids_free(&before);
    free(whole);
    return sum;
}

static void answers_are_the_likeliest_endings(void **state) {
    const tv_small_model *small = *state;
    question all[QUESTIONS];
    make_questions(all);
    tv_text lines = {0};
    for (int q = 0; q < QUESTIONS; q++) {
        char *line = tv_format(
            "{\"ctx\": \"%s\", \"endings\": [\"%s\", \"%s\", \"%s\"], \"label\": %d, \"ind\": %d}\n",
            all[q].text, all[q].endings[0], all[q].endings[1], all[q].endings[2], all[q].right, q);
        assert_ok(tv_text_append(&lines, line, strlen(line)));
        free(line);
    }
    assert_ok(tv_text_append(&lines, "", 1));
    char *data = tv_small_model_file(small, "questions.jsonl", (const char *)lines.data);
    char *logprobs = tv_format("%s/logprobs.txt", small->dir), *text = NULL;

    tv_device *device;
    tv_language_model *model;
    tv_tokenizer *tokenizer;
    assert_ok(tv_tokenizer_load(small->model, &tokenizer));
    assert_ok(tv_device_open(NULL, &device));
    assert_ok(tv_language_model_load(device, small->model, NULL, &model));
    double expected[QUESTIONS][ENDINGS];
    int right = 0, right_norm = 0;
    for (int q = 0; q < QUESTIONS; q++) {
        int best = 0, best_norm = 0;
        for (int i = 0; i < ENDINGS; i++) {
            double *sum = expected[q];
            sum[i] = logprob_of(model, tokenizer, all[q].text, all[q].endings[i]);
            best = sum[i] > sum[best] ? i : best;
            best_norm = sum[i] / (double)strlen(all[q].endings[i]) >
                                sum[best_norm] / (double)strlen(all[q].endings[best_norm])
                            ? i
                            : best_norm;
        }
        right += best == all[q].right;
        right_norm += best_norm == all[q].right;
    }
    tv_language_model_destroy(&model);
    tv_device_close(&device);
    tv_tokenizer_destroy(&tokenizer);
    assert_true(right != right_norm); /* or the test would not tell them apart */

    /* Batches of every size, one row and all at once among them. */
    static const char *const batches[] = {"1", "3", "64"};
    for (size_t b = 0; b <= TV_COUNT(batches); b++) {
        const char *argv[] = {TRIVIUM_COMMAND,
                              "eval",
                              "--model",
                              small->model,
                              "--data",
                              data,
                              "--logprobs",
                              logprobs,
                              "--json",
                              b ? "--batch-size" : NULL,
                              b ? batches[b - 1] : NULL,
                              NULL};
        tv_child_result run = tv_child_run(argv);
        cJSON *result = tv_result_of(&run);
        assert_near(tv_result_number(result, "accuracy"), (double)right / QUESTIONS, 1e-12);
        assert_near(tv_result_number(result, "accuracy_norm"), (double)right_norm / QUESTIONS, 1e-12);
        assert_near(tv_result_number(result, "questions"), QUESTIONS, 0);
        assert_near(tv_result_number(result, "endings"), QUESTIONS * ENDINGS, 0);
        assert_int_equal(cJSON_GetArraySize(result), 4);
        cJSON_Delete(result);
        tv_child_result_free(&run);
        assert_ok(tv_read_file(logprobs, &text, NULL));
        const char *at = text;
        for (int i = 0; i < QUESTIONS * ENDINGS; i++) {
            char *end;
            assert_near(strtod(at, &end), expected[i / ENDINGS][i % ENDINGS], 1e-4);
            at = end + 1;
        }
        assert_int_equal(*at, 0);
        free(text);
    }
    tv_child_result run = tv_run_trivium("eval", "--model", small->model, "--data", data);
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "accuracy_norm"));
    assert_non_null(strstr(run.out, "questions      12, with 36 endings"));
    tv_child_result_free(&run);
    tv_free_all(data, logprobs);
    tv_text_free(&lines);
}

static void mistakes_are_said(void **state) {
    const tv_small_model *small = *state;
    char *data = tv_small_model_file(small, "two.jsonl",
                                     "{\"ctx\": \"It\", \"endings\": [\"was\", \"is\"], \"label\": 0}\n");
    char *bad = tv_small_model_file(small, "bad.jsonl",
                                    "{\"ctx\": \"It\", \"endings\": [\"was\", \"is\"], \"label\": 0}\n"
                                    "{\"ctx\": \"It\", \"endings\": [\"was\", \"is\"], \"label\": 2}\n");
    char *logprobs = tv_format("%s/none.txt", small->dir);
    tv_trivium_says(2, "no --seq-len and no --stride", "eval", "--model", small->model, "--data", data,
                    "--seq-len", "16");
    tv_trivium_says(2, "no --seq-len and no --stride", "eval", "--model", small->model, "--data", data,
                    "--stride", "16");
    tv_trivium_says(2, "bad.jsonl line 2: expected the number", "eval", "--model", small->model, "--data",
                    bad, "--logprobs", logprobs);
    assert_false(tv_path_exists(logprobs));
    tv_trivium_says(2, "no tokenizer.json to read it with", "eval", "--model",
                    TRIVIUM_SOURCE_DIR "/tests/golden/llama_100k", "--data", data);
    tv_free_all(data, bad, logprobs);
}

static int make(void **state) {
    return tv_small_model_make(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_likeliest_endings),
        cmocka_unit_test(mistakes_are_said),
    };
    return cmocka_run_group_tests(tests, make, tv_small_model_remove);
}

/* Preferences by a rule: see planted.h. */
#include "support/planted.h"
#include "support/small_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/rng.h"
#include "formats/directory.h"
#include "support/support.h"
#include "text/bpe_train.h"
#include "text/tokenizer_json.h"

enum { WORDS = 16, LIKED = 8, LEAST_WORDS = 3, MOST_WORDS = 5, THINGS = 64, MOST_ANSWERS = 9, VOCAB = 384 };

static const char *const words[WORDS] = {"bright", "calm",  "gentle", "golden", "happy", "lovely",
                                         "merry",  "sweet", "bitter", "broken", "cruel", "dismal",
                                         "dreary", "foul",  "gloomy", "rotten"};

/* "x" and two syllables: 64 names. */
static void name_thing(uint64_t number, char *text, size_t size) {
    static const char *const syllables[] = {"ba", "ko", "mi", "nu", "pe", "ra", "so", "tu"};
    snprintf(text, size, "%s%s", syllables[number % 8], syllables[number / 8 % 8]);
}

static void write_prompt(uint64_t number, char *text, size_t size) {
    char a[16], b[16];
    name_thing(number % THINGS, a, sizeof a);
    name_thing(number / THINGS % THINGS, b, sizeof b);
    snprintf(text, size, "Tell me of %s and %s.", a, b);
}

typedef struct answer {
    char text[96];
    int liked; /* words that are, less words that are not */
} answer;

static answer draw_answer(uint64_t prompt, uint64_t number) {
    const tv_rng rng = {.seed = 17, .stream = TV_STREAM_TEST, .step = (uint32_t)prompt};
    answer a = {.text = ""};
    uint64_t first = number * (1 + MOST_WORDS);
    uint64_t count = LEAST_WORDS + tv_uniform_below(&rng, first, MOST_WORDS - LEAST_WORDS + 1);
    for (uint64_t w = 0; w < count; w++) {
        uint64_t word = tv_uniform_below(&rng, first + 1 + w, WORDS);
        size_t used = strlen(a.text);
        snprintf(a.text + used, sizeof a.text - used, " %s", words[word]);
        a.liked += word < LIKED ? 1 : -1;
    }
    return a;
}

static void write_file(const char *path, const char *text) {
    assert_ok(tv_write_file(path, text, strlen(text)));
}

static char *path_in(const tv_planted *planted, const char *name) {
    char *path = tv_format("%s/%s", planted->dir, name);
    assert_non_null(path);
    return path;
}

char *tv_planted_preferences(const tv_planted *planted, const char *name, uint64_t first, uint64_t prompts,
                             uint64_t answers, bool ties) {
    enum { LINE = 1536 };
    assert_in_range(answers, 2, MOST_ANSWERS);
    char *text = calloc(prompts + 1, LINE);
    assert_non_null(text);
    size_t used = 0;
    for (uint64_t p = first; p < first + prompts; p++) {
        char prompt[96];
        answer drawn[MOST_ANSWERS];
        write_prompt(p, prompt, sizeof prompt);
        for (uint64_t k = 0; k < answers; k++)
            drawn[k] = draw_answer(p, k);
        bool tie = drawn[0].liked == drawn[1].liked;
        if (answers == 2 && tie && !ties)
            drawn[1] = draw_answer(p, 2);
        for (uint64_t more = 3; answers == 2 && !ties && drawn[0].liked == drawn[1].liked; more++)
            drawn[1] = draw_answer(p, more);
        bool first_better = drawn[0].liked >= drawn[1].liked;
        if (answers == 2) {
            used += (size_t)snprintf(text + used, LINE,
                                     "{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"%s}\n",
                                     prompt, drawn[!first_better].text, drawn[first_better].text,
                                     ties && tie ? ", \"tie\": true" : "");
            continue;
        }
        used += (size_t)snprintf(text + used, LINE, "{\"prompt\": \"%s\", \"answers\": [", prompt);
        for (uint64_t k = 0; k < answers; k++)
            used += (size_t)snprintf(text + used, LINE - 200, "%s{\"answer\": \"%s\", \"rank\": %d}",
                                     k ? ", " : "", drawn[k].text, MOST_WORDS - drawn[k].liked);
        used += (size_t)snprintf(text + used, 8, "]}\n");
    }
    char *path = path_in(planted, name);
    write_file(path, text);
    free(text);
    return path;
}

char *tv_planted_uneven(const tv_planted *planted, const char *name) {
    enum { PAIRS = 8 };
    tv_text text = {0};
    for (uint64_t p = 0; p < PAIRS; p++) {
        static const char *const keys[] = {"{\"prompt\": \"and\", \"chosen\": \"", "\", \"rejected\": \""};
        for (uint64_t k = 0; k < 2; k++) {
            assert_ok(tv_text_append(&text, keys[k], strlen(keys[k])));
            for (uint64_t w = 0; w < 1 + p * (p + 1) / 2 + (k ? p % 3 : 0); w++) {
                const char *word = words[(7 * p + 5 * k + 3 * w) % WORDS];
                assert_ok(tv_text_append(&text, " ", 1));
                assert_ok(tv_text_append(&text, word, strlen(word)));
            }
        }
        assert_ok(tv_text_append(&text, "\"}\n", 3));
    }
    assert_ok(tv_text_append(&text, "", 1));
    char *path = path_in(planted, name);
    write_file(path, (const char *)text.data);
    tv_text_free(&text);
    return path;
}

/* Every prompt of two equal things and every word, so that each is a token or two. */
static tv_tokenizer *train_tokenizer(void) {
    tv_bpe_trainer *trainer = NULL;
    tv_tokenizer *tokenizer = NULL;
    char prompt[96];
    assert_ok(tv_bpe_trainer_create(VOCAB, 0, &trainer));
    for (uint64_t i = 0; i < THINGS; i++) {
        write_prompt(i * THINGS + i, prompt, sizeof prompt);
        assert_ok(tv_bpe_trainer_add(trainer, (const uint8_t *)prompt, strlen(prompt)));
        answer a = draw_answer(i, 0);
        assert_ok(tv_bpe_trainer_add(trainer, (const uint8_t *)a.text, strlen(a.text)));
    }
    assert_ok(tv_bpe_trainer_finish(trainer, &tokenizer));
    tv_bpe_trainer_destroy(&trainer);
    return tokenizer;
}

typedef struct drawn {
    const tv_parameter_list *list;
    float head;
} drawn;

static tv_status yield_drawn(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                             void *out) {
    const drawn *d = context;
    const tv_parameter *p = &d->list->items[index];
    float *values = out;
    assert_int_equal(dtype, TV_F32);
    tv_parameter_initialise(d->list, index, 3, first_row, rows, values);
    for (uint64_t i = 0; p->role == TV_PARAMETER_SCORE_WEIGHT && i < rows * p->shape[1]; i++)
        values[i] *= d->head;
    return TV_OK;
}

static void write_model(const char *path, const tv_model_config *config, float head) {
    tv_parameter_list *list = NULL;
    assert_ok(tv_make_dirs(path));
    assert_ok(tv_parameter_list_create(config, &list));
    assert_ok(tv_model_directory_write(path, list, yield_drawn, &(drawn){list, head}));
    tv_parameter_list_destroy(&list);
}

tv_planted tv_planted_create(tv_architecture architecture) {
    tv_planted planted = {.dir = tv_test_dir()};
    assert_non_null(planted.dir);
    planted.base = path_in(&planted, "base");
    tv_tokenizer *tokenizer = train_tokenizer();
    tv_model_config c =
        tv_test_config(architecture, (tv_test_sizes){.vocab = tv_tokenizer_vocab_size(tokenizer),
                                                     .layers = 1,
                                                     .heads = 2,
                                                     .channels = 32,
                                                     .head_size = 16,
                                                     .ffn = 64,
                                                     .positions = 128});
    c.eos_token_id = tv_tokenizer_info_of(tokenizer)->end_of_text;
    write_model(planted.base, &c, 0);
    assert_ok(tv_tokenizer_save(tokenizer, planted.base));
    tv_tokenizer_destroy(&tokenizer);
    return planted;
}

void tv_planted_destroy(tv_planted *planted) {
    tv_test_dir_remove(&planted->dir);
    free(planted->base);
    *planted = (tv_planted){0};
}

char *tv_planted_reward(const tv_planted *planted, const char *name, float head) {
    char *path = path_in(planted, name), *config_path = tv_format("%s/config.json", planted->base);
    tv_tokenizer *tokenizer = NULL;
    tv_model_config config;
    assert_ok(tv_model_config_read_file(config_path, &config));
    config.head = TV_MODEL_HEAD_SCORE;
    write_model(path, &config, head);
    assert_ok(tv_tokenizer_load(planted->base, &tokenizer));
    assert_ok(tv_tokenizer_save(tokenizer, path));
    tv_tokenizer_destroy(&tokenizer);
    free(config_path);
    return path;
}

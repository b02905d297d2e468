/* text/bpe_train against a reference that recounts every pair after every merge, and its limits. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "text/bpe_train.h"
#include "text/tokenizer_json.h"

#define DATA TRIVIUM_SOURCE_DIR "/tests/text/data"

static tv_tokenizer *train(const uint8_t *text, uint64_t length, uint64_t vocab_size) {
    tv_bpe_trainer *trainer = NULL;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_bpe_trainer_create(vocab_size, 0, &trainer));
    assert_ok(tv_bpe_trainer_add(trainer, text, length));
    assert_ok(tv_bpe_trainer_finish(trainer, &tokenizer));
    tv_bpe_trainer_destroy(&trainer);
    assert_null(trainer);
    return tokenizer;
}

typedef struct pieces {
    tv_ids symbols; /* UINT32_MAX after each piece */
    const tv_tokenizer *tokenizer;
} pieces;

static tv_status add_piece(void *context, const uint8_t *bytes, uint64_t length) {
    pieces *all = context;
    for (uint64_t i = 0; i < length; i++) {
        uint32_t id = tv_tokenizer_find(all->tokenizer, bytes + i, 1);
        assert_ok(tv_ids_append(&all->symbols, &id, 1));
    }
    return tv_ids_append(&all->symbols, &(uint32_t){UINT32_MAX}, 1);
}

static int compare_pairs(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The most frequent pair of neighbours, the smallest of several; 0 when none occurs twice. */
static uint64_t best_pair(const tv_ids *symbols) {
    uint64_t *pairs = malloc(symbols->size * sizeof *pairs), count = 0, best = 0, best_run = 1;
    for (uint64_t i = 0; i + 1 < symbols->size; i++)
        if (symbols->data[i] != UINT32_MAX && symbols->data[i + 1] != UINT32_MAX)
            pairs[count++] = (uint64_t)symbols->data[i] << 32 | symbols->data[i + 1];
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (uint64_t i = 0, run; i < count; i += run) {
        for (run = 1; i + run < count && pairs[i + run] == pairs[i];)
            run++;
        if (run > best_run) {
            best_run = run;
            best = pairs[i];
        }
    }
    free(pairs);
    return best;
}

/* Every merge of the trainer is the best pair of the text as the merges before have left it. */
static void compare_with_recounting(const uint8_t *text, uint64_t length, uint64_t vocab_size) {
    tv_tokenizer *tokenizer = train(text, length, vocab_size);
    tv_pretokenizer *pretokenizer = NULL;
    assert_ok(tv_pretokenizer_create(&pretokenizer));
    assert_ok(tv_pretokenizer_add_regex(pretokenizer, TV_GPT2_PATTERN, TV_SPLIT_ISOLATED, false, "test"));
    pieces all = {.tokenizer = tokenizer};
    assert_ok(tv_pretokenizer_split(pretokenizer, text, length, true, add_piece, &all));
    const tv_merge *merges = tv_tokenizer_merges(tokenizer);
    for (uint64_t m = 0; m < tv_tokenizer_merge_count(tokenizer); m++) {
        uint64_t best = best_pair(&all.symbols);
        if (best != ((uint64_t)merges[m].left << 32 | merges[m].right))
            fail_msg("merge %llu is %u %u, expected %u %u", (unsigned long long)m, merges[m].left,
                     merges[m].right, (uint32_t)(best >> 32), (uint32_t)best);
        uint64_t kept = 0;
        for (uint64_t i = 0; i < all.symbols.size; i++) {
            bool merged = all.symbols.data[i] == merges[m].left && all.symbols.data[i + 1] == merges[m].right;
            all.symbols.data[kept++] = merged ? merges[m].merged : all.symbols.data[i];
            i += merged;
        }
        all.symbols.size = kept;
    }
    if (tv_tokenizer_vocab_size(tokenizer) < vocab_size)
        assert_int_equal(best_pair(&all.symbols), 0);
    tv_ids_free(&all.symbols);
    tv_pretokenizer_destroy(&pretokenizer);
    tv_tokenizer_destroy(&tokenizer);
}

static void merges_equal_recounting(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    char *text = NULL;
    uint64_t size = 0;
    assert_ok(tv_read_file(DATA "/excerpt.txt", &text, &size));
    compare_with_recounting((const uint8_t *)text, size, 700);
    free(text);
    /* Words of few letters overlap with themselves and reach the same token by several merges. */
    uint8_t bytes[3000];
    tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST};
    for (uint32_t trial = 0; trial < 20; trial++) {
        rng.step = trial;
        for (uint64_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)("aaab c"[tv_uniform_below(&rng, i, trial % 2 ? 6 : 4)]);
        compare_with_recounting(bytes, trial % 2 ? sizeof bytes : 300, 600);
    }
}

/* The committed tokenizer, whose ids @huggingface/tokenizers confirms, is what training gives. */
static void training_is_reproducible(void **state) {
    (void)state;
    char *text = NULL, *dir = tv_test_dir();
    uint64_t size = 0;
    assert_ok(tv_read_file(DATA "/excerpt.txt", &text, &size));
    tv_tokenizer *tokenizer = train((const uint8_t *)text, size, 512);
    assert_int_equal(tv_tokenizer_vocab_size(tokenizer), 512);
    assert_ok(tv_tokenizer_save(tokenizer, dir));
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    for (int i = 0; i < 2; i++) {
        char *made = tv_format("%s/%s", dir, names[i]), *kept = tv_format(DATA "/trained/%s", names[i]);
        char *made_text = NULL, *kept_text = NULL;
        assert_ok(tv_read_file(made, &made_text, NULL));
        assert_ok(tv_read_file(kept, &kept_text, NULL));
        assert_string_equal(made_text, kept_text);
        tv_free_all(made, kept, made_text, kept_text);
    }
    tv_tokenizer_destroy(&tokenizer);
    free(text);
    tv_test_dir_remove(&dir);
}

static void limits_give_sentences(void **state) {
    (void)state;
    tv_bpe_trainer *trainer = NULL;
    tv_tokenizer *tokenizer = NULL;
    assert_fails(tv_bpe_trainer_create(259, 0, &trainer), TV_E_USAGE, "260");
    assert_int_equal(tv_bpe_trainer_create(1u << 21, 0, &trainer), TV_E_USAGE);
    assert_ok(tv_bpe_trainer_create(300, 0, &trainer));
    assert_int_equal(tv_bpe_trainer_finish(trainer, &tokenizer), TV_E_DATA);
    tv_bpe_trainer_destroy(&trainer);
    /* Too little text: a smaller vocabulary. "ab ab ab" has the pairs a b and _ ab. */
    tv_log_set_level(TV_LOG_ERROR);
    tokenizer = train((const uint8_t *)"ab ab ab", 8, 300);
    assert_int_equal(tv_tokenizer_vocab_size(tokenizer), 262);
    tv_tokenizer_destroy(&tokenizer);
    tokenizer = train((const uint8_t *)"x", 1, 260);
    assert_int_equal(tv_tokenizer_vocab_size(tokenizer), 260);
    tv_tokenizer_destroy(&tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_equal_recounting),
        cmocka_unit_test(training_is_reproducible),
        cmocka_unit_test(limits_give_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

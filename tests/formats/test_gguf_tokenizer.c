/* formats/gguf_tokenizer: tokenizers go into GGUF metadata and come back with the same ids, both byte-level
 * BPE and BPE with byte fallback; each published pre-tokenizer has its name and the name its patterns; broken
 * lists are refused.
 *
 * Tried on 2026-11-29, each fails here: the end token not read, the types of tokens not read. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/gguf_pretokenizer.h"
#include "formats/gguf_tokenizer.h"
#include "text/tokenizer_json.h"

#define DATA TRIVIUM_SOURCE_DIR "/tests/text/data/"

static const char *const texts[] = {
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.",
    "  two  spaces,\ttabs\n\nand lines \n ",
    ("wörld \xc3\xa9\xcc\x81 \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x98\x80 "
     "\xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7"),
    "it's 12345 x 67, isn't it? I'LL; <s> </s> <|endoftext|> <0x0A>",
    "",
    " ",
    "a",
};

static void same_ids(tv_tokenizer *one, tv_tokenizer *other, const void *text, uint64_t length) {
    for (int special = 0; special < 2; special++) {
        tv_ids a = {0}, b = {0};
        assert_ok(tv_tokenizer_encode(one, text, length, special, &a));
        assert_ok(tv_tokenizer_encode(other, text, length, special, &b));
        if (a.size != b.size || (a.size && memcmp(a.data, b.data, a.size * sizeof *a.data) != 0))
            fail_msg("other ids for \"%.*s\": %d and %d of them", (int)tv_min_u64(length, 60),
                     (const char *)text, (int)a.size, (int)b.size);
        tv_ids_free(&a);
        tv_ids_free(&b);
    }
}

/* What stands in `path` once it went through a file. */
static void write_tokenizer(const tv_tokenizer *tokenizer, const tv_model_config *config, const char *path) {
    tv_gguf_writer *writer = NULL;
    assert_ok(tv_gguf_writer_create(path, &writer));
    assert_ok(tv_gguf_set_tokenizer(writer, tokenizer, config, "here"));
    assert_ok(tv_gguf_writer_begin(writer));
    assert_ok(tv_gguf_writer_commit(&writer));
}

static void goes_round(const char *directory) {
    char *dir = tv_test_dir(), *path = tv_format("%s/t.gguf", dir), *excerpt = NULL;
    uint64_t size;
    tv_tokenizer *tokenizer = NULL, *back = NULL;
    tv_gguf *file = NULL;
    tv_model_config config = tv_model_config_defaults(TV_ARCH_LLAMA);
    assert_ok(tv_tokenizer_load(directory, &tokenizer));
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    config.vocab_size = tv_tokenizer_vocab_size(tokenizer) + 7; /* rows that no token has */
    config.eos_token_id = info->eos == TV_NO_TOKEN ? -1 : (int64_t)info->eos;
    write_tokenizer(tokenizer, &config, path);
    assert_ok(tv_gguf_open(path, &file));
    assert_true(tv_gguf_has_tokenizer(file));
    assert_ok(tv_gguf_get_tokenizer(file, &back));
    const tv_tokenizer_info *found = tv_tokenizer_info_of(back);
    assert_int_equal(tv_tokenizer_vocab_size(back), tv_tokenizer_vocab_size(tokenizer));
    assert_int_equal(tv_tokenizer_merge_count(back), tv_tokenizer_merge_count(tokenizer));
    assert_int_equal(found->eos, info->eos);
    assert_int_equal(found->begin_count, info->begin_count);
    if (info->begin_count)
        assert_int_equal(found->begin[0], info->begin[0]);
    assert_int_equal(found->chat_template != NULL, info->chat_template != NULL);
    if (info->chat_template)
        assert_string_equal(found->chat_template, info->chat_template);
    for (size_t i = 0; i < TV_COUNT(texts); i++)
        same_ids(tokenizer, back, texts[i], strlen(texts[i]));
    assert_ok(tv_read_file(DATA "excerpt.txt", &excerpt, &size));
    same_ids(tokenizer, back, excerpt, size);
    uint8_t every[256];
    for (int i = 0; i < 256; i++)
        every[i] = (uint8_t)i;
    same_ids(tokenizer, back, every, sizeof every);

    /* And once more, from what came back. */
    tv_tokenizer *again = NULL;
    tv_gguf_close(&file);
    write_tokenizer(back, &config, path);
    assert_ok(tv_gguf_open(path, &file));
    assert_ok(tv_gguf_get_tokenizer(file, &again));
    same_ids(back, again, excerpt, size);

    /* A model with fewer rows than tokens. */
    config.vocab_size = tv_tokenizer_vocab_size(tokenizer) - 1;
    tv_gguf_writer *writer = NULL;
    assert_ok(tv_gguf_writer_create(path, &writer));
    assert_fails(tv_gguf_set_tokenizer(writer, tokenizer, &config, "here"), TV_E_DATA, "different models");
    tv_gguf_writer_abort(&writer);
    tv_gguf_close(&file);
    tv_tokenizer_destroy(&tokenizer);
    tv_tokenizer_destroy(&back);
    tv_tokenizer_destroy(&again);
    free(path);
    free(excerpt);
    tv_test_dir_remove(&dir);
}

static void byte_level_goes_round(void **state) {
    (void)state;
    goes_round(DATA "trained");
    goes_round(DATA "gpt2");
}

/* An end that no name gives away, as of a model whose turns end with a token of their own. */
static void another_end_comes_back(void **state) {
    (void)state;
    enum { END = 9 };
    char *dir = tv_test_dir(), *path = tv_format("%s/t.gguf", dir);
    tv_tokenizer *tokenizer = NULL, *back = NULL;
    tv_gguf *file = NULL;
    tv_model_config config = tv_model_config_defaults(TV_ARCH_LLAMA);
    assert_ok(tv_tokenizer_load(DATA "trained", &tokenizer));
    assert_true(tv_tokenizer_info_of(tokenizer)->eos != END);
    assert_ok(tv_tokenizer_set_eos(tokenizer, END));
    config.vocab_size = tv_tokenizer_vocab_size(tokenizer);
    config.eos_token_id = END;
    write_tokenizer(tokenizer, &config, path);
    assert_ok(tv_gguf_open(path, &file));
    assert_ok(tv_gguf_get_tokenizer(file, &back));
    assert_int_equal(tv_tokenizer_info_of(back)->eos, END);
    tv_gguf_close(&file);
    tv_tokenizer_destroy(&tokenizer);
    tv_tokenizer_destroy(&back);
    free(path);
    tv_test_dir_remove(&dir);
}

/* The one in data/ has fewer merges than its tokens have cuts; what llama.cpp makes of it, which has all,
 * goes round. */
static void byte_fallback_goes_round(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/t.gguf", dir), *whole = tv_format("%s/whole", dir);
    tv_tokenizer *tokenizer = NULL, *back = NULL;
    tv_gguf *file = NULL;
    tv_model_config config = tv_model_config_defaults(TV_ARCH_LLAMA);
    assert_ok(tv_tokenizer_load(DATA "metaspace", &tokenizer));
    config.vocab_size = tv_tokenizer_vocab_size(tokenizer);
    config.bos_token_id = 1;
    write_tokenizer(tokenizer, &config, path);
    assert_ok(tv_gguf_open(path, &file));
    assert_ok(tv_gguf_get_tokenizer(file, &back));
    assert_true(tv_tokenizer_merge_count(back) > tv_tokenizer_merge_count(tokenizer));
    assert_ok(tv_tokenizer_save(back, whole));
    goes_round(whole);
    tv_gguf_close(&file);
    tv_tokenizer_destroy(&tokenizer);
    tv_tokenizer_destroy(&back);
    tv_free_all(path, whole);
    tv_test_dir_remove(&dir);
}

static void a_published_model_goes_round(void **state) {
    (void)state;
    if (!tv_path_exists(TRIVIUM_SOURCE_DIR "/../shared/data/stories260K/tokenizer.json"))
        skip();
    goes_round(TRIVIUM_SOURCE_DIR "/../shared/data/stories260K");
}

static cJSON *steps_of(const tv_gguf_pretokenizer *pre) {
    cJSON *root = cJSON_CreateObject(), *list;
    tv_json_set_string(root, "type", "Sequence");
    list = cJSON_AddArrayToObject(root, "pretokenizers");
    for (int i = 0; pre->patterns[i]; i++) {
        cJSON *split = cJSON_CreateObject();
        cJSON_AddItemToArray(list, split);
        tv_json_set_string(split, "type", "Split");
        tv_json_set_string(split, "behavior", "Isolated");
        tv_json_set_string(cJSON_AddObjectToObject(split, "pattern"), "Regex", pre->patterns[i]);
    }
    cJSON *level = cJSON_CreateObject();
    cJSON_AddItemToArray(list, level);
    tv_json_set_string(level, "type", "ByteLevel");
    tv_json_set_bool(level, "use_regex", false);
    return root;
}

static void pre_tokenizers_have_names(void **state) {
    (void)state;
    static const char *const names[] = {"gpt-2",          "llama-bpe",   "qwen2",  "smollm",
                                        "deepseek-coder", "deepseek-v3", "gpt-4o", "tekken"};
    for (size_t i = 0; i < TV_COUNT(names); i++) {
        const tv_gguf_pretokenizer *pre = tv_gguf_pretokenizer_named(names[i]);
        assert_non_null(pre);
        assert_string_equal(pre->name, names[i]);
        cJSON *steps = steps_of(pre);
        assert_ptr_equal(tv_gguf_pretokenizer_of(steps, pre->ignore_merges), pre);
        /* One more step is another pre-tokenizer. */
        cJSON *digits = cJSON_CreateObject();
        tv_json_set_string(digits, "type", "Digits");
        cJSON_InsertItemInArray(cJSON_GetObjectItem(steps, "pretokenizers"), 0, digits);
        assert_null(tv_gguf_pretokenizer_of(steps, pre->ignore_merges));
        cJSON_Delete(steps);
    }
    assert_ptr_equal(tv_gguf_pretokenizer_named("llama3"), tv_gguf_pretokenizer_named("llama-bpe"));
    assert_null(tv_gguf_pretokenizer_named("unheard-of"));
    cJSON *smollm = NULL;
    static const char published[] =
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]}";
    assert_ok(tv_json_parse(published, strlen(published), "smollm", &smollm));
    assert_ptr_equal(tv_gguf_pretokenizer_of(smollm, false), tv_gguf_pretokenizer_named("smollm"));
    cJSON_Delete(smollm);
}

typedef struct broken {
    const char *words, *model, *pre;
    uint64_t tokens, types, scores, merges;
} broken;

static void broken_lists_are_refused(void **state) {
    (void)state;
    static const broken cases[] = {
        {"\"gpt2\" or \"llama\"", "bert", NULL, 2, 2, 2, 0},
        {"\"gpt2\" or \"llama\"", NULL, NULL, 2, 2, 2, 0},
        {"list of tokens", "llama", NULL, 0, 0, 0, 0},
        {"as many types", "llama", NULL, 2, 1, 2, 0},
        {"as many types", "llama", NULL, 2, 2, 3, 0},
        {"list of scores", "llama", NULL, 2, 2, 0, 0},
        {"list of merges", "gpt2", "gpt-2", 2, 2, 0, 0},
        {"found none", "gpt2", NULL, 2, 2, 0, 1},
        {"found unheard-of", "gpt2", "unheard-of", 2, 2, 0, 1},
        {"here.gguf", "gpt2", "gpt-2", 2, 2, 0, 1}, /* bytes without a token */
    };
    static const char *const tokens[] = {"a", "b", "ab"}, *const merges[] = {"a b"};
    static const int32_t types[] = {1, 1, 1};
    static const float scores[] = {0, 0, 0};
    char *dir = tv_test_dir(), *path = tv_format("%s/here.gguf", dir);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        const broken *c = &cases[i];
        tv_gguf_writer *writer = NULL;
        tv_gguf *file = NULL;
        tv_tokenizer *tokenizer = NULL;
        assert_ok(tv_gguf_writer_create(path, &writer));
        if (c->model)
            tv_gguf_set_text(writer, "tokenizer.ggml.model", c->model);
        if (c->pre)
            tv_gguf_set_text(writer, "tokenizer.ggml.pre", c->pre);
        if (c->tokens)
            tv_gguf_set_texts(writer, "tokenizer.ggml.tokens", tokens, c->tokens);
        if (c->types)
            tv_gguf_set_array(writer, "tokenizer.ggml.token_type", TV_GGUF_INT32, types, c->types);
        if (c->scores)
            tv_gguf_set_array(writer, "tokenizer.ggml.scores", TV_GGUF_FLOAT32, scores, c->scores);
        if (c->merges)
            tv_gguf_set_texts(writer, "tokenizer.ggml.merges", merges, c->merges);
        assert_ok(tv_gguf_writer_begin(writer));
        assert_ok(tv_gguf_writer_commit(&writer));
        assert_ok(tv_gguf_open(path, &file));
        tv_status status = tv_gguf_get_tokenizer(file, &tokenizer);
        if (status != TV_E_DATA || !strstr(tv_last_error(), c->words))
            fail_msg("case %d: expected \"%s\", found %s: %s", (int)i, c->words, tv_status_name(status),
                     tv_last_error());
        assert_null(tokenizer);
        tv_gguf_close(&file);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_goes_round),     cmocka_unit_test(byte_fallback_goes_round),
        cmocka_unit_test(another_end_comes_back),    cmocka_unit_test(a_published_model_goes_round),
        cmocka_unit_test(pre_tokenizers_have_names), cmocka_unit_test(broken_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

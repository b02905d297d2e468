/* text/tokenizer and text/tokenizer_json against GPT-2's own encoder and @huggingface/tokenizers (fixtures of
 * tests/golden/make_tokenizer_cases.mjs), on arbitrary bytes, and on hostile files. */
#include "text_cases.h"

#include "base/files.h"
#include "base/rng.h"
#include "text/bpe_train.h"

#define DATA TRIVIUM_SOURCE_DIR "/tests/text/data"

static void ids_equal_other_implementations(void **state) {
    (void)state;
    cJSON *base = tv_test_json(DATA, "gpt2/tokenizer.json"), *cases = tv_test_json(DATA, "gpt2_cases.json");
    tv_tokenizer *tokenizer = NULL;
    const char *current = "";
    const cJSON *item;
    int count = 0;
    cJSON_ArrayForEach(item, cases) {
        const char *name = tv_json_get(item, "name")->valuestring;
        if (strcmp(name, current) != 0) {
            tv_tokenizer_destroy(&tokenizer);
            assert_ok(tv_test_changed(base, tv_json_get(item, "changes"), &tokenizer));
            current = name;
        }
        tv_test_case(tokenizer, item, name);
        count++;
    }
    assert_true(count > 300);
    tv_tokenizer_destroy(&tokenizer);
    cJSON_Delete(base);
    cJSON_Delete(cases);
}

/* A tokenizer trained here gives the same ids in @huggingface/tokenizers. */
static void trained_tokenizer_is_read_elsewhere(void **state) {
    (void)state;
    cJSON *cases = tv_test_json(DATA, "trained_cases.json");
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(DATA "/trained", &tokenizer));
    const cJSON *item;
    cJSON_ArrayForEach(item, cases) {
        tv_test_case(tokenizer, item, "trained");
    }
    const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
    assert_int_equal(info->end_of_text, 0);
    assert_int_equal(info->eos, 0);
    assert_int_equal(info->pad, 3);
    assert_non_null(strstr(info->chat_template, "<|im_start|>assistant"));
    /* What was read is saved byte for byte. */
    char *dir = tv_test_dir(), *path = tv_format("%s/tokenizer.json", dir), *before = NULL, *after = NULL;
    assert_ok(tv_tokenizer_save(tokenizer, dir));
    assert_ok(tv_read_file(DATA "/trained/tokenizer.json", &before, NULL));
    assert_ok(tv_read_file(path, &after, NULL));
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(path);
    tv_test_dir_remove(&dir);
    tv_tokenizer_destroy(&tokenizer);
    cJSON_Delete(cases);
}

static void round_trip(tv_tokenizer *tokenizer, const uint8_t *bytes, uint64_t length) {
    tv_ids ids = {0};
    tv_text text = {0};
    for (int special = 0; special < 2; special++) {
        ids.size = text.size = 0;
        assert_ok(tv_tokenizer_encode(tokenizer, bytes, length, special, &ids));
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &text));
        assert_int_equal(text.size, length);
        if (length)
            assert_memory_equal(text.data, bytes, length);
    }
    tv_ids_free(&ids);
    tv_text_free(&text);
}

static void any_bytes_come_back(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(DATA "/trained", &tokenizer));
    round_trip(tokenizer, (const uint8_t *)"", 0);
    static const char *const shapes[] = {
        "\x80", /* stray continuation */
        "\xc3", /* cut short: 2, 3 and 4 bytes */
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xc0\xaf", /* overlong: 2, 3 and 4 bytes */
        "\xe0\x80\xaf",
        "\xf0\x80\x80\xaf",
        "\xed\xa0\x80", /* surrogates, alone and paired */
        "\xed\xa0\xbd\xed\xb8\x80",
        "\xf4\x90\x80\x80", /* above 10FFFF */
        "\xf8\x88\x80\x80\x80",
        "\xfe\xff",
        "\xc3(", /* lead byte, then no continuation */
        "a\xe2\x82z\xc3\xa9\xff \xf0\x9f\x98\x80\xf0\x9f",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char *within = tv_format("It's a %s in it %s%s", shapes[i], shapes[i], shapes[i]);
        round_trip(tokenizer, (const uint8_t *)shapes[i], strlen(shapes[i]));
        round_trip(tokenizer, (const uint8_t *)within, strlen(within));
        free(within);
    }
    uint8_t bytes[512];
    tv_rng rng = {.seed = 9, .stream = TV_STREAM_TEST};
    for (uint32_t trial = 0; trial < 300; trial++) {
        rng.step = trial;
        uint64_t length = tv_uniform_below(&rng, 0, sizeof bytes);
        /* Uniform bytes, and bytes from few values that form longer sequences. */
        static const uint8_t few[] = {0,    ' ',  'a',  0xc3, 0xa9, 0xe2, 0x82,
                                      0xac, 0xf0, 0x9f, 0xff, '\n', '\''};
        for (uint64_t i = 0; i < length; i++)
            bytes[i] = trial % 2 ? (uint8_t)tv_uniform_below(&rng, i + 1, 256)
                                 : few[tv_uniform_below(&rng, i + 1, sizeof few)];
        round_trip(tokenizer, bytes, length);
    }
    tv_tokenizer_destroy(&tokenizer);
}

static void special_tokens_are_found_on_request(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(DATA "/trained", &tokenizer));
    const char *text = "<|im_start|>a<|im_end|><|endoftext|";
    tv_ids with = {0}, without = {0};
    tv_text decoded = {0};
    assert_ok(tv_tokenizer_encode(tokenizer, text, strlen(text), true, &with));
    assert_ok(tv_tokenizer_encode(tokenizer, text, strlen(text), false, &without));
    assert_int_equal(with.data[0], 1);
    assert_int_equal(with.data[2], 2);
    for (uint64_t i = 0; i < without.size; i++)
        assert_true(without.data[i] > 3);
    assert_ok(tv_tokenizer_decode(tokenizer, with.data, with.size, true, &decoded));
    assert_int_equal(decoded.size, strlen("a<|endoftext|"));
    assert_memory_equal(decoded.data, "a<|endoftext|", decoded.size);
    const uint32_t unknown = 512;
    assert_int_equal(tv_tokenizer_decode(tokenizer, &unknown, 1, false, &decoded), TV_E_DATA);
    tv_ids_free(&with);
    tv_ids_free(&without);
    tv_text_free(&decoded);
    tv_tokenizer_destroy(&tokenizer);
}

/* A word 16 times as long takes at most 16 * (1 + log 16 / log 65536) = 20 times as long when time is n log
 * n, 256 times when it is quadratic: the bound is between. */
static void long_words_are_not_quadratic(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(DATA "/trained", &tokenizer));
    uint64_t size = 1 << 20;
    char *word = malloc(size);
    for (uint64_t i = 0; i < size; i++)
        word[i] = (char)('a' + (i * i / 7) % 26);
    double seconds[2];
    for (int longer = 0; longer < 2; longer++) {
        seconds[longer] = 1e9;
        for (int trial = 0; trial < 3; trial++) {
            double start = tv_test_cpu_seconds();
            round_trip(tokenizer, (const uint8_t *)word, longer ? size : size / 16);
            double taken = tv_test_cpu_seconds() - start;
            seconds[longer] = taken < seconds[longer] ? taken : seconds[longer];
        }
    }
    if (!(seconds[1] <= 80 * seconds[0] + 0.1))
        fail_msg("64 KiB in %.4f s, 1 MiB in %.4f s", seconds[0], seconds[1]);
    free(word);
    tv_tokenizer_destroy(&tokenizer);
}

/* What is wrong with the file, and a word of the sentence. */
static void hostile_files_give_sentences(void **state) {
    (void)state;
    static const tv_test_refusal table[] = {
        {"{\"model\": null}", "\"model\""},
        {"{\"model\": []}", "\"model\""},
        {"{\"model\": {\"type\": \"WordPiece\"}}", "WordPiece"},
        {"{\"model\": {\"type\": \"Unigram\"}}", "Unigram"},
        {"{\"model\": {\"vocab\": {}}}", "model.merges"},
        {"{\"model\": {\"vocab\": {}, \"merges\": {}}}", "model.merges"},
        {"{\"model\": {\"vocab\": [], \"merges\": []}}", "model.vocab"},
        {"{\"model\": {\"vocab\": {}, \"merges\": []}}", "byte 0x00"},
        {"{\"model\": {\"vocab\": {\"a\": 4294967296}, \"merges\": []}}", "4194303"},
        {"{\"model\": {\"vocab\": {\"a\": 99999999}, \"merges\": []}}", "4194303"},
        {"{\"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}}", "\"a\""},
        {"{\"model\": {\"vocab\": {\"a\": 1.5}, \"merges\": []}}", "\"a\""},
        {"{\"model\": {\"vocab\": {\"a\": \"1\"}, \"merges\": []}}", "\"a\""},
        {"{\"model\": {\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []}}", "once"},
        {"{\"model\": {\"vocab\": {\"a\": 1, \"a\": 2}, \"merges\": []}}", "once"},
        {"{\"model\": {\"vocab\": {\"a\": 50256}, \"merges\": []}}", "50256"},
        {"{\"model\": {\"vocab\": {\"\": 1}, \"merges\": []}}", "empty"},
        {"{\"model\": {\"vocab\": {\"\xe2\x96\x81the\": 1}, \"merges\": []}}", "byte-level"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a\"]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a \"]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a a a\"]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [[\"a\"]]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [[\"a\", 1]]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [[\"a\", \"b\", \"c\"]]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [7]}}", "model.merges[0]"},
        {"{\"model\": {\"vocab\": {\"a\": 1}, \"merges\": [\"a b\"]}}", "no right part"},
        {"{\"model\": {\"vocab\": {\"a\": 1, \"b\": 2}, \"merges\": [\"a b\"]}}", "no whole"},
        {"{\"model\": {\"vocab\": {}, \"merges\": [], \"byte_fallback\": true}}", "byte_fallback"},
        {"{\"model\": {\"vocab\": {}, \"merges\": [], \"end_of_word_suffix\": \"</w>\"}}", "</w>"},
        {"{\"model\": {\"vocab\": {}, \"merges\": [], \"dropout\": 0.1}}", "dropout"},
        {"{\"added_tokens\": 3}", "added_tokens"},
        {"{\"added_tokens\": [3]}", "added_tokens[0]"},
        {"{\"added_tokens\": [{\"id\": 1}]}", "content"},
        {"{\"added_tokens\": [{\"content\": \"x\"}]}", "\"x\""},
        {"{\"added_tokens\": [{\"id\": 1e300, \"content\": \"x\"}]}", "\"x\""},
        {"{\"added_tokens\": [{\"id\": 0, \"content\": \"x\"}]}", "once"},
        {"{\"added_tokens\": [{\"id\": 60000, \"content\": \"x\"}]}", "once"},
        {"{\"normalizer\": {\"type\": \"BertNormalizer\"}}", "BertNormalizer"},
        {"{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Precompiled\"}]}}",
         "Precompiled"},
        {"{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"x\"}}",
         "empty"},
        {"{\"normalizer\": 7}", "normalizer"},
        {"{\"pre_tokenizer\": null}", "ByteLevel"},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\"}}", "Metaspace"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}}}", "regular expression"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": "
         "\"MergedWithAll\"}}",
         "MergedWithAll"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": \"a\"}}", "Regex"},
        {"{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, "
         "{\"type\": "
         "\"Digits\"}]}}",
         "last"},
        {"{\"decoder\": {\"type\": \"Metaspace\"}}", "Metaspace"},
    };
    cJSON *base = tv_test_json(DATA, "gpt2/tokenizer.json");
    for (size_t i = 0; i < TV_COUNT(table); i++)
        tv_test_refused(base, &table[i]);
    cJSON_Delete(base);
    tv_tokenizer *tokenizer = NULL;
    assert_int_equal(tv_tokenizer_parse("[]", 2, "x", &tokenizer), TV_E_DATA);
    assert_fails(tv_tokenizer_load("/nonexistent", &tokenizer), TV_E_DATA, "/nonexistent/tokenizer.json");
}

static char *split_by(const char *pattern) {
    return tv_format("{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
                     "\"Split\", \"pattern\": {\"Regex\": \"%s\"}}, {\"type\": \"ByteLevel\", "
                     "\"add_prefix_space\": false, \"use_regex\": false}]}}",
                     pattern);
}

/* A pattern that backtracks exponentially stops at PCRE2's limit; one that matches nothing but the empty text
 * ends. */
static void hostile_patterns_end(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = NULL;
    cJSON *base = tv_test_json(DATA, "gpt2/tokenizer.json"), *changes = NULL;
    static const char *const patterns[] = {"(a+)+$", "x*", "(?=a)", "\\\\b"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char *text = split_by(patterns[i]);
        assert_ok(tv_json_parse(text, strlen(text), "change", &changes));
        assert_ok(tv_test_changed(base, changes, &tokenizer));
        tv_ids ids = {0};
        tv_text back = {0};
        const char *input = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\xc3\xa9 abx";
        tv_status status = tv_tokenizer_encode(tokenizer, input, strlen(input), false, &ids);
        if (status == TV_OK) {
            assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
            assert_int_equal(back.size, strlen(input));
            assert_memory_equal(back.data, input, back.size);
        } else {
            assert_fails(status, TV_E_DATA, "pattern");
        }
        tv_ids_free(&ids);
        tv_text_free(&back);
        tv_tokenizer_destroy(&tokenizer);
        cJSON_Delete(changes);
        free(text);
    }
    cJSON_Delete(base);
}

/* What Oniguruma reads otherwise than PCRE2 is refused by name. */
static void foreign_patterns_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *sentence;
    } table[] = {{"a\\\\Kb", "escape"}, {"\\\\h", "escape"},      {"(*LIMIT_MATCH=1)a+b", "verb"},
                 {"[a[bc]]", "class"},  {"[a-z&&[^b]]", "class"}, {"[\\\\w&&x]", "intersection"},
                 {"(?m:a.b)", "(?i)"},  {"(?s)a", "(?i)"},        {"(a", "regular expression"}};
    cJSON *base = tv_test_json(DATA, "gpt2/tokenizer.json"), *changes = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *text = split_by(table[i].pattern);
        tv_tokenizer *tokenizer = NULL;
        assert_ok(tv_json_parse(text, strlen(text), "change", &changes));
        if (tv_test_changed(base, changes, &tokenizer) != TV_E_DATA)
            fail_msg("accepted: %s", table[i].pattern);
        if (!strstr(tv_last_error(), table[i].sentence))
            fail_msg("%s\n gives: %s", table[i].pattern, tv_last_error());
        cJSON_Delete(changes);
        free(text);
    }
    cJSON_Delete(base);
}

/* What @huggingface/tokenizers puts before a text with the same files. */
static void files_say_what_a_text_begins_with(void **state) {
    (void)state;
#define TEMPLATE(ids)                                                                                        \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"b\", \"type_id\": 0}}, "  \
    "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"e\", \"type_id\": "      \
    "0}}], "                                                                                                 \
    "\"special_tokens\": {\"b\": {\"id\": \"b\", \"ids\": [" ids "], \"tokens\": [\"b\"]}, \"e\": {\"id\": " \
    "\"e\", \"ids\": [64], \"tokens\": [\"e\"]}}}"
    static const struct {
        const char *processor, *sentence; /* a sentence: refused */
        uint32_t count, first, second;
    } table[] = {
        {"null", NULL, 0, 0, 0},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": true}", NULL, 0, 0, 0},
        {TEMPLATE("50256"), NULL, 1, 50256, 0},
        {TEMPLATE("50256, 65"), NULL, 2, 50256, 65},
        {"{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}, " TEMPLATE("65") "]}", NULL, 1,
         65, 0},
        {"{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\"}}]}", NULL, 0, 0, 0},
        {"{\"type\": \"RobertaProcessing\", \"sep\": [\"</s>\", 2], \"cls\": [\"<s>\", 64]}", NULL, 1, 64, 0},
        {"{\"type\": \"Unheard\"}", "Unheard", 0, 0, 0},
        {TEMPLATE("60000"), "post_processor.special_tokens", 0, 0, 0},
        {TEMPLATE("64.5"), "another number", 0, 0, 0},
        {TEMPLATE("\"x\""), "no number", 0, 0, 0},
        {TEMPLATE("64, 64, 64, 64, 64"), "at most 4", 0, 0, 0},
        {"{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}]}",
         "the ids of \"x\"", 0, 0, 0},
        {"{\"type\": \"BertProcessing\"}", "post_processor.cls", 0, 0, 0},
    };
    cJSON *base = tv_test_json(DATA, "gpt2/tokenizer.json");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cJSON *changes = NULL;
        tv_tokenizer *tokenizer = NULL;
        char *text = tv_format("{\"post_processor\": %s}", table[i].processor);
        tv_ids ids = {0};
        assert_ok(tv_json_parse(text, strlen(text), "change", &changes));
        tv_status status = tv_test_changed(base, changes, &tokenizer);
        if (table[i].sentence) {
            assert_int_equal(status, TV_E_DATA);
            if (!strstr(tv_last_error(), table[i].sentence) || !strstr(tv_last_error(), "changed"))
                fail_msg("%s\n gives: %s", text, tv_last_error());
        } else {
            assert_ok(status);
            assert_ok(tv_tokenizer_begin_text(tokenizer, &ids));
            if (ids.size != table[i].count || (ids.size > 0 && ids.data[0] != table[i].first) ||
                (ids.size > 1 && ids.data[1] != table[i].second))
                fail_msg("%s puts %llu tokens, %u first", text, (unsigned long long)ids.size,
                         ids.size ? ids.data[0] : 0);
            /* A document that follows others stands behind their end already. */
            ids.size = 0;
            assert_ok(tv_tokenizer_begin_document(tokenizer, &ids));
            assert_int_equal(ids.size, table[i].count == 1 && table[i].first == 50256 ? 0 : table[i].count);
        }
        tv_ids_free(&ids);
        tv_tokenizer_destroy(&tokenizer);
        cJSON_Delete(changes);
        free(text);
    }
    cJSON_Delete(base);
}

/* tokenizer_config.json goes before tokenizer.json; without an opinion it leaves that alone. */
static void add_bos_token_goes_before(void **state) {
    (void)state;
    static const struct {
        const char *config;
        int count; /* -1: refused */
        uint32_t first;
    } table[] = {
        {"{\"bos_token\": \"<|im_start|>\"}", 1, 2},
        {"{\"add_bos_token\": null}", 1, 2},
        {"{\"add_bos_token\": false, \"bos_token\": \"<|im_start|>\"}", 0, 0},
        {"{\"add_bos_token\": true, \"bos_token\": {\"content\": \"<|im_start|>\"}}", 1, 1},
        {"{\"add_bos_token\": true, \"bos_token\": null}", 0, 0},
        {"{\"add_bos_token\": \"yes\"}", -1, 0},
    };
    char *dir = tv_test_dir(), *json = tv_format("%s/tokenizer.json", dir);
    char *config = tv_format("%s/tokenizer_config.json", dir);
    cJSON *root = tv_test_json(DATA, "trained/tokenizer.json"), *processor = NULL;
    static const char post[] = TEMPLATE("2");
    assert_ok(tv_json_parse(post, sizeof post - 1, "post", &processor));
    assert_true(cJSON_ReplaceItemInObjectCaseSensitive(root, "post_processor", processor));
    assert_ok(tv_json_write_file(json, root));
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        tv_tokenizer *tokenizer = NULL;
        assert_ok(tv_write_file(config, table[i].config, strlen(table[i].config)));
        tv_status status = tv_tokenizer_load(dir, &tokenizer);
        if (table[i].count < 0) {
            assert_fails(status, TV_E_DATA, "\"add_bos_token\"");
            continue;
        }
        assert_ok(status);
        const tv_tokenizer_info *info = tv_tokenizer_info_of(tokenizer);
        if ((int)info->begin_count != table[i].count ||
            (info->begin_count && info->begin[0] != table[i].first))
            fail_msg("%s puts %u tokens, %u first", table[i].config, info->begin_count, info->begin[0]);
        tv_tokenizer_destroy(&tokenizer);
    }
    cJSON_Delete(root);
    free(config);
    free(json);
    tv_test_dir_remove(&dir);
}

/* Also where the files name none, or name it at length; what ends a document stays, and so does all else. */
static void an_eos_that_was_set_is_saved(void **state) {
    (void)state;
    static const char *const configs[] = {
        NULL, "{\"eos_token\": \"<|endoftext|>\", \"model_max_length\": 1e30, \"x\": [1, null]}",
        "{\"a\": 1, \"eos_token\": {\"content\": \"<|endoftext|>\", \"lstrip\": false}}"};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char *dir = tv_test_dir(), *json = tv_format("%s/tokenizer.json", dir);
        char *config = tv_format("%s/tokenizer_config.json", dir), *text = NULL, *kept = NULL;
        uint64_t size;
        cJSON *before = NULL, *after = NULL;
        tv_tokenizer *tokenizer = NULL;
        assert_ok(tv_read_file(DATA "/trained/tokenizer.json", &text, &size));
        assert_ok(tv_write_file(json, text, size));
        if (configs[i])
            assert_ok(tv_write_file(config, configs[i], strlen(configs[i])));
        assert_ok(tv_tokenizer_load(dir, &tokenizer));
        assert_int_equal(tv_tokenizer_set_eos(tokenizer, 99999), TV_E_DATA);
        assert_ok(tv_tokenizer_set_eos(tokenizer, 2));
        assert_int_equal(tv_tokenizer_info_of(tokenizer)->eos, 2);
        assert_int_equal(tv_tokenizer_info_of(tokenizer)->end_of_text, 0);
        assert_ok(tv_tokenizer_save(tokenizer, dir));
        tv_tokenizer_destroy(&tokenizer);
        assert_ok(tv_read_file(json, &kept, NULL));
        assert_string_equal(kept, text);
        assert_ok(tv_json_read_file(config, &after));
        const char *source = configs[i] ? configs[i] : "{}";
        assert_ok(tv_json_parse(source, strlen(source), "before", &before));
        cJSON_DeleteItemFromObjectCaseSensitive(before, "eos_token");
        assert_non_null(cJSON_AddStringToObject(before, "eos_token", "<|im_end|>"));
        assert_true(cJSON_Compare(before, after, true));
        cJSON_Delete(before);
        cJSON_Delete(after);
        free(kept);
        free(text);
        free(config);
        free(json);
        tv_test_dir_remove(&dir);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_other_implementations),
        cmocka_unit_test(trained_tokenizer_is_read_elsewhere),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(special_tokens_are_found_on_request),
        cmocka_unit_test(long_words_are_not_quadratic),
        cmocka_unit_test(hostile_files_give_sentences),
        cmocka_unit_test(files_say_what_a_text_begins_with),
        cmocka_unit_test(add_bos_token_goes_before),
        cmocka_unit_test(an_eos_that_was_set_is_saved),
        cmocka_unit_test(hostile_patterns_end),
        cmocka_unit_test(foreign_patterns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

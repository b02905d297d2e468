/* Each part of a tokenizer.json by itself (normalizers, pre-tokenizers, added tokens' flags, unknown
 * characters, decoders) on short texts: ids and decoded texts are those of Hugging Face tokenizers, the
 * library in Rust (fixtures of tests/golden/make_tokenizer_parts.py). */
#include "text_cases.h"

#include "base/log.h"
#include "base/rng.h"

#define DATA TRIVIUM_SOURCE_DIR "/tests/text/data"

static void hex_text(const char *hex, tv_text *text) {
    text->size = 0;
    for (; *hex; hex += 2) {
        uint8_t byte = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
        assert_ok(tv_text_append(text, &byte, 1));
    }
}

static void expect_case(tv_tokenizer *tokenizer, const char *name, const cJSON *item) {
    tv_text text = {0}, expected = {0}, back = {0};
    tv_ids ids = {0};
    hex_text(tv_json_get(item, "hex")->valuestring, &text);
    assert_ok(tv_tokenizer_encode(tokenizer, text.data, text.size, true, &ids));
    const cJSON *list = tv_json_get(item, "ids"), *id = list->child, *decoded = tv_json_get(item, "decoded");
    for (uint64_t i = 0; i < ids.size || id; i++, id = id ? id->next : NULL)
        if (i >= ids.size || !id || ids.data[i] != (uint32_t)id->valueint)
            fail_msg("%s: \"%.*s\": id %llu of %llu is %u, expected %d of %d", name, (int)text.size,
                     (const char *)text.data, (unsigned long long)i, (unsigned long long)ids.size,
                     i < ids.size ? ids.data[i] : 0, id ? id->valueint : -1, cJSON_GetArraySize(list));
    if (cJSON_IsString(decoded)) {
        hex_text(decoded->valuestring, &expected);
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
        if (back.size != expected.size || (back.size && memcmp(back.data, expected.data, back.size) != 0))
            fail_msg("%s: \"%.*s\" is decoded as \"%.*s\", expected \"%.*s\"", name, (int)text.size,
                     (const char *)text.data, (int)back.size, (const char *)back.data, (int)expected.size,
                     (const char *)expected.data);
    }
    tv_text_free(&text);
    tv_text_free(&expected);
    tv_text_free(&back);
    tv_ids_free(&ids);
}

static void parts_are_those_of_the_library(void **state) {
    (void)state;
    cJSON *metaspace = tv_test_json(DATA, "metaspace/tokenizer.json"),
          *gpt2 = tv_test_json(DATA, "gpt2/tokenizer.json");
    cJSON *cases = tv_test_json(DATA, "parts_cases.json");
    const cJSON *variant, *text;
    int count = 0;
    cJSON_ArrayForEach(variant, cases) {
        const char *base = tv_json_get(variant, "base")->valuestring,
                   *name = tv_json_get(variant, "name")->valuestring;
        tv_tokenizer *tokenizer = NULL;
        assert_ok(tv_test_changed(strcmp(base, "gpt2") == 0 ? gpt2 : metaspace,
                                  tv_json_get(variant, "changes"), &tokenizer));
        cJSON_ArrayForEach(text, tv_json_get(variant, "texts")) {
            expect_case(tokenizer, name, text);
            count++;
        }
        tv_tokenizer_destroy(&tokenizer);
    }
    assert_true(count > 600);
    cJSON_Delete(metaspace);
    cJSON_Delete(gpt2);
    cJSON_Delete(cases);
}

static tv_tokenizer *metaspace_with(const char *changes) {
    cJSON *base = tv_test_json(DATA, "metaspace/tokenizer.json"), *parsed = NULL;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_json_parse(changes, strlen(changes), "change", &parsed));
    assert_ok(tv_test_changed(base, parsed, &tokenizer));
    cJSON_Delete(parsed);
    cJSON_Delete(base);
    return tokenizer;
}

static void expect_ids(tv_tokenizer *tokenizer, const char *text, const uint8_t *literal, uint64_t count,
                       const uint32_t *expected) {
    tv_ids ids = {0};
    assert_ok(tv_tokenizer_encode_marked(tokenizer, text, strlen(text), literal, &ids));
    assert_int_equal(ids.size, count);
    assert_memory_equal(ids.data, expected, count * sizeof *expected);
    tv_ids_free(&ids);
}

/* Also bytes that are no UTF-8, by the tokens <0x00> to <0xFF>; only the sign for spaces is lost. */
static void any_bytes_come_back(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = metaspace_with("{}");
    assert_false(tv_tokenizer_is_reversible(tokenizer));
    uint8_t bytes[512];
    tv_ids ids = {0};
    tv_text back = {0};
    tv_rng rng = {.seed = 9, .stream = TV_STREAM_TEST};
    static const uint8_t few[] = {0,    ' ',  'a',  't',  'h',  'e',  0xc3, 0xa9,
                                  0xe2, 0x96, 0x82, 0xf0, 0x9f, 0xff, '\n'};
    for (uint32_t trial = 0; trial < 300; trial++) {
        rng.step = trial;
        uint64_t length = 1 + tv_uniform_below(&rng, 0, sizeof bytes);
        for (uint64_t i = 0; i < length; i++)
            bytes[i] = trial % 2 ? (uint8_t)tv_uniform_below(&rng, i + 1, 256)
                                 : few[tv_uniform_below(&rng, i + 1, sizeof few)];
        for (uint64_t i = 0; i + 2 < length; i++)
            if (memcmp(bytes + i, "\xe2\x96\x81", 3) == 0)
                bytes[i] = ' ';
        ids.size = back.size = 0;
        assert_ok(tv_tokenizer_encode(tokenizer, bytes, length, false, &ids));
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
        assert_int_equal(back.size, length);
        assert_memory_equal(back.data, bytes, length);
    }
    tv_ids_free(&ids);
    tv_text_free(&back);
    tv_tokenizer_destroy(&tokenizer);
}

static double seconds_of(tv_tokenizer *tokenizer, const char *text, uint64_t length) {
    double best = 1e9;
    tv_ids ids = {0};
    for (int trial = 0; trial < 3; trial++) {
        double start = tv_test_cpu_seconds(), taken;
        ids.size = 0;
        assert_ok(tv_tokenizer_encode(tokenizer, text, length, false, &ids));
        taken = tv_test_cpu_seconds() - start;
        best = taken < best ? taken : best;
    }
    tv_ids_free(&ids);
    return best;
}

/* The whole text is one piece: of words, and of letters that may all merge. Sixteen times as long it takes at
 * most 20 times as long in n log n, 256 times when it is quadratic. */
static void a_text_of_one_piece_is_not_quadratic(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = metaspace_with("{}");
    enum { SIZE = 1 << 20 };
    static const char *const repeated[] = {"the nth one, then ", "thethethe", "\xe6\x97\xa5\xff"};
    char *text = malloc(SIZE);
    for (int shape = 0; shape < 3; shape++) {
        for (uint64_t i = 0, size = strlen(repeated[shape]); i < SIZE; i++)
            text[i] = repeated[shape][i % size];
        double part = seconds_of(tokenizer, text, SIZE / 16), whole = seconds_of(tokenizer, text, SIZE);
        if (!(whole <= 80 * part + 0.1))
            fail_msg("\"%s\": 64 KiB in %.4f s, 1 MiB in %.4f s", repeated[shape], part, whole);
    }
    free(text);
    tv_tokenizer_destroy(&tokenizer);
}

/* What is marked is text, and so is a special token of which one byte is; other added tokens are found. */
static void marked_bytes_are_text(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = metaspace_with("{}");
    const char *text = "</s></s>";
    const uint8_t none[8] = {0}, first[8] = {1, 1, 1, 1, 0, 0, 0, 0}, middle[8] = {0, 0, 0, 0, 0, 1, 0, 0};
    tv_ids spelled = {0};
    assert_ok(tv_tokenizer_encode(tokenizer, "</s>", 4, false, &spelled));
    assert_true(spelled.size > 1);
    expect_ids(tokenizer, text, none, 2, (const uint32_t[]){2, 2});
    assert_ok(tv_ids_append(&spelled, (const uint32_t[]){2}, 1));
    expect_ids(tokenizer, text, first, spelled.size, spelled.data);
    spelled.size = 0;
    assert_ok(tv_ids_append(&spelled, (const uint32_t[]){2}, 1));
    assert_ok(tv_tokenizer_encode(tokenizer, "</s>", 4, false, &spelled));
    expect_ids(tokenizer, text, middle, spelled.size, spelled.data);
    tv_ids_free(&spelled);
    tv_tokenizer_destroy(&tokenizer);
}

/* Also where merges could make one of its letters. */
static void no_text_becomes_a_special_token(void **state) {
    (void)state;
    cJSON *root = tv_test_json(DATA, "metaspace/tokenizer.json");
    cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");
    cJSON *merges = cJSON_GetObjectItemCaseSensitive(model, "merges");
    static const char *const tokens[] = {"<", "/", ">", "</", "s>"};
    static const char *const added[] = {"< /", "s >", "</ s>"};
    for (uint32_t i = 0; i < 5; i++)
        if (!tv_json_get(vocab, tokens[i]))
            cJSON_AddNumberToObject(vocab, tokens[i], 700 + i);
    for (int i = 2; i >= 0; i--) {
        char *pair = tv_format("%s", added[i]), *space = strchr(pair, ' ');
        *space = '\0';
        cJSON_InsertItemInArray(merges, 0,
                                cJSON_CreateStringArray((const char *const[]){pair, space + 1}, 2));
        free(pair);
    }
    char *line = NULL;
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_json_print_line(root, &line));
    assert_ok(tv_tokenizer_parse(line, strlen(line), "merges", &tokenizer));
    tv_ids found = {0};
    assert_ok(tv_tokenizer_encode(tokenizer, "a</s>", 5, false, &found));
    assert_true(found.size >= 3);
    for (uint64_t i = 0; i < found.size; i++)
        assert_int_not_equal(found.data[i], 2);
    tv_ids_free(&found);
    free(line);
    tv_tokenizer_destroy(&tokenizer);
    cJSON_Delete(root);
}

/* A text loses the space in front that encoding gave it; what goes on from another keeps its own. */
static void only_a_beginning_loses_its_space(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = metaspace_with("{}");
    tv_ids ids = {0};
    tv_text whole = {0}, next = {0};
    assert_ok(tv_tokenizer_encode(tokenizer, "the end", 7, false, &ids));
    assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, true, &whole));
    for (uint64_t i = 0; i < ids.size; i++)
        assert_ok(tv_tokenizer_decode_next(tokenizer, ids.data + i, 1, true, &next));
    assert_int_equal(whole.size, 7);
    assert_memory_equal(whole.data, "the end", 7);
    assert_int_equal(next.size, 8);
    assert_memory_equal(next.data, " the end", 8);
    tv_ids_free(&ids);
    tv_text_free(&whole);
    tv_text_free(&next);
    tv_tokenizer_destroy(&tokenizer);
}

/* A model may have room to spare, and may lack what only added tokens spell. */
static void vocabularies_fit(void **state) {
    (void)state;
    tv_tokenizer *tokenizer = metaspace_with("{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", "
                                             "\"special\": true}, {\"id\": 800, \"content\": \"<image>\"}]}");
    tv_log_set_level(TV_LOG_ERROR);
    uint64_t own = 0;
    for (uint32_t id = 0; id < 800; id++)
        if (tv_tokenizer_token(tokenizer, id))
            own = id + 1;
    assert_ok(tv_tokenizer_expect_vocab(tokenizer, 1000, "model"));
    assert_ok(tv_tokenizer_expect_vocab(tokenizer, 801, "model"));
    assert_ok(tv_tokenizer_expect_vocab(tokenizer, 800, "model"));
    assert_ok(tv_tokenizer_expect_vocab(tokenizer, own, "model"));
    assert_fails(tv_tokenizer_expect_vocab(tokenizer, own - 1, "model"), TV_E_DATA, "vocab_size");
    tv_tokenizer_destroy(&tokenizer);
}

/* What is wrong with the file, and words of the sentence. */
static void hostile_files_give_sentences(void **state) {
    (void)state;
#define DEEP(key, inner)                                                                                     \
    "{\"type\": \"Sequence\", \"" key "\": [{\"type\": \"Sequence\", \"" key                                 \
    "\": [{\"type\": \"Sequence\", \"" key "\": [" inner "]}]}]}"
    static const tv_test_refusal table[] = {
        {"{\"decoder\": null}", "a decoder"},
        {"{\"decoder\": {\"type\": \"ByteLevel\"}}", "ByteLevel"},
        {"{\"decoder\": {\"type\": \"WordPiece\"}}", "WordPiece"},
        {"{\"decoder\": {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}}",
         "behind Fuse"},
        {"{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": "
         "\"Replace\", \"pattern\": "
         "{\"String\": \"a\"}, \"content\": \"b\"}]}}",
         "before ByteFallback"},
        {"{\"decoder\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, \"content\": \"b\"}}",
         "another pattern"},
        {"{\"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}}", "one character"},
        {"{\"decoder\": " DEEP("decoders", DEEP("decoders", DEEP("decoders", "{\"type\": \"Fuse\"}"))) "}",
         "8 deep"},
        {"{\"normalizer\": " DEEP("normalizers",
                                  DEEP("normalizers", DEEP("normalizers", "{\"type\": \"NFC\"}"))) "}",
         "8 deep"},
        {"{\"pre_tokenizer\": " DEEP(
             "pretokenizers", DEEP("pretokenizers", DEEP("pretokenizers", "{\"type\": \"Digits\"}"))) "}",
         "8 deep"},
        {"{\"post_processor\": " DEEP(
             "processors", DEEP("processors", DEEP("processors", "{\"type\": \"ByteLevel\"}"))) "}",
         "8 deep"},
        {"{\"normalizer\": {\"type\": \"Nmt\"}}", "Nmt"},
        {"{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(\"}, \"content\": \"b\"}}",
         "regular expression"},
        {"{\"normalizer\": {\"type\": \"Replace\", \"content\": \"b\"}}", "Regex"},
        {"{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": 3}}", "prepend"},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\"}}", "one character"},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"prepend_scheme\": \"last\"}}", "last"},
        {"{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"prepend_scheme\": \"always\", "
         "\"add_prefix_space\": false}}",
         "add_prefix_space"},
        {"{\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}", "BertPreTokenizer"},
        {"{\"model\": {\"merges\": [[\"a\", \"\\u2603\"]]}}", "no right part"},
        {"{\"model\": {\"merges\": [\"a b c\"]}}", "model.merges[0]"},
        {"{\"model\": {\"unk_token\": \"<none>\"}}", "<none>"},
        {"{\"model\": {\"byte_fallback\": 1}}", "byte_fallback"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"<0x00>\": 3, \"<unk>\": 0}, \"merges\": [], "
         "\"byte_fallback\": true}}",
         "byte 0x01"},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2147483648}, \"merges\": []}}", "4194303"},
        {"{\"added_tokens\": [{\"id\": 2147483648, \"content\": \"x\"}]}", "4194303"},
        {"{\"added_tokens\": [{\"id\": 700, \"content\": \"x\", \"normalized\": \"yes\"}]}", "normalized"},
    };
    cJSON *base = tv_test_json(DATA, "metaspace/tokenizer.json");
    for (size_t i = 0; i < TV_COUNT(table); i++)
        tv_test_refused(base, &table[i]);
    cJSON_Delete(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_those_of_the_library),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(a_text_of_one_piece_is_not_quadratic),
        cmocka_unit_test(marked_bytes_are_text),
        cmocka_unit_test(no_text_becomes_a_special_token),
        cmocka_unit_test(only_a_beginning_loses_its_space),
        cmocka_unit_test(vocabularies_fit),
        cmocka_unit_test(hostile_files_give_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

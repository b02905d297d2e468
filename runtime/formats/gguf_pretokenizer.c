/* Names and patterns of pre-tokenizers: see gguf_pretokenizer.h. */
#include "formats/gguf_pretokenizer.h"

#include <string.h>

#include "base/bytes.h"
#include "text/pretokenizer.h"

#define BLANKS "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* Contractions, words, numbers of up to so many digits, signs. */
#define WORDS_WITH(digits)                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                     \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS
/* A word is capitals, then small letters; `end` follows each of the two ways to be one. */
#define CASES_WITH(end, digits)                                                                              \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" end          \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" end         \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS

/* Chinese as DeepSeek writes it: U+4E00 to U+9FA5, U+0800 to U+4E00, U+AC00 to U+D7FF. */
#define DEEPSEEK_CODER_CJK "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+"
/* U+4E00 to U+9FA5, Hiragana, Katakana. */
#define DEEPSEEK_V3_CJK "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+"
#define DEEPSEEK_V3_WORDS                                                                                    \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"       \
    " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"

static const tv_gguf_pretokenizer known[] = {
    {"gpt-2", {"gpt2", "phi-2", "olmo", "jais", "mpt"}, false, false, {TV_GPT2_PATTERN}},
    {"llama-bpe", {"llama3", "llama-v3", "falcon3", "midm-2.0"}, true, false, {WORDS_WITH("\\p{N}{1,3}")}},
    {"qwen2", {"stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan"}, false, true, {WORDS_WITH("\\p{N}")}},
    {"smollm", {"starcoder", "command-r", "refact"}, false, false, {"\\p{N}", TV_GPT2_PATTERN}},
    {"deepseek-coder",
     {NULL},
     false,
     false,
     {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CODER_CJK, "\\p{N}"}},
    {"deepseek-v3", {NULL}, false, false, {"\\p{N}{1,3}", DEEPSEEK_V3_CJK, DEEPSEEK_V3_WORDS}},
    {"gpt-4o", {"llama4"}, false, false, {CASES_WITH("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}")}},
    {"tekken", {NULL}, true, false, {CASES_WITH("", "\\p{N}")}},
};

const tv_gguf_pretokenizer *tv_gguf_pretokenizer_named(const char *name) {
    for (size_t i = 0; i < TV_COUNT(known); i++) {
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
        for (size_t k = 0; k < TV_COUNT(known[i].aliases) && known[i].aliases[k]; k++)
            if (strcmp(known[i].aliases[k], name) == 0)
                return &known[i];
    }
    return NULL;
}

typedef struct patterns {
    const char *items[TV_GGUF_MAX_PATTERNS + 1];
    uint64_t count;
    bool other; /* a step that no pattern says */
} patterns;

static void add(patterns *found, const char *pattern) {
    if (!pattern || found->count == TV_GGUF_MAX_PATTERNS)
        found->other = true;
    else
        found->items[found->count++] = pattern;
}

static const char *text_of(const cJSON *object, const char *key) {
    const char *text = cJSON_GetStringValue(tv_json_get(object, key));
    return text ? text : "";
}

static void collect(const cJSON *step, patterns *found) {
    const char *type = text_of(step, "type");
    if (strcmp(type, "Sequence") == 0) {
        const cJSON *part;
        cJSON_ArrayForEach(part, tv_json_get(step, "pretokenizers")) {
            collect(part, found);
        }
    } else if (strcmp(type, "ByteLevel") == 0) {
        if (!cJSON_IsFalse(tv_json_get(step, "use_regex")))
            add(found, TV_GPT2_PATTERN);
        found->other |= cJSON_IsTrue(tv_json_get(step, "add_prefix_space"));
    } else if (strcmp(type, "Split") == 0) {
        /* "Removed" with "invert" keeps what matches, and these patterns match every character. */
        const char *behavior = text_of(step, "behavior");
        bool invert = cJSON_IsTrue(tv_json_get(step, "invert"));
        found->other |=
            !(strcmp(behavior, "Isolated") == 0 && !invert) && !(strcmp(behavior, "Removed") == 0 && invert);
        add(found, cJSON_GetStringValue(tv_json_get(tv_json_get(step, "pattern"), "Regex")));
    } else if (strcmp(type, "Digits") == 0) {
        add(found, cJSON_IsTrue(tv_json_get(step, "individual_digits")) ? "\\p{N}" : "\\p{N}+");
    } else {
        found->other = true;
    }
}

static bool same(const tv_gguf_pretokenizer *one, const patterns *found) {
    uint64_t i = 0;
    for (; one->patterns[i] && i < found->count; i++)
        if (strcmp(one->patterns[i], found->items[i]) != 0)
            return false;
    return !one->patterns[i] && i == found->count;
}

const tv_gguf_pretokenizer *tv_gguf_pretokenizer_of(const cJSON *steps, bool ignore_merges) {
    patterns found = {0};
    collect(steps, &found);
    const tv_gguf_pretokenizer *best = NULL;
    for (size_t i = 0; !found.other && i < TV_COUNT(known); i++)
        if (same(&known[i], &found) && (!best || known[i].ignore_merges == ignore_merges))
            best = &known[i];
    return best;
}

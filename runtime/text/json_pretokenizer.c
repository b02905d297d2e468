/* Reading "pre_tokenizer": see tokenizer_reading.h. */
#include <string.h>

#include "base/bytes.h"
#include "text/tokenizer_reading.h"

typedef struct reading {
    const char *where;
    tv_pretokenizer *pretokenizer;
    bool byte_level, prefix_space;
} reading;

static tv_status unsupported(const reading *r, const char *expected, const char *key, const char *found) {
    return tv_fail(TV_E_DATA, "%s: expected %s as \"%s\", found %.60s, which is not supported", r->where,
                   expected, key, found);
}

static tv_status add_regex(const reading *r, const char *regex, tv_split_behavior behavior, bool invert) {
    return tv_pretokenizer_add_regex(r->pretokenizer, regex, behavior, invert, r->where);
}

static tv_status read_behavior(const reading *r, const cJSON *item, tv_split_behavior *behavior) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *name;
    TV_RETURN_IF_FAILED(tv_json_string(item, "behavior", r->where, "Isolated", &name));
    for (size_t i = 0; i < TV_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *behavior = (tv_split_behavior)i;
            return TV_OK;
        }
    return unsupported(r, "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous",
                       "pre_tokenizer.behavior", name);
}

static tv_status read_split(const reading *r, const cJSON *item) {
    tv_split_behavior behavior;
    bool invert;
    tv_pattern *pattern;
    TV_RETURN_IF_FAILED(read_behavior(r, item, &behavior));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "invert", r->where, false, &invert));
    TV_RETURN_IF_FAILED(tv_read_pattern(item, r->where, &pattern));
    return tv_pretokenizer_add_split(r->pretokenizer, &pattern, behavior, invert);
}

static tv_status read_byte_level(reading *r, const cJSON *item) {
    bool use_regex, prefix;
    TV_RETURN_IF_FAILED(tv_json_bool(item, "use_regex", r->where, true, &use_regex));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "add_prefix_space", r->where, true, &prefix));
    r->byte_level = true;
    if (prefix) {
        r->prefix_space = true;
        TV_RETURN_IF_FAILED(tv_pretokenizer_add_prefix_space(r->pretokenizer));
    }
    return use_regex ? add_regex(r, TV_GPT2_PATTERN, TV_SPLIT_ISOLATED, false) : TV_OK;
}

/* Files of before 2024 have "add_prefix_space" in the place of the scheme. */
static tv_status read_metaspace(reading *r, const cJSON *item) {
    static const char *const schemes[] = {"never", "first", "always"};
    const char *sign, *scheme;
    bool split, prefix;
    TV_RETURN_IF_FAILED(tv_json_string(item, "replacement", r->where, "\xe2\x96\x81", &sign));
    TV_RETURN_IF_FAILED(tv_json_string(item, "prepend_scheme", r->where, NULL, &scheme));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "add_prefix_space", r->where, true, &prefix));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "split", r->where, true, &split));
    uint32_t used, which = 0;
    (void)tv_utf8_decode((const uint8_t *)sign, strlen(sign), &used);
    if (!sign[0] || used != strlen(sign))
        return unsupported(r, "one character", "pre_tokenizer.replacement", sign);
    if (!scheme || (!prefix && strcmp(scheme, "first") == 0))
        scheme = prefix ? "always" : "never";
    while (which < TV_COUNT(schemes) && strcmp(scheme, schemes[which]) != 0)
        which++;
    if (which == TV_COUNT(schemes))
        return unsupported(r, "always, first or never", "pre_tokenizer.prepend_scheme", scheme);
    if (!prefix && which != TV_PREPEND_NEVER)
        return unsupported(r, "true beside that prepend_scheme", "pre_tokenizer.add_prefix_space", "false");
    r->prefix_space |= which != TV_PREPEND_NEVER;
    TV_RETURN_IF_FAILED(tv_pretokenizer_add_metaspace(r->pretokenizer, sign, (tv_prepend_scheme)which));
    if (!split)
        return TV_OK;
    tv_pattern *pattern;
    TV_RETURN_IF_FAILED(tv_pattern_create_literal(sign, r->where, &pattern));
    return tv_pretokenizer_add_split(r->pretokenizer, &pattern, TV_SPLIT_MERGED_WITH_NEXT, false);
}

static tv_status read_punctuation(const reading *r, const cJSON *item) {
    tv_split_behavior behavior;
    TV_RETURN_IF_FAILED(read_behavior(r, item, &behavior));
    return add_regex(r, "[\\p{P}$+<=>^`|~]", behavior, false);
}

static tv_status read_digits(const reading *r, const cJSON *item) {
    bool individual;
    TV_RETURN_IF_FAILED(tv_json_bool(item, "individual_digits", r->where, false, &individual));
    return add_regex(r, individual ? "\\p{N}" : "\\p{N}+", TV_SPLIT_ISOLATED, false);
}

static tv_status read_step(void *context, const cJSON *item, const char *type) {
    reading *r = context;
    if (r->byte_level)
        return unsupported(r, "ByteLevel as the last of a sequence", "pre_tokenizer", type);
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(r, item);
    if (strcmp(type, "Split") == 0)
        return read_split(r, item);
    if (strcmp(type, "Digits") == 0)
        return read_digits(r, item);
    if (strcmp(type, "Punctuation") == 0)
        return read_punctuation(r, item);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(r, item);
    if (strcmp(type, "Whitespace") == 0)
        return add_regex(r, "\\w+|[^\\w\\s]+", TV_SPLIT_REMOVED, true);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_regex(r, "\\s", TV_SPLIT_REMOVED, false);
    return unsupported(r,
                       "ByteLevel, Split, Digits, Punctuation, Metaspace, Whitespace, WhitespaceSplit or a "
                       "Sequence of these",
                       "pre_tokenizer", type);
}

tv_status tv_read_pretokenizer(const cJSON *item, const char *where, tv_pretokenizer *pretokenizer,
                               bool *byte_level, bool *prefix_space) {
    reading r = {.where = where, .pretokenizer = pretokenizer};
    tv_status status =
        tv_read_steps(&(tv_steps){where, "pre_tokenizer", "pretokenizers", read_step, &r}, item);
    *byte_level = r.byte_level;
    *prefix_space = r.prefix_space;
    return status;
}

/* Reading "normalizer" and patterns: see tokenizer_reading.h. */
#include <string.h>

#include "text/tokenizer_reading.h"

tv_status tv_read_pattern(const cJSON *item, const char *where, tv_pattern **pattern) {
    const char *regex, *literal;
    const cJSON *member = tv_json_get(item, "pattern");
    *pattern = NULL;
    TV_RETURN_IF_FAILED(tv_json_string(member, "Regex", where, NULL, &regex));
    TV_RETURN_IF_FAILED(tv_json_string(member, "String", where, NULL, &literal));
    if (!regex && !literal)
        return tv_fail(TV_E_DATA, "%s: expected {\"Regex\": ...} or {\"String\": ...} as a pattern, found %s",
                       where, tv_json_kind(member));
    return regex ? tv_pattern_create(regex, where, pattern)
                 : tv_pattern_create_literal(literal, where, pattern);
}

static tv_status read_replace(const cJSON *item, const char *where, tv_normalizer *normalizer) {
    const char *content;
    tv_pattern *pattern;
    TV_RETURN_IF_FAILED(tv_json_string(item, "content", where, "", &content));
    TV_RETURN_IF_FAILED(tv_read_pattern(item, where, &pattern));
    return tv_normalizer_add_replace(normalizer, &pattern, content);
}

static tv_status read_strip(const cJSON *item, const char *where, tv_normalizer *normalizer) {
    bool left, right;
    TV_RETURN_IF_FAILED(tv_json_bool(item, "strip_left", where, false, &left));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "strip_right", where, false, &right));
    return tv_normalizer_add_strip(normalizer, left, right);
}

typedef struct reading {
    const char *where;
    tv_normalizer *normalizer;
} reading;

static tv_status read_step(void *context, const cJSON *item, const char *type) {
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *where = ((const reading *)context)->where, *text;
    tv_normalizer *normalizer = ((const reading *)context)->normalizer;
    for (int form = 0; form < 4; form++)
        if (strcmp(type, forms[form]) == 0)
            return tv_normalizer_add_form(normalizer, (tv_normal_form)form);
    if (strcmp(type, "Prepend") == 0) {
        TV_RETURN_IF_FAILED(tv_json_string(item, "prepend", where, "", &text));
        return tv_normalizer_add_prepend(normalizer, text);
    }
    if (strcmp(type, "Replace") == 0)
        return read_replace(item, where, normalizer);
    if (strcmp(type, "Lowercase") == 0)
        return tv_normalizer_add_lowercase(normalizer);
    if (strcmp(type, "Strip") == 0)
        return read_strip(item, where, normalizer);
    return tv_fail(
        TV_E_DATA,
        "%s: expected NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, Strip or a Sequence of these "
        "as \"normalizer\", found %.60s, which is not supported",
        where, type);
}

tv_status tv_read_normalizer(const cJSON *item, const char *where, tv_normalizer *normalizer) {
    reading r = {where, normalizer};
    return tv_read_steps(&(tv_steps){where, "normalizer", "normalizers", read_step, &r}, item);
}

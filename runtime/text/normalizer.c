/* Normalizers in steps: see normalizer.h. */
#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

typedef enum step_kind { FORM, PREPEND, REPLACE, LOWERCASE, STRIP } step_kind;

typedef struct step {
    step_kind kind;
    tv_normal_form form;
    tv_pattern *pattern;
    tv_text content; /* of PREPEND and REPLACE */
    bool left, right;
} step;

struct tv_normalizer {
    step steps[TV_MAX_NORMALIZERS];
    uint32_t step_count;
    tv_text changed[2]; /* steps write into one and read the other */
};

tv_status tv_normalizer_create(tv_normalizer **out) {
    *out = calloc(1, sizeof **out);
    return *out ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a normalizer");
}

void tv_normalizer_destroy(tv_normalizer **normalizer) {
    if (!normalizer || !*normalizer)
        return;
    for (uint32_t i = 0; i < (*normalizer)->step_count; i++) {
        tv_pattern_destroy(&(*normalizer)->steps[i].pattern);
        tv_text_free(&(*normalizer)->steps[i].content);
    }
    tv_text_free(&(*normalizer)->changed[0]);
    tv_text_free(&(*normalizer)->changed[1]);
    free(*normalizer);
    *normalizer = NULL;
}

static tv_status add_step(tv_normalizer *normalizer, step_kind kind, step **added) {
    if (normalizer->step_count == TV_MAX_NORMALIZERS)
        return tv_fail(TV_E_DATA, "expected at most %d normalizers, found more", TV_MAX_NORMALIZERS);
    *added = &normalizer->steps[normalizer->step_count++];
    **added = (step){.kind = kind};
    return TV_OK;
}

tv_status tv_normalizer_add_form(tv_normalizer *normalizer, tv_normal_form form) {
    step *added;
    TV_RETURN_IF_FAILED(add_step(normalizer, FORM, &added));
    added->form = form;
    return TV_OK;
}

tv_status tv_normalizer_add_prepend(tv_normalizer *normalizer, const char *text) {
    step *added;
    TV_RETURN_IF_FAILED(add_step(normalizer, PREPEND, &added));
    return tv_text_append(&added->content, text, strlen(text));
}

tv_status tv_normalizer_add_replace(tv_normalizer *normalizer, tv_pattern **pattern, const char *content) {
    step *added;
    tv_status status = add_step(normalizer, REPLACE, &added);
    if (status != TV_OK) {
        tv_pattern_destroy(pattern);
        return status;
    }
    added->pattern = *pattern;
    *pattern = NULL;
    return tv_text_append(&added->content, content, strlen(content));
}

tv_status tv_normalizer_add_lowercase(tv_normalizer *normalizer) {
    step *added;
    return add_step(normalizer, LOWERCASE, &added);
}

tv_status tv_normalizer_add_strip(tv_normalizer *normalizer, bool left, bool right) {
    step *added;
    TV_RETURN_IF_FAILED(add_step(normalizer, STRIP, &added));
    added->left = left;
    added->right = right;
    return TV_OK;
}

bool tv_normalizer_is_identity(const tv_normalizer *normalizer) {
    return normalizer->step_count == 0;
}

static tv_status replace_valid(const step *s, const uint8_t *text, uint64_t length, tv_text *out) {
    tv_pattern_walk walk = {0};
    uint64_t done = 0;
    for (;;) {
        bool found;
        TV_RETURN_IF_FAILED(tv_pattern_next(s->pattern, text, length, &walk, &found));
        if (!found || walk.start < done)
            break;
        TV_RETURN_IF_FAILED(tv_text_append(out, text + done, walk.start - done));
        TV_RETURN_IF_FAILED(tv_text_append(out, s->content.data, s->content.size));
        done = walk.end;
    }
    return tv_text_append(out, text + done, length - done);
}

static tv_status lower_valid(const uint8_t *text, uint64_t length, tv_text *out) {
    for (uint64_t at = 0; at < length;) {
        uint8_t utf8[4];
        uint32_t used, c = tv_utf8_decode(text + at, length - at, &used);
        TV_RETURN_IF_FAILED(tv_text_append(out, utf8, tv_utf8_encode(tv_utf8_lower(c), utf8)));
        if (c == 0x130) /* the only letter whose small one is two characters: i and a dot above */
            TV_RETURN_IF_FAILED(tv_text_append(out, "\xcc\x87", 2));
        at += used;
    }
    return TV_OK;
}

/* A step that works on UTF-8, over the stretches that are. */
static tv_status over_valid(const step *s, const uint8_t *text, uint64_t length, tv_text *out) {
    while (length > 0) {
        uint64_t run = tv_utf8_valid_run(text, length);
        if (run > 0)
            TV_RETURN_IF_FAILED(s->kind == REPLACE ? replace_valid(s, text, run, out)
                                                   : lower_valid(text, run, out));
        if (run < length)
            TV_RETURN_IF_FAILED(tv_text_append(out, text + run, 1));
        run += run < length;
        text += run;
        length -= run;
    }
    return TV_OK;
}

tv_status tv_normalizer_run(tv_normalizer *normalizer, const uint8_t *text, uint64_t length,
                            const uint8_t **out, uint64_t *out_length) {
    for (uint32_t i = 0; i < normalizer->step_count && length > 0; i++) {
        const step *s = &normalizer->steps[i];
        tv_text *changed = &normalizer->changed[i % 2];
        changed->size = 0;
        switch (s->kind) {
        case FORM:
            TV_RETURN_IF_FAILED(tv_utf8_normalize(text, length, s->form, changed));
            break;
        case PREPEND:
            TV_RETURN_IF_FAILED(tv_text_append(changed, s->content.data, s->content.size));
            TV_RETURN_IF_FAILED(tv_text_append(changed, text, length));
            break;
        case REPLACE:
        case LOWERCASE:
            TV_RETURN_IF_FAILED(over_valid(s, text, length, changed));
            break;
        case STRIP: {
            uint64_t begin = s->left ? tv_utf8_space_after(text, 0, length) : 0;
            uint64_t end = s->right ? tv_utf8_space_before(text, begin, length) : length;
            TV_RETURN_IF_FAILED(tv_text_append(changed, text + begin, end - begin));
            break;
        }
        }
        text = changed->data;
        length = changed->size;
    }
    *out = text;
    *out_length = length;
    return TV_OK;
}

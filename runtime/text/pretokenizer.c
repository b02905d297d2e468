/* Pre-tokenization in steps: see pretokenizer.h. */
#include "text/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/buffers.h"
#include "text/utf8.h"

enum { MAX_STEPS = 16 };

typedef enum step_kind { SPLIT, PREFIX_SPACE, METASPACE } step_kind;

typedef struct split_step {
    step_kind kind;
    tv_pattern *pattern; /* of a split */
    tv_split_behavior behavior;
    bool invert;
    uint8_t sign[4]; /* of Metaspace */
    uint32_t sign_length;
    tv_prepend_scheme scheme;
    tv_text changed; /* scratch of the steps that change their piece */
} split_step;

struct tv_pretokenizer {
    split_step steps[MAX_STEPS];
    uint32_t step_count;
};

tv_status tv_pretokenizer_create(tv_pretokenizer **out) {
    *out = calloc(1, sizeof **out);
    return *out ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a pre-tokenizer");
}

void tv_pretokenizer_destroy(tv_pretokenizer **pretokenizer) {
    if (!pretokenizer || !*pretokenizer)
        return;
    for (uint32_t i = 0; i < (*pretokenizer)->step_count; i++) {
        tv_pattern_destroy(&(*pretokenizer)->steps[i].pattern);
        tv_text_free(&(*pretokenizer)->steps[i].changed);
    }
    free(*pretokenizer);
    *pretokenizer = NULL;
}

static tv_status add_step(tv_pretokenizer *pretokenizer, step_kind kind, split_step **step) {
    if (pretokenizer->step_count == MAX_STEPS)
        return tv_fail(TV_E_DATA, "expected at most %d pre-tokenizers in a sequence, found more", MAX_STEPS);
    *step = &pretokenizer->steps[pretokenizer->step_count++];
    **step = (split_step){.kind = kind};
    return TV_OK;
}

tv_status tv_pretokenizer_add_split(tv_pretokenizer *pretokenizer, tv_pattern **pattern,
                                    tv_split_behavior behavior, bool invert) {
    split_step *step;
    tv_status status = add_step(pretokenizer, SPLIT, &step);
    if (status != TV_OK) {
        tv_pattern_destroy(pattern);
        return status;
    }
    step->pattern = *pattern;
    step->behavior = behavior;
    step->invert = invert;
    *pattern = NULL;
    return TV_OK;
}

tv_status tv_pretokenizer_add_regex(tv_pretokenizer *pretokenizer, const char *regex,
                                    tv_split_behavior behavior, bool invert, const char *where) {
    tv_pattern *pattern;
    TV_RETURN_IF_FAILED(tv_pattern_create(regex, where, &pattern));
    return tv_pretokenizer_add_split(pretokenizer, &pattern, behavior, invert);
}

tv_status tv_pretokenizer_add_prefix_space(tv_pretokenizer *pretokenizer) {
    split_step *step;
    return add_step(pretokenizer, PREFIX_SPACE, &step);
}

tv_status tv_pretokenizer_add_metaspace(tv_pretokenizer *pretokenizer, const char *sign,
                                        tv_prepend_scheme scheme) {
    split_step *step;
    TV_RETURN_IF_FAILED(add_step(pretokenizer, METASPACE, &step));
    step->sign_length = (uint32_t)tv_min_u64(strlen(sign), sizeof step->sign);
    memcpy(step->sign, sign, step->sign_length);
    step->scheme = scheme;
    return TV_OK;
}

typedef struct split_run {
    tv_pretokenizer *pretokenizer;
    tv_piece_sink sink;
    void *context;
    const uint8_t *begin; /* the text's first byte where it begins what is encoded, else NULL */
} split_run;

static tv_status run_step(split_run *run, uint32_t number, const uint8_t *text, uint64_t length);

/* ---- splits ---- */

/* Matches and what lies between them come in order; a piece waits until it is known where it ends. */
typedef struct joining {
    split_run *run;
    const split_step *step;
    uint32_t number;
    const uint8_t *text;
    uint64_t start, end; /* of the piece that waits */
    bool waits, before;  /* before: the last segment was a match */
} joining;

static tv_status let_go(joining *j) {
    if (!j->waits)
        return TV_OK;
    j->waits = false;
    return run_step(j->run, j->number + 1, j->text + j->start, j->end - j->start);
}

static tv_status take_segment(joining *j, uint64_t start, uint64_t end, bool match) {
    match ^= j->step->invert;
    bool joins = false, before = j->before;
    j->before = match;
    switch (j->step->behavior) {
    case TV_SPLIT_ISOLATED:
        break;
    case TV_SPLIT_REMOVED:
        if (match)
            return let_go(j);
        break;
    case TV_SPLIT_MERGED_WITH_PREVIOUS:
        joins = match && !before;
        break;
    case TV_SPLIT_MERGED_WITH_NEXT:
        joins = !match && before;
        break;
    case TV_SPLIT_CONTIGUOUS:
        joins = match == before;
        break;
    }
    if (joins && j->waits) {
        j->end = end;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(let_go(j));
    j->start = start;
    j->end = end;
    j->waits = true;
    return TV_OK;
}

/* `text` is valid UTF-8. */
static tv_status split_valid(split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    const split_step *step = &run->pretokenizer->steps[number];
    joining j = {.run = run, .step = step, .number = number, .text = text};
    tv_pattern_walk walk = {0};
    uint64_t done = 0;
    for (;;) {
        bool found;
        TV_RETURN_IF_FAILED(tv_pattern_next(step->pattern, text, length, &walk, &found));
        if (!found)
            break;
        uint64_t start = tv_max_u64(walk.start, done), end = tv_max_u64(walk.end, start);
        if (start > done)
            TV_RETURN_IF_FAILED(take_segment(&j, done, start, false));
        TV_RETURN_IF_FAILED(take_segment(&j, start, end, true));
        done = end;
    }
    if (done < length)
        TV_RETURN_IF_FAILED(take_segment(&j, done, length, false));
    return let_go(&j);
}

static tv_status split_any(split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    while (length > 0) {
        uint64_t valid = tv_utf8_valid_run(text, length);
        if (valid > 0)
            TV_RETURN_IF_FAILED(split_valid(run, number, text, valid));
        if (valid < length)
            TV_RETURN_IF_FAILED(run_step(run, number + 1, text + valid, 1));
        valid += valid < length;
        text += valid;
        length -= valid;
    }
    return TV_OK;
}

/* ---- steps that change their piece ---- */

static tv_status go_on_changed(split_run *run, uint32_t number, const uint8_t *text) {
    const tv_text *changed = &run->pretokenizer->steps[number].changed;
    if (text == run->begin)
        run->begin = changed->data;
    return run_step(run, number + 1, changed->data, changed->size);
}

static tv_status add_space(split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    if (text[0] == ' ')
        return run_step(run, number + 1, text, length);
    tv_text *changed = &run->pretokenizer->steps[number].changed;
    changed->size = 0;
    TV_RETURN_IF_FAILED(tv_text_append(changed, " ", 1));
    TV_RETURN_IF_FAILED(tv_text_append(changed, text, length));
    return go_on_changed(run, number, text);
}

static tv_status write_spaces(split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    split_step *step = &run->pretokenizer->steps[number];
    tv_text *changed = &step->changed;
    bool begins =
        text[0] == ' ' || (length >= step->sign_length && memcmp(text, step->sign, step->sign_length) == 0);
    bool asked =
        step->scheme == TV_PREPEND_ALWAYS || (step->scheme == TV_PREPEND_FIRST && text == run->begin);
    changed->size = 0;
    if (asked && !begins)
        TV_RETURN_IF_FAILED(tv_text_append(changed, step->sign, step->sign_length));
    for (uint64_t at = 0; at < length;) {
        const uint8_t *space = memchr(text + at, ' ', length - at);
        uint64_t part = space ? (uint64_t)(space - text) - at : length - at;
        TV_RETURN_IF_FAILED(tv_text_append(changed, text + at, part));
        if (space)
            TV_RETURN_IF_FAILED(tv_text_append(changed, step->sign, step->sign_length));
        at += part + (space != NULL);
    }
    return go_on_changed(run, number, text);
}

static tv_status run_step(split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    if (length == 0)
        return TV_OK;
    if (number == run->pretokenizer->step_count)
        return run->sink(run->context, text, length);
    switch (run->pretokenizer->steps[number].kind) {
    case SPLIT:
        return split_any(run, number, text, length);
    case PREFIX_SPACE:
        return add_space(run, number, text, length);
    case METASPACE:
        return write_spaces(run, number, text, length);
    }
    return TV_OK;
}

tv_status tv_pretokenizer_split(tv_pretokenizer *pretokenizer, const uint8_t *text, uint64_t length,
                                bool first, tv_piece_sink sink, void *context) {
    split_run run = {pretokenizer, sink, context, first ? text : NULL};
    return run_step(&run, 0, text, length);
}

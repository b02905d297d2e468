/* Pre-tokenization through PCRE2: see pretokenizer.h. */
#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/buffers.h"
#include "text/utf8.h"

enum { MAX_STEPS = 16, JIT_STACK_START = 32 * 1024, JIT_STACK_LIMIT = 4 * 1024 * 1024 };

typedef struct split_step {
    pcre2_code *code; /* NULL: the prefix-space step */
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    bool jit;
    tv_text prefixed; /* scratch of the prefix-space step */
} split_step;

struct tv_pretokenizer {
    split_step steps[MAX_STEPS];
    uint32_t step_count;
};

tv_status tv_pretokenizer_create(tv_pretokenizer **out) {
    *out = calloc(1, sizeof **out);
    return *out ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a pre-tokenizer");
}

static void free_step(split_step *step) {
    pcre2_jit_stack_free(step->stack);
    pcre2_match_context_free(step->limits);
    pcre2_match_data_free(step->match);
    pcre2_code_free(step->code);
    tv_text_free(&step->prefixed);
}

void tv_pretokenizer_destroy(tv_pretokenizer **pretokenizer) {
    if (!pretokenizer || !*pretokenizer)
        return;
    for (uint32_t i = 0; i < (*pretokenizer)->step_count; i++)
        free_step(&(*pretokenizer)->steps[i]);
    free(*pretokenizer);
    *pretokenizer = NULL;
}

static tv_status check_room(const tv_pretokenizer *pretokenizer) {
    if (pretokenizer->step_count == MAX_STEPS)
        return tv_fail(TV_E_DATA, "expected at most %d pre-tokenizers in a sequence, found more", MAX_STEPS);
    return TV_OK;
}

/* PCRE2 counts U+180E to \s, Unicode (since 6.3) and the tokenizers' own engine do not. */
static tv_status use_unicode_spaces(const char *pattern, tv_text *out) {
    for (const char *c = pattern; *c; c++) {
        if (c[0] != '\\' || c[1] == '\0') {
            TV_RETURN_IF_FAILED(tv_text_append(out, c, 1));
            continue;
        }
        const char *replaced = c[1] == 's' ? "\\p{White_Space}" : c[1] == 'S' ? "\\P{White_Space}" : NULL;
        TV_RETURN_IF_FAILED(
            tv_text_append(out, replaced ? replaced : c, replaced ? strlen(replaced) : (uint64_t)2));
        c++;
    }
    return TV_OK;
}

static pcre2_code *compile(const void *pattern, uint64_t length, int *error, PCRE2_SIZE *offset) {
    return pcre2_compile(pattern, length, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, error, offset,
                         NULL);
}

tv_status tv_pretokenizer_add_split(tv_pretokenizer *pretokenizer, const char *pattern, const char *where) {
    TV_RETURN_IF_FAILED(check_room(pretokenizer));
    tv_status status;
    tv_text translated = {0};
    split_step *step = &pretokenizer->steps[pretokenizer->step_count];
    *step = (split_step){0};
    TV_TRY_OR_FAIL(use_unicode_spaces(pattern, &translated));
    int error = 0;
    PCRE2_SIZE offset = 0;
    step->code = compile(translated.data, translated.size, &error, &offset);
    /* PCRE2 before 10.40 does not know White_Space. */
    if (!step->code)
        step->code = compile(pattern, strlen(pattern), &error, &offset);
    if (!step->code) {
        PCRE2_UCHAR message[128];
        if (pcre2_get_error_message(error, message, sizeof message) < 0)
            message[0] = '\0';
        status =
            tv_fail(TV_E_DATA, "%s: expected a regular expression, found \"%.100s\": %s at character %llu",
                    where, pattern, (const char *)message, (unsigned long long)offset);
        goto fail;
    }
    step->jit = pcre2_jit_compile(step->code, PCRE2_JIT_COMPLETE) == 0;
    step->match = pcre2_match_data_create(1, NULL);
    step->limits = pcre2_match_context_create(NULL);
    step->stack = step->jit ? pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_LIMIT, NULL) : NULL;
    if (!step->match || !step->limits || (step->jit && !step->stack)) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a pre-tokenizer");
        goto fail;
    }
    if (step->jit)
        pcre2_jit_stack_assign(step->limits, NULL, step->stack);
    tv_text_free(&translated);
    pretokenizer->step_count++;
    return TV_OK;
fail:
    tv_text_free(&translated);
    free_step(step);
    return status;
}

tv_status tv_pretokenizer_add_prefix_space(tv_pretokenizer *pretokenizer) {
    TV_RETURN_IF_FAILED(check_room(pretokenizer));
    pretokenizer->steps[pretokenizer->step_count++] = (split_step){0};
    return TV_OK;
}

typedef struct split_run {
    tv_pretokenizer *pretokenizer;
    tv_piece_sink sink;
    void *context;
} split_run;

static tv_status run_step(const split_run *run, uint32_t number, const uint8_t *text, uint64_t length);

static tv_status match_once(const split_step *step, const uint8_t *text, uint64_t length, uint64_t from,
                            bool *found) {
    int result = step->jit ? pcre2_jit_match(step->code, text, length, from, 0, step->match, step->limits)
                           : pcre2_match(step->code, text, length, from, PCRE2_NO_UTF_CHECK, step->match,
                                         step->limits);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(step->code, text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, step->match,
                             step->limits);
    *found = result >= 0;
    if (result >= 0 || result == PCRE2_ERROR_NOMATCH)
        return TV_OK;
    PCRE2_UCHAR message[128];
    if (pcre2_get_error_message(result, message, sizeof message) < 0)
        message[0] = '\0';
    return tv_fail(TV_E_DATA,
                   "the pre-tokenizer's pattern fails on a text of %llu bytes: %s; simplify the pattern in "
                   "tokenizer.json",
                   (unsigned long long)length, (const char *)message);
}

/* `text` is valid UTF-8. */
static tv_status split_valid(const split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    const split_step *step = &run->pretokenizer->steps[number];
    uint64_t done = 0, from = 0;
    while (from < length) {
        bool found;
        TV_RETURN_IF_FAILED(match_once(step, text, length, from, &found));
        if (!found)
            break;
        const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(step->match);
        uint64_t start = offsets[0], end = offsets[1];
        if (start < done || end <= start) {
            /* An empty match, or one that \K moved: go on one character further. */
            uint32_t character;
            from = tv_max_u64(from, start);
            if (from >= length)
                break;
            (void)tv_utf8_decode(text + from, length - from, &character);
            from += character;
            continue;
        }
        if (start > done)
            TV_RETURN_IF_FAILED(run_step(run, number + 1, text + done, start - done));
        TV_RETURN_IF_FAILED(run_step(run, number + 1, text + start, end - start));
        done = from = end;
    }
    return done < length ? run_step(run, number + 1, text + done, length - done) : TV_OK;
}

static tv_status add_space(const split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    if (text[0] == ' ')
        return run_step(run, number + 1, text, length);
    tv_text *prefixed = &run->pretokenizer->steps[number].prefixed;
    prefixed->size = 0;
    TV_RETURN_IF_FAILED(tv_text_append(prefixed, " ", 1));
    TV_RETURN_IF_FAILED(tv_text_append(prefixed, text, length));
    return run_step(run, number + 1, prefixed->data, prefixed->size);
}

static tv_status run_step(const split_run *run, uint32_t number, const uint8_t *text, uint64_t length) {
    if (number == run->pretokenizer->step_count)
        return run->sink(run->context, text, length);
    if (!run->pretokenizer->steps[number].code)
        return add_space(run, number, text, length);
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

tv_status tv_pretokenizer_split(tv_pretokenizer *pretokenizer, const uint8_t *text, uint64_t length,
                                tv_piece_sink sink, void *context) {
    const split_run run = {pretokenizer, sink, context};
    return length ? run_step(&run, 0, text, length) : TV_OK;
}

/* A rollout in a checkpoint: see rollout_file.h. */
#include "stages/policy/rollout_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/safetensors.h"
#include "stages/policy/health.h"

/* Beside the moments, where loaders of models do not look. */
static const char folder[] = "training_state", file_name[] = "rollout.safetensors";

enum {
    PROMPTS,
    NUMBERS,
    LENGTHS,
    PROMPT_LENGTHS,
    ENDED,
    SCORES,
    IDS,
    OLD,
    ENTROPIES,
    REFERENCE,
    VALUES,
    PARTS
};

/* One part of the file: (S) or (S, columns) elements. */
typedef struct part {
    tv_safetensor tensor;
    void *data;
} part;

/* The items' fields stand in arrays of their own while they are written or read. */
typedef struct arrays {
    uint64_t *numbers; /* (4, S): prompt, number, length, prompt_length */
    uint8_t *ended;
    double *scores;
    part parts[PARTS];
} arrays;

static void release(arrays *a) {
    free(a->numbers);
    free(a->ended);
    free(a->scores);
}

static part part_of(const char *name, const char *dtype, uint64_t rows, uint64_t columns, void *data) {
    return (part){{.name = name, .dtype = dtype, .rank = columns ? 2 : 1, .shape = {rows, columns}}, data};
}

static uint64_t elements_of(const part *p) {
    return p->tensor.shape[0] * (p->tensor.rank == 2 ? p->tensor.shape[1] : 1);
}

static uint64_t bytes_of(const part *p) {
    uint64_t each = p->tensor.dtype[0] == 'U' && p->tensor.dtype[1] == '8' ? 1
                    : strcmp(p->tensor.dtype + 1, "64") == 0               ? 8
                                                                           : 4;
    return each * elements_of(p);
}

static tv_status describe(const tv_policy_rollout *r, arrays *a) {
    uint64_t S = r->sequences, T = r->tokens;
    a->numbers = calloc(4 * S, sizeof *a->numbers);
    a->ended = calloc(S, 1);
    a->scores = calloc(S, sizeof *a->scores);
    if (!a->numbers || !a->ended || !a->scores)
        return tv_fail(TV_E_MEMORY, "out of host memory for the file of a rollout");
    const part parts[PARTS] = {
        [PROMPTS] = part_of("prompt", "U64", S, 0, a->numbers),
        [NUMBERS] = part_of("number", "U64", S, 0, a->numbers + S),
        [LENGTHS] = part_of("length", "U64", S, 0, a->numbers + 2 * S),
        [PROMPT_LENGTHS] = part_of("prompt_length", "U64", S, 0, a->numbers + 3 * S),
        [ENDED] = part_of("ended", "U8", S, 0, a->ended),
        [SCORES] = part_of("score", "F64", S, 0, a->scores),
        [IDS] = part_of("ids", "U32", S, T + 1, r->ids),
        [OLD] = part_of("old_logprobs", "F32", S, T, r->old_logprobs),
        [ENTROPIES] = part_of("entropies", "F32", S, T, r->entropies),
        [REFERENCE] = part_of("ref_logprobs", "F32", S, T, r->ref_logprobs),
        [VALUES] = part_of("values", "F32", S, T, r->values),
    };
    memcpy(a->parts, parts, sizeof parts);
    return TV_OK;
}

tv_status tv_policy_rollout_write(const char *directory, const tv_policy_rollout *r) {
    tv_status status;
    arrays a = {0};
    tv_safetensor tensors[PARTS];
    tv_safetensors_writer *writer = NULL;
    uint64_t S = r->sequences;
    char *path = tv_format("%s/%s/%s", directory, folder, file_name);
    if (!path) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    TV_TRY(describe(r, &a));
    for (uint64_t s = 0; s < S; s++) {
        const tv_policy_sequence *item = &r->items[s];
        a.numbers[s] = item->prompt;
        a.numbers[S + s] = item->number;
        a.numbers[2 * S + s] = item->length;
        a.numbers[3 * S + s] = item->prompt_length;
        a.ended[s] = item->ended;
        a.scores[s] = item->score;
    }
    for (int i = 0; i < PARTS; i++)
        tensors[i] = a.parts[i].tensor;
    TV_TRY(tv_safetensors_writer_open(path, tensors, PARTS, &writer));
    for (int i = 0; i < PARTS; i++)
        TV_TRY(tv_safetensors_write(writer, a.parts[i].data, bytes_of(&a.parts[i])));
    TV_TRY(tv_safetensors_writer_commit(&writer));
done:
    tv_safetensors_writer_abort(&writer);
    release(&a);
    free(path);
    return status;
}

static tv_status read_part(const tv_safetensors *file, const char *path, const part *p) {
    const tv_safetensor *found = tv_safetensors_find(file, p->tensor.name);
    if (!found || strcmp(found->dtype, p->tensor.dtype) != 0 || found->rank != p->tensor.rank ||
        memcmp(found->shape, p->tensor.shape, found->rank * sizeof found->shape[0]) != 0)
        return tv_fail(TV_E_DATA,
                       "%s: expected \"%s\" of type %s for %" PRIu64 " answers, %" PRIu64
                       " elements, found %s; the rollout is of another run, or of other settings",
                       path, p->tensor.name, p->tensor.dtype, p->tensor.shape[0], elements_of(p),
                       found ? "another" : "none");
    return tv_safetensors_copy(file, found, 0, bytes_of(p), p->data);
}

/* Row `s`: what the items' arrays and the tokens say of it is possible. */
static tv_status take_row(const arrays *a, const char *path, const tv_prompts *prompts, uint64_t vocab,
                          uint64_t s, uint32_t *own, tv_policy_rollout *r) {
    uint64_t S = r->sequences, T = r->tokens, prompt = a->numbers[s], length = a->numbers[2 * S + s],
             prompt_length = a->numbers[3 * S + s];
    bool fits = prompt < prompts->count && length <= T + 1 && prompt_length <= length &&
                prompt_length == prompts->items[prompt].length && !isinf(a->scores[s]) && a->ended[s] <= 1;
    memcpy(own, r->ids + s * (T + 1), (T + 1) * sizeof *own);
    for (uint64_t i = 0; fits && i < length; i++)
        fits = own[i] < vocab && (i >= prompt_length || own[i] == prompts->items[prompt].ids[i]);
    if (!fits)
        return tv_fail(TV_E_DATA,
                       "%s: answer %" PRIu64
                       " is none to a prompt of this run (its prompt, lengths, tokens or score do not fit)",
                       path, s);
    r->items[s] = (tv_policy_sequence){.prompt = prompt, .number = a->numbers[S + s], .score = a->scores[s]};
    tv_policy_rollout_set(r, s, own, length, prompt_length, a->ended[s] != 0);
    return TV_OK;
}

/* As they were before they were written: an update or a line would carry what is not. */
static tv_status expect_finite(const tv_policy_rollout *r) {
    const struct {
        const float *numbers;
        const char *what;
    } parts[] = {{r->old_logprobs, "the old log-probabilities of the checkpoint"},
                 {r->entropies, "the entropies of the checkpoint"},
                 {r->ref_logprobs, "the reference's log-probabilities of the checkpoint"},
                 {r->values, "the old values of the checkpoint"}};
    for (size_t i = 0; i < TV_COUNT(parts); i++)
        TV_RETURN_IF_FAILED(tv_policy_expect_finite(r, parts[i].numbers, parts[i].what, TV_E_DATA));
    return TV_OK;
}

tv_status tv_policy_rollout_read(const char *directory, const tv_prompts *prompts, uint64_t vocab,
                                 tv_policy_rollout *r) {
    tv_status status;
    arrays a = {0};
    tv_safetensors *file = NULL;
    char *path = tv_format("%s/%s/%s", directory, folder, file_name);
    uint32_t *own = calloc(r->tokens + 1, sizeof *own);
    if (!path || !own) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the file of a rollout");
        goto done;
    }
    TV_TRY(describe(r, &a));
    TV_TRY(tv_safetensors_open(path, &file));
    for (int i = 0; i < PARTS; i++)
        TV_TRY(read_part(file, path, &a.parts[i]));
    for (uint64_t s = 0; s < r->sequences; s++)
        TV_TRY(take_row(&a, path, prompts, vocab, s, own, r));
    TV_TRY(expect_finite(r));
done:
    tv_safetensors_close(&file);
    release(&a);
    free(own);
    free(path);
    return status;
}

/* Smaller steps: see memory_advice.h. */
#include "run/memory_advice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "formats/peft.h"

enum { ADAPTER_RANK = 16, LEAST_TOKENS = 64 };

/* What becomes of the model: as it is, with moments of 8 bits, or an adapter over frozen weights of a type.
 * From what changes least to what changes most. */
typedef struct form {
    bool adapter;
    bool narrower;
    tv_dtype weights;
} form;

enum { AS_IT_IS, MOMENTS_OF_8_BITS, ADAPTER, ADAPTER_BF16, ADAPTER_Q8_0, ADAPTER_Q4_0 };
static const form forms[] = {
    [AS_IT_IS] = {false, false, TV_F32},    [MOMENTS_OF_8_BITS] = {false, false, TV_F32},
    [ADAPTER] = {true, false, TV_F32},      [ADAPTER_BF16] = {true, true, TV_BF16},
    [ADAPTER_Q8_0] = {true, true, TV_Q8_0}, [ADAPTER_Q4_0] = {true, true, TV_Q4_0}};

typedef struct advising {
    const tv_parameter_list *list;
    const tv_caps *caps;
    const tv_trainer_options *options;
    const tv_memory_roles *roles;
    uint64_t more, available;
    tv_parameter_list *formed[TV_COUNT(forms)]; /* NULL: no smaller than another, or not for this stage */
} advising;

/* ---- lists ---- */

static uint64_t widest_storage(const tv_parameter_list *list) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].rank == 2 && list->items[i].role != TV_PARAMETER_ADAPTER_A &&
            list->items[i].role != TV_PARAMETER_ADAPTER_B)
            most = tv_max_u64(most, tv_dtype_row_bytes(list->items[i].storage, TV_DTYPE_BLOCK));
    return most;
}

tv_status tv_memory_adapted(const tv_parameter_list *list, bool narrower, tv_dtype weights,
                            tv_parameter_list **made) {
    static const char *const every[] = {"all-linear"};
    tv_adapter adapter = list->adapter;
    tv_parameter_list *plain = NULL;
    tv_dtype *storage = NULL;
    tv_status status;
    *made = NULL;
    if (adapter.rank == 0) {
        adapter = (tv_adapter){.rank = ADAPTER_RANK, .alpha = ADAPTER_RANK};
        TV_TRY(tv_peft_targets(&list->config, "the targets", every, 1, &adapter));
    }
    TV_TRY(tv_parameter_list_create(&list->config, &plain));
    if (!(storage = calloc(plain->count, sizeof *storage))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
        goto done;
    }
    for (uint32_t i = 0; i < plain->count; i++) {
        const tv_parameter *p = &plain->items[i];
        uint32_t here = tv_parameter_index(list, p->role, p->layer);
        storage[i] = narrower ? weights : here == TV_NO_PARAMETER ? TV_F32 : list->items[here].storage;
    }
    status = tv_parameter_list_create_chosen(
        &list->config,
        &(tv_parameter_choice){
            .adapter = &adapter, .score = true, .storage = storage, .optimizer = list->optimizer},
        made);
done:
    free(storage);
    tv_parameter_list_destroy(&plain);
    return status;
}

static tv_status make_forms(advising *a) {
    const uint64_t widest = widest_storage(a->list);
    /* Adapters are AdamW's, and a run that is Muon's refuses to be left without a matrix. */
    bool adaptable = strcmp(a->options->stage, "pretrain") != 0 && a->list->optimizer != TV_OPTIMIZER_MUON;
    if (a->list->optimizer == TV_OPTIMIZER_ADAMW && a->list->adapter.rank == 0)
        TV_RETURN_IF_FAILED(
            tv_parameter_list_create_optimized(a->list, TV_OPTIMIZER_ADAMW8, &a->formed[MOMENTS_OF_8_BITS]));
    for (size_t i = ADAPTER; i < TV_COUNT(forms) && adaptable; i++) {
        bool smaller = forms[i].narrower ? tv_dtype_row_bytes(forms[i].weights, TV_DTYPE_BLOCK) < widest
                                         : a->list->adapter.rank == 0;
        if (smaller)
            TV_RETURN_IF_FAILED(
                tv_memory_adapted(a->list, forms[i].narrower, forms[i].weights, &a->formed[i]));
    }
    return TV_OK;
}

/* ---- changes ---- */

typedef struct step {
    size_t form;
    uint64_t batch, tokens;
    bool recompute;
    uint32_t own; /* of the stage's changes */
} step;

static void append(char *text, size_t size, const char *key) {
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? " " : "", key);
}

/* False where it cannot be measured: a tensor is over every buffer. */
static bool measure(const advising *a, const step *s, tv_memory_change *change) {
    char key[64];
    tv_trainer_bytes bytes;
    tv_trainer_options options = *a->options;
    const tv_parameter_list *list = s->form ? a->formed[s->form] : a->list;
    *change = (tv_memory_change){.smaller_batch = s->batch < options.batch};
    if (s->form == MOMENTS_OF_8_BITS)
        append(change->keys, sizeof change->keys, "train.optimizer=adamw8");
    if (forms[s->form].adapter && a->list->adapter.rank == 0) {
        snprintf(key, sizeof key, "lora.rank=%d", ADAPTER_RANK);
        append(change->keys, sizeof change->keys, key);
    }
    if (forms[s->form].narrower) {
        snprintf(key, sizeof key, "model.weights=%s", tv_dtype_name(forms[s->form].weights));
        append(change->keys, sizeof change->keys, key);
    }
    if (s->batch != options.batch) {
        snprintf(key, sizeof key, "train.batch_size=%" PRIu64, s->batch);
        append(change->keys, sizeof change->keys, key);
    }
    if (s->recompute != options.recompute)
        append(change->keys, sizeof change->keys, "train.recompute=block");
    if (s->tokens != options.tokens) {
        /* The other stages take their length from the data. */
        bool set = strcmp(options.stage, "pretrain") == 0 || strcmp(options.stage, "sft") == 0;
        snprintf(key, sizeof key, set ? "data.seq_len=%" PRIu64 : "texts of %" PRIu64 " tokens", s->tokens);
        append(change->keys, sizeof change->keys, key);
    }
    if (s->own)
        append(change->keys, sizeof change->keys, a->roles->keys[s->own]);
    options.batch = s->batch;
    options.tokens = s->tokens;
    options.recompute = s->recompute;
    if (list && a->roles)
        return a->roles->measure(a->roles->context,
                                 &(tv_memory_step){list, options, forms[s->form].adapter,
                                                   forms[s->form].narrower, forms[s->form].weights, s->own},
                                 &change->bytes);
    if (!list || tv_trainer_measure(list, a->caps, &options, &bytes) != TV_OK)
        return false;
    change->bytes = bytes.total + a->more;
    return true;
}

/* With none. */
static uint32_t own_changes(const advising *a) {
    return a->roles ? a->roles->count : 1;
}

/* Alone, and what people put together. */
static void list_changes(const advising *a, uint64_t now, tv_memory_advice *advice) {
    const tv_trainer_options *o = a->options;
    const uint64_t half = o->tokens / 2 / TV_WIDTH_STEP * TV_WIDTH_STEP;
    step steps[TV_MOST_CHANGES];
    uint32_t count = 0;
    steps[count++] = (step){0, o->batch, o->tokens, true, 0};
    steps[count++] = (step){0, 1, o->tokens, o->recompute, 0};
    for (size_t f = 1; f < TV_COUNT(forms); f++)
        steps[count++] = (step){f, o->batch, o->tokens, o->recompute, 0};
    steps[count++] = (step){ADAPTER_Q8_0, o->batch, o->tokens, true, 0};
    steps[count++] = (step){ADAPTER_Q4_0, 1, o->tokens, true, 0};
    for (uint32_t own = 1; own < own_changes(a); own++) {
        steps[count++] = (step){0, o->batch, o->tokens, o->recompute, own};
        steps[count++] = (step){ADAPTER_Q8_0, o->batch, o->tokens, true, own};
    }
    if (half >= LEAST_TOKENS)
        steps[count++] = (step){0, o->batch, half, o->recompute, 0};
    for (uint32_t i = 0; i < count; i++) {
        tv_memory_change *next = &advice->changes[advice->count];
        bool known = false;
        if (!measure(a, &steps[i], next) || next->bytes >= now)
            continue;
        for (uint32_t k = 0; k < advice->count; k++)
            known = known || strcmp(advice->changes[k].keys, next->keys) == 0;
        advice->count += !known;
    }
}

static void find_first(const advising *a, tv_memory_advice *advice) {
    const tv_trainer_options *o = a->options;
    for (uint64_t tokens = o->tokens; !advice->has_first && tokens >= tv_min_u64(LEAST_TOKENS, o->tokens);
         tokens = tokens / 2 / TV_WIDTH_STEP * TV_WIDTH_STEP)
        for (size_t f = 0; f < TV_COUNT(forms); f++)
            for (uint32_t own = 0; own < own_changes(a); own++)
                for (uint64_t batch = o->batch; batch >= 1; batch /= 2)
                    for (int recompute = o->recompute; recompute < 2; recompute++) {
                        if (advice->has_first || (f && !a->formed[f]))
                            continue;
                        advice->has_first =
                            measure(a, &(step){f, batch, tokens, recompute, own}, &advice->first) &&
                            advice->first.bytes <= a->available;
                    }
}

tv_status tv_memory_advise(const tv_parameter_list *list, const tv_caps *caps,
                           const tv_trainer_options *options, uint64_t more, const tv_memory_roles *roles,
                           uint64_t available, tv_memory_advice *advice) {
    advising a = {
        .list = list, .caps = caps, .options = options, .roles = roles, .more = more, .available = available};
    tv_memory_change now;
    *advice = (tv_memory_advice){0};
    tv_status status = make_forms(&a);
    if (status == TV_OK) {
        bool known = measure(&a, &(step){0, options->batch, options->tokens, options->recompute, 0}, &now);
        list_changes(&a, known ? now.bytes : UINT64_MAX, advice);
        find_first(&a, advice);
    }
    for (size_t i = 0; i < TV_COUNT(forms); i++)
        tv_parameter_list_destroy(&a.formed[i]);
    return status;
}

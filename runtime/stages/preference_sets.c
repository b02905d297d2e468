/* Reading and splitting preferences: see preference_sets.h. */
#include "stages/preference_sets.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/split.h"

typedef struct opening {
    const tv_run_settings *settings;
    tv_tokenizer *tokenizer;
    uint64_t max_tokens;
    tv_preference_filter is_useful;
    const void *context;
    tv_preference_sets *out;
    uint64_t useless;
} opening;

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for preferences");
}

static bool is_kto(const tv_run_settings *settings) {
    return settings->stage == TV_STAGE_DPO && settings->dpo.loss == TV_PREFERENCE_KTO;
}

static tv_status read_set(const opening *o, const tv_data_source *sources, uint64_t count,
                          tv_preferences **set) {
    const char **paths = tv_data_paths(sources, count);
    if (!paths)
        return no_memory();
    tv_status status =
        tv_preferences_read(&(tv_preferences_options){.paths = paths,
                                                      .path_count = count,
                                                      .tokenizer = o->tokenizer,
                                                      .max_tokens = o->max_tokens,
                                                      .verdicts = (tv_verdicts)o->settings->data.annotators,
                                                      .unpaired = is_kto(o->settings)},
                            set);
    tv_free_paths(&paths);
    if (status == TV_E_USAGE && strstr(tv_last_error(), "(KTO)"))
        tv_fail_advice(status, TV_E_USAGE, "`trivium dpo` learns from them with dpo.loss=kto");
    else
        tv_fail_advice(status, TV_E_USAGE,
                       "`trivium prefs --rankings FILE --out prefs.jsonl` makes preferences of rankings");
    return tv_fail_advice(status, TV_E_FIT, "raise data.seq_len");
}

/* Appends the set's groups, those that are held out to `held`. */
static tv_status sort_groups(opening *o, const tv_preferences *set, const uint8_t *held_out,
                             tv_preference_list *kept, tv_preference_list *held) {
    for (uint64_t i = 0; i < set->count; i++) {
        const tv_preference_group *group = &set->groups[i];
        tv_preference_list *list = held_out && held_out[i] ? held : kept;
        if (!o->is_useful(o->context, group)) {
            o->useless++;
            continue;
        }
        if (!list->items && !(list->items = calloc(set->count, sizeof *list->items)))
            return no_memory();
        list->items[list->count++] = group;
    }
    return TV_OK;
}

static tv_status split(opening *o) {
    const tv_preferences *set = o->out->sets[0];
    uint64_t *hashes = calloc(set->count, sizeof *hashes);
    uint8_t *held_out = calloc(set->count, sizeof *held_out);
    tv_status status = hashes && held_out ? TV_OK : no_memory();
    for (uint64_t i = 0; status == TV_OK && i < set->count; i++)
        hashes[i] = set->groups[i].prompt_hash;
    if (status == TV_OK)
        status = tv_split_by_prompt(hashes, set->count, o->settings->train.seed,
                                    o->settings->data.val_fraction, held_out);
    if (status == TV_OK)
        status = sort_groups(o, set, held_out, &o->out->train, &o->out->val);
    free(hashes);
    free(held_out);
    return status;
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Validation data of its own may repeat what is trained on, which flatters the model. */
static tv_status warn_of_overlap(const tv_preference_sets *sets) {
    uint64_t *hashes = calloc(tv_max_u64(sets->train.count, 1), sizeof *hashes), seen = 0;
    if (!hashes)
        return no_memory();
    for (uint64_t i = 0; i < sets->train.count; i++)
        hashes[i] = sets->train.items[i]->prompt_hash;
    qsort(hashes, sets->train.count, sizeof *hashes, compare_hashes);
    for (uint64_t i = 0; i < sets->val.count; i++)
        seen += bsearch(&sets->val.items[i]->prompt_hash, hashes, sets->train.count, sizeof *hashes,
                        compare_hashes) != NULL;
    if (seen)
        tv_warn(
            "%" PRIu64 " of the %" PRIu64
            " validation groups have a prompt that is also trained on; their accuracy says little about new "
            "prompts",
            seen, sets->val.count);
    free(hashes);
    return TV_OK;
}

static void report(const opening *o) {
    const tv_preference_sets *sets = o->out;
    tv_info("%" PRIu64 " groups of up to %" PRIu64 " responses to train on, %" PRIu64 " to validate with",
            sets->train.count, sets->most, sets->val.count);
    for (int s = 0; s < 2; s++) {
        const tv_preferences *set = sets->sets[s];
        if (set && set->too_long)
            tv_warn("%" PRIu64 " groups of data.%s have a response longer than data.seq_len and are left out",
                    set->too_long, s ? "val" : "train");
        if (set && set->same)
            tv_warn("%" PRIu64 " pairs of data.%s are twice the same answer and are left out", set->same,
                    s ? "val" : "train");
    }
    if (o->useless)
        tv_warn("%" PRIu64 " groups have no answer that is better than another and are left out", o->useless);
}

tv_status tv_preference_sets_open(const tv_run_settings *settings, tv_tokenizer *tokenizer,
                                  uint64_t max_tokens, tv_preference_filter is_useful, const void *context,
                                  tv_preference_sets *sets) {
    opening o = {settings, tokenizer, max_tokens, is_useful, context, sets, 0};
    const tv_data_settings *data = &settings->data;
    TV_RETURN_IF_FAILED(read_set(&o, data->train, data->train_count, &sets->sets[0]));
    if (data->val_count) {
        TV_RETURN_IF_FAILED(read_set(&o, data->val, data->val_count, &sets->sets[1]));
        TV_RETURN_IF_FAILED(sort_groups(&o, sets->sets[0], NULL, &sets->train, NULL));
        TV_RETURN_IF_FAILED(sort_groups(&o, sets->sets[1], NULL, &sets->val, NULL));
    } else {
        TV_RETURN_IF_FAILED(split(&o));
    }
    if (sets->train.count == 0)
        return tv_fail(
            TV_E_DATA,
            "data.train: no group is left to train on; each needs an answer that is better than another");
    for (int s = 0; s < 2; s++)
        if (sets->sets[s]) {
            sets->longest = tv_max_u64(sets->longest, sets->sets[s]->longest);
            sets->most = tv_max_u64(sets->most, sets->sets[s]->most);
            sets->left_out += sets->sets[s]->too_long + sets->sets[s]->same + sets->sets[s]->undecided;
        }
    sets->left_out += o.useless;
    report(&o);
    return warn_of_overlap(sets);
}

void tv_preference_sets_free(tv_preference_sets *sets) {
    for (int s = 0; s < 2; s++)
        tv_preferences_destroy(&sets->sets[s]);
    free((void *)sets->train.items);
    free((void *)sets->val.items);
    *sets = (tv_preference_sets){0};
}

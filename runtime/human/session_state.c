/* Who, what and when of a session: see session_state.h. */
#include "human/session_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"

/* The longest silent one of those without a judgment in the file; NULL where all have one. */
static tv_annotator *find_bystander(tv_session *s) {
    tv_annotator *found = NULL;
    for (uint32_t i = 0; i < s->annotator_count; i++) {
        tv_annotator *who = &s->annotators[i];
        if (who->done == 0 && (!found || who->heard < found->heard))
            found = who;
    }
    return found;
}

/* Frees the place of an annotator without judgments. */
static void leave(tv_session *s, tv_annotator *who) {
    while (who->held_count > 0)
        tv_session_let_go(s, who, 0);
    free(who->name);
    free(who->items);
    free(who->held);
}

tv_status tv_session_find_annotator(tv_session *s, const char *name, tv_annotator **out) {
    for (uint32_t i = 0; i < s->annotator_count; i++) {
        *out = &s->annotators[i];
        if (strcmp((*out)->name, name) == 0)
            return TV_OK;
    }
    uint64_t length = strlen(name);
    if (length == 0 || length > TV_MAX_ANNOTATOR_BYTES)
        return tv_fail(TV_E_USAGE, "expected a name of the annotator of 1 to %d bytes, found %llu",
                       TV_MAX_ANNOTATOR_BYTES, (unsigned long long)length);
    tv_annotator added = {.name = tv_format("%s", name), .heard = s->clock()};
    added.items = calloc(s->count, sizeof *added.items);
    if (!added.name || !added.items) {
        free(added.name);
        free(added.items);
        return tv_fail(TV_E_MEMORY, "out of host memory for an annotator");
    }
    tv_annotator *place =
        s->annotator_count < TV_MAX_ANNOTATORS ? &s->annotators[s->annotator_count] : find_bystander(s);
    if (!place) {
        free(added.name);
        free(added.items);
        return tv_fail(TV_E_USAGE, "%s has judgments of %d annotators, which is the most; use another file",
                       s->out, TV_MAX_ANNOTATORS);
    }
    if (place->name)
        leave(s, place);
    else
        s->annotator_count++;
    *place = added;
    *out = place;
    return TV_OK;
}

uint16_t tv_session_number_of(const tv_session *s, const tv_annotator *who) {
    return (uint16_t)(who - s->annotators + 1);
}

/* ---- orders and presentations ---- */

static_assert(TV_MAX_RESPONSES <= 16, "an order is packed into 64 bits, four to a position");

static uint64_t pack_order(const uint8_t *order, uint32_t k) {
    uint64_t packed = 0;
    for (uint32_t i = 0; i < k; i++)
        packed |= (uint64_t)order[i] << (4 * i);
    return packed;
}

/* Drawn from the item's id and not its number, so that it stays when lines are added or moved. */
static void draw_order(const tv_session *s, const tv_annotator *who, const tv_item *item, uint8_t *order) {
    tv_rng rng = {.seed = s->seed, .stream = TV_STREAM_ORDER};
    uint64_t person = tv_hash_bytes(who->name, strlen(who->name), 0);
    rng.step = (uint32_t)tv_hash_bytes(item->id, strlen(item->id), person);
    for (uint32_t i = 0; i < item->count; i++)
        order[i] = (uint8_t)i;
    for (uint32_t i = item->count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)tv_uniform_below(&rng, i, i + 1);
        uint8_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

void tv_session_fill_item(const tv_session *s, const tv_annotator *who, uint64_t index, bool repeat,
                          double t_shown, tv_session_item *out) {
    const tv_item *item = tv_candidates_item(s->candidates, index);
    *out =
        (tv_session_item){.id = item->id, .k = item->count, .prompt_json = item->prompt_json, .item = item};
    out->t_shown = t_shown;
    out->repeat = repeat;
    if (repeat)
        for (uint32_t i = 0; i < item->count; i++)
            out->order[i] = (uint8_t)(who->items[index].order >> (4 * (item->count - 1 - i)) & 15);
    else
        draw_order(s, who, item, out->order);
    for (uint32_t i = 0; i < item->count; i++)
        out->texts[i] = item->responses[out->order[i]].text;
    uint64_t check = tv_hash_bytes(item->id, strlen(item->id), pack_order(out->order, item->count));
    out->presentation = (check & 0x1fffff) << 32 | index << 1 | repeat;
}

/* ---- what is open to whom ---- */

bool tv_session_is_open(const tv_session *s, const tv_annotator *who, uint64_t index) {
    const tv_item_state *item = &s->items[index];
    return !who->items[index].sequence &&
           (item->judgments == 0 || (item->shared && item->judgments < TV_SHARED_JUDGES));
}

bool tv_session_has_repeat(const tv_annotator *who, uint64_t index) {
    const tv_acquaintance *past = &who->items[index];
    return past->sequence && !past->repeat_done && !past->skipped;
}

static bool holds(const tv_annotator *who, uint64_t index) {
    for (uint64_t i = 0; i < who->held_count; i++)
        if (who->held[i].item == index)
            return true;
    return false;
}

bool tv_session_find_repeat(const tv_session *s, const tv_annotator *who, uint32_t gap, uint64_t *index) {
    for (uint64_t i = 0; i < s->repeated_count; i++) {
        *index = s->repeated[i];
        if (tv_session_has_repeat(who, *index) && !holds(who, *index) &&
            who->sequence - who->items[*index].sequence >= gap)
            return true;
    }
    return false;
}

bool tv_session_find_shared(const tv_session *s, const tv_annotator *who, uint64_t *index) {
    for (uint64_t i = 0; i < s->shared_count; i++) {
        *index = s->shared[i];
        if (s->items[*index].judgments > 0 && s->items[*index].holder == TV_NOBODY &&
            tv_session_is_open(s, who, *index))
            return true;
    }
    return false;
}

bool tv_session_find_fresh(tv_session *s, uint64_t *index) {
    while (s->fresh < s->count &&
           (s->items[s->fresh].judgments > 0 || s->items[s->fresh].holder != TV_NOBODY))
        s->fresh++;
    *index = s->fresh;
    return s->fresh < s->count;
}

bool tv_session_is_away(const tv_session *s, const tv_annotator *who) {
    return s->away_seconds > 0 && s->clock() - who->heard > s->away_seconds;
}

bool tv_session_reclaim(tv_session *s, const tv_annotator *who) {
    bool any = false;
    for (uint32_t i = 0; i < s->annotator_count; i++) {
        tv_annotator *other = &s->annotators[i];
        if (other == who || !tv_session_is_away(s, other))
            continue;
        for (uint64_t j = other->held_count; j > 0; j--)
            if (!other->held[j - 1].repeat && tv_session_is_open(s, who, other->held[j - 1].item)) {
                tv_session_let_go(s, other, j - 1);
                any = true;
            }
    }
    return any;
}

tv_status tv_session_hold(tv_session *s, tv_annotator *who, uint64_t index, bool repeat) {
    void *held = who->held;
    TV_RETURN_IF_FAILED(tv_grow(&held, &who->held_capacity, who->held_count + 1, sizeof *who->held));
    who->held = held;
    who->held[who->held_count++] = (tv_holding){index, repeat, tv_wall_seconds()};
    if (!repeat)
        s->items[index].holder = tv_session_number_of(s, who);
    return TV_OK;
}

void tv_session_let_go(tv_session *s, tv_annotator *who, uint64_t place) {
    tv_holding held = who->held[place];
    memmove(&who->held[place], &who->held[place + 1], (who->held_count - place - 1) * sizeof *who->held);
    who->held_count--;
    if (held.repeat)
        return;
    if (s->items[held.item].holder != tv_session_number_of(s, who))
        return;
    s->items[held.item].holder = TV_NOBODY;
    s->fresh = tv_min_u64(s->fresh, held.item);
}

/* ---- judgments ---- */

void tv_session_remember(tv_session *s, tv_annotator *who, uint64_t index, const tv_ranking *ranking) {
    tv_acquaintance *past = &who->items[index];
    who->done++;
    if (past->sequence) {
        past->repeat_done = true;
        return;
    }
    who->sequence++;
    past->sequence = who->sequence;
    past->order = pack_order(ranking->order, ranking->item.count);
    past->skipped = ranking->skipped;
    s->items[index].judgments++;
}

void tv_session_forget(tv_session *s, tv_annotator *who, uint64_t index, bool repeat) {
    who->done--;
    if (repeat) {
        who->items[index].repeat_done = false;
        return;
    }
    who->items[index] = (tv_acquaintance){0};
    s->items[index].judgments--;
    s->fresh = tv_min_u64(s->fresh, index);
}

tv_status tv_session_add_record(tv_session *s, tv_session_record added) {
    void *records = s->records;
    TV_RETURN_IF_FAILED(tv_grow(&records, &s->record_capacity, s->record_count + 1, sizeof *s->records));
    s->records = records;
    s->records[s->record_count++] = added;
    return TV_OK;
}

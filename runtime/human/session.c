/* What is open to whom, and the file that remembers it: see session.h. */
#include "human/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "base/rng.h"

/* A repeat comes after so many other judgments where there are so many, so that the first is not just
 * remembered. */
enum { REPEAT_GAP = 10 };
enum { NOBODY = 0 };

/* Steps of TV_STREAM_ORDER that are no item's (those are hashes): the drawing of shares. */
enum { DRAW_SHARED = 1, DRAW_REPEATED = 2 };

typedef struct item_state {
    uint32_t judgments; /* annotators that judged it */
    uint16_t holder;    /* annotator + 1 that has it before them */
    bool shared, repeated;
} item_state;

/* One annotator's past with one item. */
typedef struct acquaintance {
    uint64_t order;    /* as displayed, four bits a position */
    uint32_t sequence; /* of the judgment among those of the annotator, from 1; 0: none */
    bool skipped, repeat_done;
} acquaintance;

typedef struct holding {
    uint64_t item;
    bool repeat;
    double t_shown;
} holding;

typedef struct annotator {
    char *name;
    acquaintance *items;
    uint32_t sequence;
    uint64_t done;
    holding *held; /* in the order of handing out */
    uint64_t held_count, held_capacity;
} annotator;

/* A line of the file that is a judgment of one of the items. */
typedef struct record {
    uint64_t item, offset, size;
    uint32_t annotator;
    bool repeat, own; /* own: written by this session */
} record;

struct tv_session {
    tv_mutex *mutex;
    tv_candidates *candidates;
    char *out, *tool_version;
    uint64_t seed, count;
    item_state *items;
    uint64_t *shared, *repeated; /* item numbers */
    uint64_t shared_count, repeated_count;
    uint64_t fresh; /* no item before it is free and unjudged */
    annotator annotators[TV_MAX_ANNOTATORS];
    uint32_t annotator_count;
    record *records;
    uint64_t record_count, record_capacity;
    tv_appender *file;
    uint64_t file_size;
    bool broken; /* the file's end is not what this session believes */
};

/* ---- who ---- */

static tv_status find_annotator(tv_session *s, const char *name, annotator **out) {
    for (uint32_t i = 0; i < s->annotator_count; i++) {
        *out = &s->annotators[i];
        if (strcmp((*out)->name, name) == 0)
            return TV_OK;
    }
    uint64_t length = strlen(name);
    if (length == 0 || length > TV_MAX_ANNOTATOR_BYTES)
        return tv_fail(TV_E_USAGE, "expected a name of the annotator of 1 to %d bytes, found %llu",
                       TV_MAX_ANNOTATOR_BYTES, (unsigned long long)length);
    if (s->annotator_count == TV_MAX_ANNOTATORS)
        return tv_fail(TV_E_USAGE, "a session has at most %d annotators", TV_MAX_ANNOTATORS);
    annotator *added = &s->annotators[s->annotator_count];
    added->name = tv_format("%s", name);
    added->items = calloc(s->count, sizeof *added->items);
    if (!added->name || !added->items) {
        free(added->name);
        free(added->items);
        *added = (annotator){0};
        return tv_fail(TV_E_MEMORY, "out of host memory for an annotator");
    }
    s->annotator_count++;
    *out = added;
    return TV_OK;
}

static uint16_t number_of(const tv_session *s, const annotator *who) {
    return (uint16_t)(who - s->annotators + 1);
}

/* ---- orders and presentations ---- */

static uint64_t pack_order(const uint8_t *order, uint32_t k) {
    uint64_t packed = 0;
    for (uint32_t i = 0; i < k; i++)
        packed |= (uint64_t)order[i] << (4 * i);
    return packed;
}

/* Drawn from the item's id and not its number, so that it stays when lines are added or moved. */
static void draw_order(const tv_session *s, const annotator *who, const tv_item *item, uint8_t *order) {
    tv_rng rng = {.seed = s->seed, .stream = TV_STREAM_ORDER};
    rng.step = (uint32_t)tv_hash_bytes(item->id, strlen(item->id), 0);
    rng.rank = (uint16_t)tv_hash_bytes(who->name, strlen(who->name), 0);
    for (uint32_t i = 0; i < item->count; i++)
        order[i] = (uint8_t)i;
    for (uint32_t i = item->count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)tv_uniform_below(&rng, i, i + 1);
        uint8_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}

static void fill_item(const tv_session *s, const annotator *who, uint64_t index, bool repeat, double t_shown,
                      tv_session_item *out) {
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

static bool is_open(const tv_session *s, const annotator *who, uint64_t index) {
    const item_state *item = &s->items[index];
    return !who->items[index].sequence &&
           (item->judgments == 0 || (item->shared && item->judgments < TV_SHARED_JUDGES));
}

static bool has_repeat(const annotator *who, uint64_t index) {
    const acquaintance *past = &who->items[index];
    return past->sequence && !past->repeat_done && !past->skipped;
}

static bool holds(const annotator *who, uint64_t index) {
    for (uint64_t i = 0; i < who->held_count; i++)
        if (who->held[i].item == index)
            return true;
    return false;
}

/* A repeat that at least `gap` judgments came after. */
static bool find_repeat(const tv_session *s, const annotator *who, uint32_t gap, uint64_t *index) {
    for (uint64_t i = 0; i < s->repeated_count; i++) {
        *index = s->repeated[i];
        if (has_repeat(who, *index) && !holds(who, *index) &&
            who->sequence - who->items[*index].sequence >= gap)
            return true;
    }
    return false;
}

static bool find_shared(const tv_session *s, const annotator *who, uint64_t *index) {
    for (uint64_t i = 0; i < s->shared_count; i++) {
        *index = s->shared[i];
        if (s->items[*index].judgments > 0 && s->items[*index].holder == NOBODY && is_open(s, who, *index))
            return true;
    }
    return false;
}

static bool find_fresh(tv_session *s, uint64_t *index) {
    while (s->fresh < s->count && (s->items[s->fresh].judgments > 0 || s->items[s->fresh].holder != NOBODY))
        s->fresh++;
    *index = s->fresh;
    return s->fresh < s->count;
}

static tv_status hold(tv_session *s, annotator *who, uint64_t index, bool repeat) {
    void *held = who->held;
    TV_RETURN_IF_FAILED(tv_grow(&held, &who->held_capacity, who->held_count + 1, sizeof *who->held));
    who->held = held;
    who->held[who->held_count++] = (holding){index, repeat, tv_wall_seconds()};
    if (!repeat)
        s->items[index].holder = number_of(s, who);
    return TV_OK;
}

static void let_go(tv_session *s, annotator *who, uint64_t place) {
    holding held = who->held[place];
    memmove(&who->held[place], &who->held[place + 1], (who->held_count - place - 1) * sizeof *who->held);
    who->held_count--;
    if (held.repeat)
        return;
    s->items[held.item].holder = NOBODY;
    s->fresh = tv_min_u64(s->fresh, held.item);
}

/* What is open to nobody else comes after what others wait to be compared with; a repeat when its time has
 * come, or when nothing else is left. */
static tv_status reserve(tv_session *s, annotator *who, tv_session_item *item, bool *done) {
    uint64_t index;
    bool repeat = find_repeat(s, who, REPEAT_GAP, &index);
    *done = false;
    if (!repeat && !find_shared(s, who, &index) && !find_fresh(s, &index)) {
        repeat = find_repeat(s, who, 0, &index);
        *done = !repeat;
    }
    if (*done)
        return TV_OK;
    TV_RETURN_IF_FAILED(hold(s, who, index, repeat));
    fill_item(s, who, index, repeat, who->held[who->held_count - 1].t_shown, item);
    return TV_OK;
}

tv_status tv_session_reserve(tv_session *s, const char *name, tv_session_item *item, bool *done) {
    annotator *who;
    tv_mutex_lock(s->mutex);
    tv_status status = find_annotator(s, name, &who);
    if (status == TV_OK)
        status = reserve(s, who, item, done);
    tv_mutex_unlock(s->mutex);
    return status;
}

tv_status tv_session_next(tv_session *s, const char *name, tv_session_item *item, bool *done) {
    annotator *who;
    tv_mutex_lock(s->mutex);
    tv_status status = find_annotator(s, name, &who);
    if (status == TV_OK && who->held_count > 0) {
        fill_item(s, who, who->held[0].item, who->held[0].repeat, who->held[0].t_shown, item);
        *done = false;
    } else if (status == TV_OK) {
        status = reserve(s, who, item, done);
    }
    tv_mutex_unlock(s->mutex);
    return status;
}

void tv_session_release(tv_session *s, const char *name) {
    tv_mutex_lock(s->mutex);
    for (uint32_t i = 0; i < s->annotator_count; i++)
        while (strcmp(s->annotators[i].name, name) == 0 && s->annotators[i].held_count > 0)
            let_go(s, &s->annotators[i], 0);
    tv_mutex_unlock(s->mutex);
}

/* ---- judging ---- */

/* The state after a judgment; on opening for each line of the file, then after each line that is written. */
static void remember(tv_session *s, annotator *who, uint64_t index, const tv_ranking *ranking) {
    acquaintance *past = &who->items[index];
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

static tv_status add_record(tv_session *s, record added) {
    void *records = s->records;
    TV_RETURN_IF_FAILED(tv_grow(&records, &s->record_capacity, s->record_count + 1, sizeof *s->records));
    s->records = records;
    s->records[s->record_count++] = added;
    return TV_OK;
}

/* Which item a judgment is about, and whether it may be judged by `who`. */
static tv_status check_presentation(const tv_session *s, const annotator *who, uint64_t presentation,
                                    tv_session_item *item, uint64_t *index) {
    bool repeat = presentation & 1;
    *index = (presentation & UINT32_MAX) >> 1;
    if (*index >= s->count || (repeat && !who->items[*index].sequence))
        return tv_fail(TV_E_USAGE, "this session has no item with the number %llu",
                       (unsigned long long)presentation);
    fill_item(s, who, *index, repeat, 0, item);
    if (item->presentation != presentation)
        return tv_fail(TV_E_USAGE,
                       "item \"%s\" was shown by another session in another order; ask for it again",
                       item->id);
    if (repeat ? who->items[*index].repeat_done : who->items[*index].sequence > 0)
        return tv_fail(TV_E_USAGE, "item \"%s\" was judged by %s already", item->id, who->name);
    if (repeat)
        return TV_OK;
    uint16_t holder = s->items[*index].holder;
    if (holder != NOBODY && holder != number_of(s, who))
        return tv_fail(TV_E_USAGE, "item \"%s\" is before another annotator; ask for the next one", item->id);
    if (!is_open(s, who, *index))
        return tv_fail(TV_E_USAGE,
                       "item \"%s\" was judged by another annotator already; ask for the next one", item->id);
    return TV_OK;
}

static tv_status check_rank(const tv_session_judgment *judgment, const tv_session_item *item) {
    if (judgment->confidence < 0 || judgment->confidence > TV_MAX_CONFIDENCE)
        return tv_fail(TV_E_USAGE, "expected a confidence from 1 (a guess) to %d (sure), found %d",
                       TV_MAX_CONFIDENCE, judgment->confidence);
    if (judgment->all_bad || !judgment->rank)
        return TV_OK;
    if (judgment->k != item->k)
        return tv_fail(TV_E_USAGE, "item \"%s\" has %u answers, found a ranking of %u", item->id, item->k,
                       judgment->k);
    uint32_t used = 0, highest = 0;
    for (uint32_t i = 0; i < item->k; i++) {
        if (judgment->rank[i] >= item->k)
            return tv_fail(TV_E_USAGE, "expected ranks from 0 to %u, found %u", item->k - 1,
                           judgment->rank[i]);
        used |= 1u << judgment->rank[i];
        highest = judgment->rank[i] > highest ? judgment->rank[i] : highest;
    }
    if (used != (2u << highest) - 1)
        return tv_fail(TV_E_USAGE, "expected ranks without gaps, found a gap below %u", highest);
    return TV_OK;
}

/* Appends the line; on failure the file ends where it did before. */
static tv_status append(tv_session *s, const tv_text *line) {
    tv_status status = tv_append_line(s->file, (const char *)line->data, line->size);
    if (status == TV_OK) {
        s->file_size += line->size + 1;
        return TV_OK;
    }
    char *reason = tv_format("%s", tv_last_error());
    tv_appender *cut = NULL;
    s->broken = tv_appender_open(s->out, s->file_size, true, &cut) != TV_OK;
    tv_appender_close(&cut);
    status = tv_fail(TV_E_IO, "%s; this judgment was not written, all before it are safe",
                     reason ? reason : "out of host memory");
    free(reason);
    return status;
}

static tv_status write_judgment(tv_session *s, annotator *who, const tv_session_judgment *judgment,
                                const tv_session_item *item, uint64_t index, double t_shown) {
    tv_ranking ranking = {.item = *item->item, .annotator = who->name, .comment = judgment->comment};
    tv_text line = {0};
    const char **flags = calloc(judgment->flag_count + 3, sizeof *flags);
    tv_status status;
    if (!flags) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a judgment");
        goto fail;
    }
    ranking.skipped = !judgment->rank && !judgment->all_bad;
    ranking.flags = flags;
    if (ranking.skipped)
        flags[ranking.flag_count++] = "skip";
    if (judgment->all_bad)
        flags[ranking.flag_count++] = "all_bad";
    if (item->repeat)
        flags[ranking.flag_count++] = "repeat";
    for (uint64_t i = 0; i < judgment->flag_count; i++)
        flags[ranking.flag_count++] = judgment->flags[i];
    memcpy(ranking.order, item->order, sizeof ranking.order);
    if (judgment->rank && !judgment->all_bad)
        for (uint32_t i = 0; i < item->k; i++)
            ranking.rank[item->order[i]] = judgment->rank[i];
    ranking.confidence = judgment->confidence;
    ranking.tool_version = s->tool_version;
    ranking.t_done = tv_wall_seconds();
    ranking.t_shown = t_shown > 0 ? t_shown : ranking.t_done;
    TV_TRY(tv_ranking_print(&ranking, &line));
    record added = {
        .item = index, .offset = s->file_size, .size = line.size + 1, .repeat = item->repeat, .own = true};
    added.annotator = (uint32_t)(who - s->annotators);
    /* Its place first: what is in the file must not be forgotten for want of memory. */
    TV_TRY(add_record(s, added));
    status = append(s, &line);
    if (status == TV_OK)
        remember(s, who, index, &ranking);
    else
        s->record_count--;
fail:
    free(flags);
    tv_text_free(&line);
    return status;
}

static tv_status judge(tv_session *s, const char *name, const tv_session_judgment *judgment) {
    annotator *who;
    tv_session_item item;
    uint64_t index;
    if (s->broken)
        return tv_fail(TV_E_IO,
                       "%s could not be repaired after a write that failed; start again when there is room",
                       s->out);
    TV_RETURN_IF_FAILED(find_annotator(s, name, &who));
    TV_RETURN_IF_FAILED(check_presentation(s, who, judgment->presentation, &item, &index));
    TV_RETURN_IF_FAILED(check_rank(judgment, &item));
    uint64_t place = 0;
    while (place < who->held_count &&
           (who->held[place].item != index || who->held[place].repeat != item.repeat))
        place++;
    double t_shown = judgment->t_shown;
    if (!(t_shown > 0) && place < who->held_count)
        t_shown = who->held[place].t_shown;
    TV_RETURN_IF_FAILED(write_judgment(s, who, judgment, &item, index, t_shown));
    if (place < who->held_count)
        let_go(s, who, place);
    return TV_OK;
}

tv_status tv_session_judge(tv_session *s, const char *name, const tv_session_judgment *judgment) {
    tv_mutex_lock(s->mutex);
    tv_status status = judge(s, name, judgment);
    tv_mutex_unlock(s->mutex);
    return status;
}

/* ---- undo ---- */

/* The file without `gone`; the handle moves to the new file. */
static tv_status cut_out(tv_session *s, const record *gone) {
    char *bytes = NULL;
    uint64_t size, after = gone->offset + gone->size;
    tv_writer *writer = NULL;
    tv_appender *file = NULL;
    tv_status status;
    TV_TRY(tv_read_file(s->out, &bytes, &size));
    if (size != s->file_size) {
        status = tv_fail(TV_E_IO, "%s was changed by another program; nothing was undone", s->out);
        goto fail;
    }
    TV_TRY(tv_writer_open(s->out, &writer));
    TV_TRY(tv_writer_write(writer, bytes, gone->offset));
    TV_TRY(tv_writer_write(writer, bytes + after, size - after));
    TV_TRY(tv_writer_commit(&writer));
    /* From here on the old handle leads to a file without a name. */
    s->broken = true;
    TV_TRY(tv_appender_open(s->out, UINT64_MAX, true, &file));
    TV_TRY(tv_appender_lock(file));
    tv_appender_close(&s->file);
    s->file = file;
    s->broken = false;
    s->file_size = size - gone->size;
    free(bytes);
    return TV_OK;
fail:
    tv_writer_abort(&writer);
    tv_appender_close(&file);
    free(bytes);
    return status;
}

static tv_status undo(tv_session *s, const char *name, tv_session_item *item) {
    annotator *who;
    TV_RETURN_IF_FAILED(find_annotator(s, name, &who));
    uint64_t place = s->record_count;
    while (place > 0 &&
           (!s->records[place - 1].own || &s->annotators[s->records[place - 1].annotator] != who))
        place--;
    if (place == 0)
        return tv_fail(TV_E_USAGE, "there is nothing to undo: %s has judged nothing since the start", name);
    record gone = s->records[place - 1];
    TV_RETURN_IF_FAILED(cut_out(s, &gone));
    memmove(&s->records[place - 1], &s->records[place], (s->record_count - place) * sizeof *s->records);
    s->record_count--;
    for (uint64_t i = 0; i < s->record_count; i++)
        if (s->records[i].offset > gone.offset)
            s->records[i].offset -= gone.size;
    who->done--;
    if (gone.repeat) {
        who->items[gone.item].repeat_done = false;
    } else {
        who->items[gone.item] = (acquaintance){0};
        s->items[gone.item].judgments--;
        s->fresh = tv_min_u64(s->fresh, gone.item);
    }
    while (who->held_count > 0)
        let_go(s, who, 0);
    TV_RETURN_IF_FAILED(hold(s, who, gone.item, gone.repeat));
    fill_item(s, who, gone.item, gone.repeat, who->held[0].t_shown, item);
    return TV_OK;
}

tv_status tv_session_undo(tv_session *s, const char *name, tv_session_item *item) {
    tv_mutex_lock(s->mutex);
    tv_status status = undo(s, name, item);
    tv_mutex_unlock(s->mutex);
    return status;
}

/* ---- progress ---- */

void tv_session_progress(tv_session *s, const char *name, uint64_t *done, uint64_t *total) {
    annotator *who;
    tv_mutex_lock(s->mutex);
    *done = *total = 0;
    if (find_annotator(s, name, &who) == TV_OK) {
        *done = *total = who->done;
        for (uint64_t i = 0; i < s->count; i++) {
            uint16_t holder = s->items[i].holder;
            bool open = is_open(s, who, i) && (holder == NOBODY || holder == number_of(s, who));
            *total += open;
            *total += s->items[i].repeated && (open || has_repeat(who, i));
        }
    }
    tv_mutex_unlock(s->mutex);
}

void tv_session_totals(tv_session *s, uint64_t *judged_items, uint64_t *items, uint64_t *judgments) {
    tv_mutex_lock(s->mutex);
    uint64_t judged = 0;
    for (uint64_t i = 0; i < s->count; i++)
        judged += s->items[i].judgments > 0;
    if (judged_items)
        *judged_items = judged;
    if (items)
        *items = s->count;
    if (judgments)
        *judgments = s->record_count;
    tv_mutex_unlock(s->mutex);
}

/* ---- opening ---- */

/* Marks round(share * count) items and lists them in the order of the file. */
static tv_status draw_share(const tv_session *s, double share, uint32_t step, uint64_t **list,
                            uint64_t *list_count) {
    uint64_t wanted = (uint64_t)llround(share * (double)s->count);
    const tv_rng rng = {.seed = s->seed, .stream = TV_STREAM_ORDER, .step = step};
    *list = calloc(wanted + 1, sizeof **list);
    if (!*list)
        return tv_fail(TV_E_MEMORY, "out of host memory for a session");
    for (uint64_t i = 0; i < s->count; i++)
        if (tv_permute(&rng, i, s->count) < wanted)
            (*list)[(*list_count)++] = i;
    return TV_OK;
}

static tv_status draw_shares(tv_session *s, const tv_session_options *options) {
    if (!(options->overlap >= 0 && options->overlap <= 1) ||
        !(options->repeats >= 0 && options->repeats <= 1))
        return tv_fail(TV_E_USAGE, "expected shares of 0 to 1 for overlap and repeats, found %g and %g",
                       options->overlap, options->repeats);
    TV_RETURN_IF_FAILED(draw_share(s, options->overlap, DRAW_SHARED, &s->shared, &s->shared_count));
    TV_RETURN_IF_FAILED(draw_share(s, options->repeats, DRAW_REPEATED, &s->repeated, &s->repeated_count));
    for (uint64_t i = 0; i < s->shared_count; i++)
        s->items[s->shared[i]].shared = true;
    for (uint64_t i = 0; i < s->repeated_count; i++)
        s->items[s->repeated[i]].repeated = true;
    return TV_OK;
}

/* Ids are often just numbers, so that another file's judgments could pass for this one's. */
static tv_status check_same(const tv_session *s, const tv_item *judged, const tv_item *item,
                            const char *where) {
    bool same = judged->count == item->count;
    for (uint32_t i = 0; same && i < item->count; i++)
        same = strcmp(judged->responses[i].id, item->responses[i].id) == 0 &&
               tv_span_equal(judged->responses[i].text, item->responses[i].text);
    if (same)
        return TV_OK;
    return tv_fail(
        TV_E_DATA,
        "%s: item \"%s\" has other answers here than among the candidates (line %llu); to judge other "
        "candidates choose another file than %s",
        where, item->id, (unsigned long long)item->line, s->out);
}

static tv_status load_line(tv_session *s, tv_span line, const char *where, uint64_t offset, uint64_t size,
                           bool *foreign) {
    tv_arena *arena = NULL;
    tv_ranking ranking;
    annotator *who;
    tv_status status;
    TV_TRY(tv_arena_create(&arena));
    TV_TRY(tv_ranking_parse(line, where, arena, &ranking));
    uint64_t index = tv_candidates_find(s->candidates, ranking.item.id);
    *foreign = index == UINT64_MAX;
    if (!*foreign) {
        TV_TRY(check_same(s, &ranking.item, tv_candidates_item(s->candidates, index), where));
        TV_TRY(find_annotator(s, ranking.annotator[0] ? ranking.annotator : "unknown", &who));
        record added = {.item = index, .offset = offset, .size = size};
        added.annotator = (uint32_t)(who - s->annotators);
        added.repeat = who->items[index].sequence > 0;
        TV_TRY(add_record(s, added));
        remember(s, who, index, &ranking);
    }
fail:
    tv_arena_destroy(&arena);
    return status;
}

static bool is_whole(tv_span line, const char *where) {
    cJSON *root = NULL;
    bool whole = tv_json_parse(line.data, line.size, where, &root) == TV_OK;
    cJSON_Delete(root);
    return whole;
}

/* What the file holds. A last line without its newline is kept where it is whole, else cut off. */
static tv_status load(tv_session *s) {
    char *bytes = NULL;
    uint64_t size = 0, foreign = 0;
    tv_appender *cut = NULL;
    tv_status status;
    TV_TRY(tv_read_file(s->out, &bytes, &size));
    tv_line_walk walk = {.cursor = bytes, .end = bytes + size};
    s->file_size = size;
    for (tv_span line; tv_line_next(&walk, &line);) {
        char where[512];
        uint64_t offset = (uint64_t)(line.data - bytes), line_size = (uint64_t)(walk.cursor - line.data);
        bool elsewhere = false;
        if (tv_span_is_blank(line) && walk.ended)
            continue;
        snprintf(where, sizeof where, "%.480s line %llu", s->out, (unsigned long long)walk.number);
        status = load_line(s, line, where, offset, line_size + !walk.ended, &elsewhere);
        if (status == TV_E_DATA && !walk.ended && !is_whole(line, where)) {
            tv_info("%s: cut off its last line, which was not written to the end", s->out);
            TV_TRY(tv_appender_open(s->out, offset, true, &cut));
            tv_appender_close(&cut);
            s->file_size = offset;
            break;
        }
        if (status != TV_OK)
            goto fail;
        foreign += elsewhere;
        if (!walk.ended) {
            TV_TRY(tv_append_bytes(s->file, "\n", 1));
            s->file_size++;
        }
    }
    if (foreign)
        tv_warn("%s: %llu of its judgments are about items that are not among the candidates", s->out,
                (unsigned long long)foreign);
    status = TV_OK;
fail:
    free(bytes);
    return status;
}

tv_status tv_session_open(const tv_session_options *options, tv_session **out) {
    *out = NULL;
    tv_session *s = calloc(1, sizeof *s);
    if (!s)
        return tv_fail(TV_E_MEMORY, "out of host memory for a session");
    tv_status status;
    TV_TRY(tv_mutex_create(&s->mutex));
    TV_TRY(tv_candidates_read(options->candidates, &s->candidates));
    s->count = tv_candidates_count(s->candidates);
    s->seed = options->seed;
    s->out = tv_format("%s", options->out);
    s->tool_version = tv_format("%s", options->tool_version ? options->tool_version : "");
    s->items = calloc(s->count, sizeof *s->items);
    if (!s->out || !s->tool_version || !s->items) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a session");
        goto fail;
    }
    if (s->count >= UINT32_MAX / 2) {
        status =
            tv_fail(TV_E_DATA, "%s: too many lines for one session; split the file", options->candidates);
        goto fail;
    }
    TV_TRY(draw_shares(s, options));
    TV_TRY(tv_appender_open(s->out, UINT64_MAX, true, &s->file));
    TV_TRY(tv_appender_lock(s->file));
    TV_TRY(load(s));
    *out = s;
    return TV_OK;
fail:
    tv_session_close(&s);
    return status;
}

void tv_session_close(tv_session **session) {
    if (!session || !*session)
        return;
    tv_session *s = *session;
    tv_appender_close(&s->file);
    for (uint32_t i = 0; i < s->annotator_count; i++) {
        free(s->annotators[i].name);
        free(s->annotators[i].items);
        free(s->annotators[i].held);
    }
    tv_candidates_destroy(&s->candidates);
    tv_mutex_destroy(&s->mutex);
    free(s->records);
    free(s->shared);
    free(s->repeated);
    free(s->items);
    free(s->out);
    free(s->tool_version);
    free(s);
    *session = NULL;
}

/* Handing out, judging, undoing: see session.h. */
#include "human/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "human/session_state.h"

/* A repeat comes after so many other judgments where there are so many, so that the first is not just
 * remembered. */
enum { REPEAT_GAP = 10 };

/* The annotator, who is there: they have just said something. */
static tv_status find_present(tv_session *s, const char *name, tv_annotator **who) {
    TV_RETURN_IF_FAILED(tv_session_find_annotator(s, name, who));
    (*who)->heard = s->clock();
    (*who)->present = true;
    return TV_OK;
}

/* ---- handing out ---- */

/* What is open to nobody else comes after what others wait to be compared with; a repeat when its time has
 * come, or when nothing else is left. What somebody left open stays theirs as long as there is anything else.
 */
static tv_status reserve(tv_session *s, tv_annotator *who, tv_session_item *item, bool *done) {
    uint64_t index;
    bool repeat = tv_session_find_repeat(s, who, REPEAT_GAP, &index);
    *done = false;
    bool found = repeat || tv_session_find_shared(s, who, &index) || tv_session_find_fresh(s, &index);
    if (!found && tv_session_reclaim(s, who))
        found = tv_session_find_shared(s, who, &index) || tv_session_find_fresh(s, &index);
    if (!found) {
        repeat = tv_session_find_repeat(s, who, 0, &index);
        *done = !repeat;
    }
    if (*done)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_session_hold(s, who, index, repeat));
    tv_session_fill_item(s, who, index, repeat, who->held[who->held_count - 1].t_shown, item);
    return TV_OK;
}

tv_status tv_session_reserve(tv_session *s, const char *name, tv_session_item *item, bool *done) {
    tv_annotator *who;
    tv_mutex_lock(s->mutex);
    tv_status status = find_present(s, name, &who);
    if (status == TV_OK)
        status = reserve(s, who, item, done);
    tv_mutex_unlock(s->mutex);
    return status;
}

tv_status tv_session_next(tv_session *s, const char *name, tv_session_item *item, bool *done) {
    tv_annotator *who;
    tv_mutex_lock(s->mutex);
    tv_status status = find_present(s, name, &who);
    if (status == TV_OK && who->held_count > 0) {
        tv_session_fill_item(s, who, who->held[0].item, who->held[0].repeat, who->held[0].t_shown, item);
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
            tv_session_let_go(s, &s->annotators[i], 0);
    tv_mutex_unlock(s->mutex);
}

/* ---- judging ---- */

static uint64_t place_of(const tv_annotator *who, uint64_t index, bool repeat) {
    uint64_t place = 0;
    while (place < who->held_count && (who->held[place].item != index || who->held[place].repeat != repeat))
        place++;
    return place;
}

/* Which item a judgment is about, and whether it may be judged by `who`. */
static tv_status check_presentation(const tv_session *s, const tv_annotator *who, uint64_t presentation,
                                    tv_session_item *item, uint64_t *index) {
    bool repeat = presentation & 1;
    *index = (presentation & UINT32_MAX) >> 1;
    if (*index >= s->count || (repeat && !who->items[*index].sequence))
        return tv_fail(TV_E_USAGE, "this session has no item with the number %llu",
                       (unsigned long long)presentation);
    tv_session_fill_item(s, who, *index, repeat, 0, item);
    if (item->presentation != presentation)
        return tv_fail(TV_E_USAGE,
                       "item \"%s\" was shown by another session in another order; ask for it again",
                       item->id);
    if (repeat ? who->items[*index].repeat_done : who->items[*index].sequence > 0)
        return tv_fail(TV_E_USAGE, "item \"%s\" was judged by %s already", item->id, who->name);
    if (repeat)
        return TV_OK;
    uint16_t holder = s->items[*index].holder;
    /* Two may have it before them: one who undid a judgment, and one who had got it meanwhile. */
    bool theirs = place_of(who, *index, false) < who->held_count;
    if (!theirs && holder != TV_NOBODY && holder != tv_session_number_of(s, who))
        return tv_fail(
            TV_E_USAGE,
            "item \"%s\" is before another annotator, to whom it went while %s was silent; ask for "
            "the next one",
            item->id, who->name);
    if (!tv_session_is_open(s, who, *index))
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

/* Where the file is not the one that was opened any more, its judgments are saved beside it, once. */
static tv_status check_file(tv_session *s) {
    char *reason = NULL, *rescued = NULL;
    tv_status status = tv_appender_check(s->file);
    if (status == TV_OK || s->broken)
        return status;
    s->broken = true;
    reason = tv_format("%s", tv_last_error());
    if (!reason)
        return tv_fail(TV_E_MEMORY, "out of host memory");
    if (tv_appender_rescue(s->file, &rescued) != TV_OK)
        status = tv_fail_context(status, "%s, and the judgments in it could not be saved", reason);
    else if (rescued)
        status = tv_fail(status,
                         "%s; the judgments in it were saved as %s: put the files together and start again",
                         reason, rescued);
    else
        status = tv_fail(status, "%s; look into it and start again", reason);
    free(reason);
    free(rescued);
    return status;
}

/* Appends the line; on failure the file ends where it did before. */
static tv_status append(tv_session *s, const tv_text *line) {
    tv_status status = tv_append_line(s->file, (const char *)line->data, line->size);
    if (status == TV_OK) {
        s->file_size += line->size + 1;
        return TV_OK;
    }
    char *reason = tv_format("%s", tv_last_error());
    tv_status file = check_file(s);
    if (file != TV_OK)
        status = tv_fail_context(file, "this judgment was not written");
    else
        status = tv_fail(TV_E_IO, "%s; this judgment was not written, all before it are safe",
                         reason ? reason : "out of host memory");
    free(reason);
    return status;
}

static tv_status write_judgment(tv_session *s, tv_annotator *who, const tv_session_judgment *judgment,
                                const tv_session_item *item, uint64_t index, double t_shown) {
    tv_ranking ranking = {.item = *item->item, .annotator = who->name, .comment = judgment->comment};
    tv_text line = {0};
    const char **flags = calloc(judgment->flag_count + 3, sizeof *flags);
    tv_status status;
    if (!flags) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a judgment");
        goto done;
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
    tv_session_record added = {
        .item = index, .offset = s->file_size, .size = line.size + 1, .repeat = item->repeat, .own = true};
    added.annotator = (uint32_t)(who - s->annotators);
    /* Its place first: what is in the file must not be forgotten for want of memory. */
    TV_TRY(tv_session_add_record(s, added));
    status = append(s, &line);
    if (status == TV_OK)
        tv_session_remember(s, who, index, &ranking);
    else
        s->record_count--;
done:
    free(flags);
    tv_text_free(&line);
    return status;
}

static tv_status judge(tv_session *s, const char *name, const tv_session_judgment *judgment) {
    tv_annotator *who;
    tv_session_item item;
    uint64_t index;
    if (s->broken)
        return tv_fail(TV_E_IO,
                       "%s is not what was written to it any more, because a write failed or another program "
                       "changed it; start again",
                       s->out);
    TV_RETURN_IF_FAILED(find_present(s, name, &who));
    TV_RETURN_IF_FAILED(check_presentation(s, who, judgment->presentation, &item, &index));
    TV_RETURN_IF_FAILED(check_rank(judgment, &item));
    uint64_t place = place_of(who, index, item.repeat);
    double t_shown = judgment->t_shown;
    if (!(t_shown > 0) && place < who->held_count)
        t_shown = who->held[place].t_shown;
    TV_RETURN_IF_FAILED(write_judgment(s, who, judgment, &item, index, t_shown));
    if (place < who->held_count)
        tv_session_let_go(s, who, place);
    return TV_OK;
}

tv_status tv_session_judge(tv_session *s, const char *name, const tv_session_judgment *judgment) {
    tv_mutex_lock(s->mutex);
    tv_status status = judge(s, name, judgment);
    tv_mutex_unlock(s->mutex);
    return status;
}

tv_status tv_session_here(tv_session *s, const char *name, uint64_t presentation, bool *kept) {
    tv_annotator *who;
    tv_session_item item;
    uint64_t index;
    *kept = false;
    tv_mutex_lock(s->mutex);
    tv_status status = find_present(s, name, &who);
    if (status == TV_OK && check_presentation(s, who, presentation, &item, &index) == TV_OK) {
        *kept = true;
        if (place_of(who, index, item.repeat) == who->held_count)
            status = tv_session_hold(s, who, index, item.repeat);
    }
    tv_mutex_unlock(s->mutex);
    return status;
}

/* ---- undo ---- */

/* The file without `gone`; the handle moves to the new file. */
static tv_status cut_out(tv_session *s, const tv_session_record *gone) {
    char *bytes = NULL;
    uint64_t size, after = gone->offset + gone->size;
    tv_writer *writer = NULL;
    tv_appender *file = NULL;
    tv_status status;
    status = tv_appender_check(s->file);
    if (status == TV_OK)
        status = tv_read_file(s->out, &bytes, &size);
    if (status == TV_OK && size != s->file_size)
        status = tv_fail(TV_E_IO, "%s was changed by another program", s->out);
    if (status != TV_OK) {
        tv_fail_context(status, "nothing was undone");
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_writer_open_named(s->out, &writer));
    TV_TRY_OR_FAIL(tv_writer_write(writer, bytes, gone->offset));
    TV_TRY_OR_FAIL(tv_writer_write(writer, bytes + after, size - after));
    TV_TRY_OR_FAIL(tv_writer_commit(&writer));
    /* From here on the old handle leads to a file without a name. */
    s->broken = true;
    TV_TRY_OR_FAIL(tv_appender_open_named(s->out, UINT64_MAX, true, &file));
    TV_TRY_OR_FAIL(tv_appender_lock(file));
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

static void forget_judgments(tv_session *s) {
    tv_rankings_destroy(&s->judgments);
    s->judgments_size = 0;
}

static tv_status undo(tv_session *s, const char *name, tv_session_item *item) {
    tv_annotator *who;
    TV_RETURN_IF_FAILED(find_present(s, name, &who));
    uint64_t place = s->record_count;
    while (place > 0 &&
           (!s->records[place - 1].own || &s->annotators[s->records[place - 1].annotator] != who))
        place--;
    if (place == 0)
        return tv_fail(TV_E_USAGE, "there is nothing to undo: %s has judged nothing since the start", name);
    tv_session_record gone = s->records[place - 1];
    forget_judgments(s);
    TV_RETURN_IF_FAILED(cut_out(s, &gone));
    memmove(&s->records[place - 1], &s->records[place], (s->record_count - place) * sizeof *s->records);
    s->record_count--;
    for (uint64_t i = 0; i < s->record_count; i++)
        if (s->records[i].offset > gone.offset)
            s->records[i].offset -= gone.size;
    tv_session_forget(s, who, gone.item, gone.repeat);
    while (who->held_count > 0)
        tv_session_let_go(s, who, 0);
    TV_RETURN_IF_FAILED(tv_session_hold(s, who, gone.item, gone.repeat));
    tv_session_fill_item(s, who, gone.item, gone.repeat, who->held[0].t_shown, item);
    return TV_OK;
}

tv_status tv_session_undo(tv_session *s, const char *name, tv_session_item *item) {
    tv_mutex_lock(s->mutex);
    tv_status status = undo(s, name, item);
    tv_mutex_unlock(s->mutex);
    return status;
}

/* ---- progress ---- */

/* Whether somebody else, who is there, has it before them. */
static bool is_before_another(const tv_session *s, const tv_annotator *who, uint64_t index) {
    uint16_t holder = s->items[index].holder;
    return holder != TV_NOBODY && holder != tv_session_number_of(s, who) &&
           !tv_session_is_away(s, &s->annotators[holder - 1]);
}

void tv_session_progress(tv_session *s, const char *name, uint64_t *done, uint64_t *total) {
    tv_annotator *who;
    tv_mutex_lock(s->mutex);
    *done = *total = 0;
    if (tv_session_find_annotator(s, name, &who) == TV_OK) {
        *done = *total = who->done;
        for (uint64_t i = 0; i < s->count; i++) {
            bool open = tv_session_is_open(s, who, i) && !is_before_another(s, who, i);
            *total += open;
            *total += s->items[i].repeated && (open || tv_session_has_repeat(who, i));
        }
    }
    tv_mutex_unlock(s->mutex);
}

uint64_t tv_session_before_others(tv_session *s, const char *name) {
    tv_annotator *who;
    uint64_t count = 0;
    tv_mutex_lock(s->mutex);
    if (tv_session_find_annotator(s, name, &who) == TV_OK)
        for (uint64_t i = 0; i < s->count; i++)
            count += tv_session_is_open(s, who, i) && is_before_another(s, who, i);
    tv_mutex_unlock(s->mutex);
    return count;
}

bool tv_session_is_broken(tv_session *s) {
    tv_mutex_lock(s->mutex);
    bool broken = s->broken;
    tv_mutex_unlock(s->mutex);
    return broken;
}

tv_status tv_session_check(tv_session *s) {
    tv_mutex_lock(s->mutex);
    tv_status status = check_file(s);
    tv_mutex_unlock(s->mutex);
    return status;
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

void tv_session_people(tv_session *s, void (*visit)(void *context, const tv_session_person *person),
                       void *context) {
    tv_mutex_lock(s->mutex);
    for (uint32_t i = 0; i < s->annotator_count; i++) {
        const tv_annotator *who = &s->annotators[i];
        const tv_session_person person = {.name = who->name,
                                          .judgments = who->done,
                                          .held = who->held_count,
                                          .silent = who->present ? s->clock() - who->heard : -1};
        if (person.judgments || person.held)
            visit(context, &person);
    }
    tv_mutex_unlock(s->mutex);
}

static tv_status read_judgments(tv_session *s) {
    if (!s->judgments)
        TV_RETURN_IF_FAILED(tv_rankings_create(&s->judgments));
    tv_status status = tv_rankings_read_on(s->judgments, s->out, &s->judgments_size);
    if (status != TV_OK)
        forget_judgments(s);
    return status;
}

tv_status tv_session_rankings(tv_session *s, tv_status (*visit)(void *context, const tv_rankings *rankings),
                              void *context) {
    tv_mutex_lock(s->mutex);
    tv_status status = read_judgments(s);
    if (status == TV_OK)
        status = visit(context, s->judgments);
    tv_mutex_unlock(s->mutex);
    return status;
}

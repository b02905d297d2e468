/* Opening a session on what its file holds, and closing it: see session.h. */
#include "human/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/forms.h"
#include "base/log.h"
#include "base/rng.h"
#include "human/session_state.h"

/* Steps of TV_STREAM_ORDER that are no item's (those are hashes): the drawing of shares. */
enum { DRAW_SHARED = 1, DRAW_REPEATED = 2 };

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
               tv_slice_equal(judged->responses[i].text, item->responses[i].text);
    if (same)
        return TV_OK;
    return tv_fail(
        TV_E_DATA,
        "%s: item \"%s\" has other answers here than among the candidates (line %llu); to judge other "
        "candidates choose another file than %s",
        where, item->id, (unsigned long long)item->line, s->out);
}

static tv_status load_line(tv_session *s, tv_slice line, const char *where, uint64_t offset, uint64_t size,
                           bool *foreign) {
    tv_arena *arena = NULL;
    tv_ranking ranking;
    tv_annotator *who;
    tv_status status;
    TV_TRY(tv_arena_create(&arena));
    TV_TRY(tv_ranking_parse(line, where, arena, &ranking));
    uint64_t index = tv_candidates_find(s->candidates, ranking.item.id);
    *foreign = index == UINT64_MAX;
    if (!*foreign) {
        TV_TRY(check_same(s, &ranking.item, tv_candidates_item(s->candidates, index), where));
        TV_TRY(tv_session_find_annotator(s, ranking.annotator[0] ? ranking.annotator : "unknown", &who));
        tv_session_record added = {.item = index, .offset = offset, .size = size};
        added.annotator = (uint32_t)(who - s->annotators);
        added.repeat = who->items[index].sequence > 0;
        TV_TRY(tv_session_add_record(s, added));
        tv_session_remember(s, who, index, &ranking);
    }
done:
    tv_arena_destroy(&arena);
    return status;
}

static bool is_whole(tv_slice line, const char *where) {
    cJSON *root = NULL;
    bool whole = tv_json_parse(line.data, line.size, where, &root) == TV_OK;
    cJSON_Delete(root);
    return whole;
}

/* A file that is something else is not cut or appended to. */
static tv_status check_form(const tv_session *s, const char *bytes, uint64_t size) {
    const char *form = tv_form_name(bytes, size);
    uint64_t start = tv_mark_size(bytes, size);
    while (start < size &&
           (bytes[start] == ' ' || bytes[start] == '\t' || bytes[start] == '\r' || bytes[start] == '\n'))
        start++;
    if (!form && start < size && bytes[start] == '[')
        form = "a JSON array";
    if (form)
        return tv_fail(TV_E_DATA, "%s: expected judgments as JSON lines, to go on with, found %s", s->out,
                       form);
    return TV_OK;
}

/* What the file holds. A last line without its newline is kept where it is whole, else cut off. */
static tv_status load(tv_session *s) {
    char *bytes = NULL;
    uint64_t size = 0, foreign = 0;
    tv_status status;
    TV_TRY(tv_read_file(s->out, &bytes, &size));
    TV_TRY(check_form(s, bytes, size));
    tv_line_walk walk = {.cursor = bytes + tv_mark_size(bytes, size), .end = bytes + size};
    s->file_size = size;
    for (tv_slice line; tv_line_next(&walk, &line);) {
        char where[512];
        uint64_t offset = (uint64_t)(line.data - bytes), line_size = (uint64_t)(walk.cursor - line.data);
        bool elsewhere = false;
        if (tv_slice_is_blank(line) && walk.ended)
            continue;
        snprintf(where, sizeof where, "%.480s line %llu", s->out, (unsigned long long)walk.number);
        status = load_line(s, line, where, offset, line_size + !walk.ended, &elsewhere);
        if (status == TV_E_DATA && !walk.ended && !is_whole(line, where)) {
            tv_info("%s: cut off its last line, which was not written to the end", s->out);
            TV_TRY(tv_appender_cut(s->file, offset));
            s->file_size = offset;
            break;
        }
        if (status != TV_OK)
            goto done;
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
done:
    free(bytes);
    return status;
}

tv_status tv_session_open(const tv_session_options *options, tv_session **out) {
    *out = NULL;
    tv_session *s = calloc(1, sizeof *s);
    if (!s)
        return tv_fail(TV_E_MEMORY, "out of host memory for a session");
    tv_status status;
    TV_TRY_OR_FAIL(tv_mutex_create(&s->mutex));
    TV_TRY_OR_FAIL(tv_candidates_read(options->candidates, &s->candidates));
    s->count = tv_candidates_count(s->candidates);
    s->seed = options->seed;
    s->away_seconds = options->away_seconds;
    s->clock = options->clock ? options->clock : tv_seconds;
    s->out = tv_format("%s", options->out);
    s->tool_version =
        tv_format("%s", options->tool_version ? options->tool_version : "trivium " TRIVIUM_VERSION);
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
    TV_TRY_OR_FAIL(draw_shares(s, options));
    TV_TRY_OR_FAIL(tv_appender_open_named(s->out, UINT64_MAX, true, &s->file));
    TV_TRY_OR_FAIL(tv_appender_lock(s->file));
    TV_TRY_OR_FAIL(load(s));
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
    tv_rankings_destroy(&s->judgments);
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

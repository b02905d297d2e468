/* Numbers of a session that is under way: see web_overview.h. */
#include "human/web_overview.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "human/agreement.h"

typedef struct person {
    char *name;
    uint64_t judgments, skips, held, timed;
    double silent;
    double *seconds; /* of `timed` judgments */
} person;

typedef struct people {
    person *all;
    uint64_t count, capacity;
    tv_page_json *out;
    tv_status status;
} people;

static person *find(people *p, const char *name) {
    for (uint64_t i = 0; i < p->count; i++)
        if (strcmp(p->all[i].name, name) == 0)
            return &p->all[i];
    void *all = p->all;
    if (p->status == TV_OK)
        p->status = tv_grow(&all, &p->capacity, p->count + 1, sizeof *p->all);
    if (p->status != TV_OK)
        return NULL;
    p->all = all;
    person *added = &p->all[p->count];
    *added = (person){.name = tv_format("%s", name), .silent = -1};
    if (!added->name) {
        p->status = tv_fail(TV_E_MEMORY, "out of host memory for the overview");
        return NULL;
    }
    p->count++;
    return added;
}

static void visit(void *context, const tv_session_person *seen) {
    person *who = find(context, seen->name);
    if (!who)
        return;
    who->held = seen->held;
    who->silent = seen->silent;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Skips, and the time for each judgment that is none. */
static void count(people *p, const tv_rankings *rankings) {
    uint64_t lines = tv_rankings_count(rankings);
    for (uint64_t i = 0; i < lines && p->status == TV_OK; i++) {
        const tv_ranking *ranking = tv_rankings_at(rankings, i);
        person *who = find(p, ranking->annotator[0] ? ranking->annotator : "unknown");
        if (!who)
            return;
        who->judgments++;
        who->skips += ranking->skipped;
        double seconds = ranking->t_done - ranking->t_shown;
        if (ranking->skipped || !(ranking->t_shown > 0 && seconds >= 0))
            continue;
        if (!who->seconds && !(who->seconds = malloc(lines * sizeof *who->seconds))) {
            p->status = tv_fail(TV_E_MEMORY, "out of host memory for the overview");
            return;
        }
        who->seconds[who->timed++] = seconds;
    }
}

static void put_number(tv_page_json *out, const char *key, double value) {
    if (isfinite(value))
        tv_page_put_format(out, ",\"%s\":%.4g", key, value);
    else
        tv_page_put_format(out, ",\"%s\":null", key);
}

static void put_people(tv_page_json *out, people *p) {
    tv_page_put_format(out, ",\"people\":[");
    for (uint64_t i = 0; i < p->count; i++) {
        person *who = &p->all[i];
        if (who->timed)
            qsort(who->seconds, who->timed, sizeof *who->seconds, compare);
        tv_page_put_format(out, i ? ",{\"name\":" : "{\"name\":");
        tv_page_put_text(out, who->name);
        tv_page_put_format(out, ",\"judgments\":%llu,\"skips\":%llu,\"has_item\":%s",
                           (unsigned long long)who->judgments, (unsigned long long)who->skips,
                           who->held ? "true" : "false");
        put_number(out, "seconds", who->timed ? who->seconds[who->timed / 2] : NAN);
        put_number(out, "silent", who->silent >= 0 ? who->silent : NAN);
        tv_page_put_format(out, "}");
    }
    tv_page_put_format(out, "]");
}

static void put_agreement(tv_page_json *out, const tv_agreement *agreement) {
    tv_page_put_format(out, ",\"pairs\":[");
    for (uint64_t i = 0; i < agreement->row_count; i++) {
        const tv_agreement_row *row = &agreement->rows[i];
        tv_page_put_format(out, i ? ",{\"a\":" : "{\"a\":");
        tv_page_put_text(out, row->a);
        tv_page_put_format(out, ",\"b\":");
        tv_page_put_text(out, row->b);
        tv_page_put_format(out, ",\"items\":%llu", (unsigned long long)row->items);
        put_number(out, "agreement", row->agreement);
        tv_page_put_format(out, "}");
    }
    tv_page_put_format(out, "],\"shared_items\":%llu", (unsigned long long)agreement->shared_items);
    put_number(out, "agreement", agreement->all.agreement);
    put_number(out, "alpha", agreement->all.alpha);
    put_number(out, "with_oneself", agreement->repeats.agreement);
}

static tv_status put_judgments(void *context, const tv_rankings *rankings) {
    people *p = context;
    tv_agreement *agreement = NULL;
    tv_status status;
    count(p, rankings);
    TV_TRY(p->status);
    TV_TRY(tv_agreement_measure(rankings, &agreement));
    put_people(p->out, p);
    put_agreement(p->out, agreement);
done:
    tv_agreement_destroy(&agreement);
    return status;
}

tv_status tv_web_overview_put(tv_session *session, const tv_links *links, tv_page_json *out) {
    people p = {.out = out};
    uint64_t judged_items, items, judgments;
    tv_status status;
    for (uint64_t i = 0; links && i < tv_links_count(links); i++)
        if (tv_links_at(links, i)->name)
            find(&p, tv_links_at(links, i)->name);
    tv_session_people(session, visit, &p);
    tv_session_totals(session, &judged_items, &items, &judgments);
    tv_page_put_format(out, "{\"items\":%llu,\"judged_items\":%llu,\"judgments\":%llu",
                       (unsigned long long)items, (unsigned long long)judged_items,
                       (unsigned long long)judgments);
    TV_TRY(tv_session_rankings(session, put_judgments, &p));
    tv_page_put_format(out, "}");
    status = out->status;
done:
    for (uint64_t i = 0; i < p.count; i++) {
        free(p.all[i].name);
        free(p.all[i].seconds);
    }
    free(p.all);
    return status;
}

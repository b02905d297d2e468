/* Flattened trees as tables: see settings.h. */
#include "report/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

typedef struct row {
    char *key;
    char **values; /* one per run; NULL where the run lacks the key */
} row;

typedef struct table {
    row *rows;
    uint64_t count, runs;
    bool failed;
} table;

static row *find_row(table *t, const char *key) {
    for (uint64_t i = 0; i < t->count; i++)
        if (strcmp(t->rows[i].key, key) == 0)
            return &t->rows[i];
    row *grown = realloc(t->rows, (t->count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    t->rows = grown;
    row *new = &t->rows[t->count];
    *new = (row){tv_format("%s", key), calloc(t->runs, sizeof(char *))};
    if (!new->key || !new->values) {
        free(new->key);
        free(new->values);
        return NULL;
    }
    t->count++;
    return new;
}

static void flatten(table *t, uint64_t run, const char *prefix, const cJSON *tree) {
    const cJSON *item;
    cJSON_ArrayForEach(item, tree) {
        char *key = tv_format("%s%s%s", prefix, prefix[0] ? "." : "", item->string ? item->string : "");
        if (key && cJSON_IsObject(item) && item->child) {
            flatten(t, run, key, item);
        } else {
            row *found = key ? find_row(t, key) : NULL;
            char *printed = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);
            char *value = tv_format("%s", cJSON_IsString(item) ? item->valuestring : printed ? printed : "");
            cJSON_free(printed);
            if (found && value) {
                free(found->values[run]);
                found->values[run] = value;
            } else {
                free(value);
                t->failed = true;
            }
        }
        free(key);
    }
}

static bool differs(const table *t, const row *r) {
    for (uint64_t i = 1; i < t->runs; i++) {
        const char *a = r->values[0], *b = r->values[i];
        if (!a != !b || (a && strcmp(a, b) != 0))
            return true;
    }
    return false;
}

/* The part before the first dot; "" for keys of the top level. */
static uint64_t section_length(const char *key) {
    const char *dot = strchr(key, '.');
    return dot ? (uint64_t)(dot - key) : 0;
}

enum { MAX_VALUE_BYTES = 400 };

static void write_pair(tv_html *html, const row *r, uint64_t skip) {
    tv_html_raw(html, "<tr><th>");
    tv_html_text(html, r->key + skip);
    tv_html_raw(html, "</th><td>");
    tv_html_text_cut(html, r->values[0] ? r->values[0] : "", MAX_VALUE_BYTES);
    tv_html_raw(html, "</td></tr>");
}

/* One run: a small table per section, in two columns. */
static void write_pairs(tv_html *html, const table *t) {
    tv_html_raw(html, "<div class=\"pairs\">");
    for (uint64_t i = 0; i < t->count;) {
        uint64_t length = section_length(t->rows[i].key);
        tv_html_raw(html, "<section>");
        if (length) {
            char *name = tv_format("%.*s", (int)length, t->rows[i].key);
            tv_html_raw(html, "<h3>");
            tv_html_text(html, name ? name : "");
            tv_html_raw(html, "</h3>");
            free(name);
        }
        tv_html_raw(html, "<table><tbody>");
        const char *first = t->rows[i].key;
        for (; i < t->count && section_length(t->rows[i].key) == length &&
               strncmp(t->rows[i].key, first, length) == 0;
             i++)
            write_pair(html, &t->rows[i], length ? length + 1 : 0);
        tv_html_raw(html, "</tbody></table></section>");
    }
    tv_html_raw(html, "</div>");
}

static void write_columns(tv_html *html, const table *t, const char *const *names, bool only_different) {
    tv_html_raw(html, "<div class=\"scroll\"><table><thead><tr><th></th>");
    for (uint64_t i = 0; i < t->runs; i++) {
        tv_html_raw(html, "<th>");
        tv_html_text(html, names[i]);
        tv_html_raw(html, "</th>");
    }
    tv_html_raw(html, "</tr></thead><tbody>");
    for (uint64_t i = 0; i < t->count; i++) {
        const row *r = &t->rows[i];
        bool different = differs(t, r);
        if (only_different && !different)
            continue;
        tv_html_raw(html, different && !only_different ? "<tr class=\"differs\"><th>" : "<tr><th>");
        tv_html_text(html, r->key);
        tv_html_raw(html, "</th>");
        for (uint64_t run = 0; run < t->runs; run++) {
            tv_html_raw(html, "<td>");
            tv_html_text_cut(html, r->values[run] ? r->values[run] : "\xE2\x80\x93", MAX_VALUE_BYTES);
            tv_html_raw(html, "</td>");
        }
        tv_html_raw(html, "</tr>");
    }
    tv_html_raw(html, "</tbody></table></div>");
}

void tv_report_settings_write(tv_html *html, const char *title, const cJSON *const *trees,
                              const char *const *names, uint64_t count) {
    table t = {.runs = count};
    for (uint64_t i = 0; i < count; i++)
        if (cJSON_IsObject(trees[i]))
            flatten(&t, i, "", trees[i]);
    bool any_different = false;
    for (uint64_t i = 0; i < t.count; i++)
        any_different = any_different || differs(&t, &t.rows[i]);
    if (t.count) {
        tv_html_raw(html, "<h2>");
        tv_html_text(html, title);
        tv_html_raw(html, "</h2>\n");
    }
    if (t.count && count == 1) {
        write_pairs(html, &t);
    } else if (t.count) {
        tv_html_raw(html, any_different ? "<p class=\"sub\">What differs:</p>"
                                        : "<p class=\"sub\">The same in all runs.</p>");
        if (any_different)
            write_columns(html, &t, names, true);
        tv_html_raw(html, "<details><summary>All of them</summary>");
        write_columns(html, &t, names, false);
        tv_html_raw(html, "</details>\n");
    }
    html->failed = html->failed || t.failed;
    for (uint64_t i = 0; i < t.count; i++) {
        for (uint64_t run = 0; run < count; run++)
            free(t.rows[i].values[run]);
        free(t.rows[i].values);
        free(t.rows[i].key);
    }
    free(t.rows);
}

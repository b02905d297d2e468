/* The agreement as a table and as JSON: see agreement.h. */
#include "human/agreement.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/visible.h"

enum { NAME_COLUMNS = 34 };

static void print_number(FILE *out, int width, int digits, double value) {
    if (isnan(value))
        fprintf(out, " %*s", width, "-");
    else
        fprintf(out, " %*.*f", width, digits, value);
}

static void print_row(FILE *out, const char *name, const tv_agreement_row *row) {
    fprintf(out, "%-*.*s %7llu %7llu", NAME_COLUMNS, NAME_COLUMNS, name, (unsigned long long)row->items,
            (unsigned long long)row->pairs);
    print_number(out, 8, 1, 100 * row->agreement);
    print_number(out, 8, 3, row->alpha);
    print_number(out, 8, 3, row->tau);
    fputc('\n', out);
}

/* Names come from files. */
static void print_pair(FILE *out, const tv_agreement_row *row) {
    char *names = tv_format("%s, %s", row->a, row->b);
    char shown[NAME_COLUMNS + 1];
    if (names)
        print_row(out, tv_visible_line(names, shown, sizeof shown), row);
    free(names);
}

static void print_share(FILE *out, const char *what, double share, uint64_t count, const char *of) {
    if (count)
        fprintf(out, "%s %.1f %% of %llu %s (50 without a bias)\n", what, 100 * share,
                (unsigned long long)count, of);
    else
        fprintf(out, "%s: no such pair\n", what);
}

void tv_agreement_print(const tv_agreement *a, FILE *out) {
    fprintf(
        out,
        "%llu judgments of %llu items by %llu annotators; %llu skipped, %llu repeated, %llu items judged by "
        "several\n\n",
        (unsigned long long)a->judgments, (unsigned long long)a->items,
        (unsigned long long)a->annotator_count, (unsigned long long)a->skipped,
        (unsigned long long)a->repeats.items, (unsigned long long)a->shared_items);
    fprintf(out, "%-*s %7s %7s %8s %8s %8s\n", NAME_COLUMNS, "annotators", "items", "pairs", "agree %",
            "alpha", "tau-b");
    for (uint64_t i = 0; i < a->row_count; i++)
        print_pair(out, &a->rows[i]);
    print_row(out, "all", &a->all);
    print_row(out, "with oneself (repeats)", &a->repeats);
    fputc('\n', out);
    print_share(out, "the answer shown earlier won", a->earlier_won, a->strict_pairs, "strict pairs");
    print_share(out, "the longer answer won", a->longer_won, a->length_pairs,
                "strict pairs of different length");
    fputs("at the top by position:", out);
    for (uint32_t p = 0; p < TV_MAX_RESPONSES && !isnan(a->first_place_expected[p]); p++)
        fprintf(out, " %c %.1f %% (%.1f)", 'a' + (char)p, 100 * a->first_place[p],
                100 * a->first_place_expected[p]);
    fputs("\npublished agreement between people is 63 to 77 %; a reward model above it suggests a leak\n",
          out);
}

static cJSON *row_json(const tv_agreement_row *row) {
    cJSON *object = cJSON_CreateObject();
    bool built =
        object &&
        (!row->a || (tv_json_set_string(object, "a", row->a) && tv_json_set_string(object, "b", row->b)));
    built = built && tv_json_set_number(object, "items", (double)row->items) &&
            tv_json_set_number(object, "pairs", (double)row->pairs) &&
            tv_json_set_number(object, "agreement", row->agreement) &&
            tv_json_set_number(object, "alpha", row->alpha) && tv_json_set_number(object, "tau_b", row->tau);
    if (!built) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

static bool add(cJSON *object, const char *key, cJSON *item) {
    if (item && cJSON_AddItemToObject(object, key, item))
        return true;
    cJSON_Delete(item);
    return false;
}

static cJSON *rows_json(const tv_agreement *a) {
    cJSON *list = cJSON_CreateArray();
    for (uint64_t i = 0; list && i < a->row_count; i++) {
        cJSON *row = row_json(&a->rows[i]);
        if (!row || !cJSON_AddItemToArray(list, row)) {
            cJSON_Delete(row);
            cJSON_Delete(list);
            return NULL;
        }
    }
    return list;
}

cJSON *tv_agreement_json(const tv_agreement *a) {
    cJSON *object = cJSON_CreateObject();
    int positions = 0;
    while (positions < TV_MAX_RESPONSES && !isnan(a->first_place_expected[positions]))
        positions++;
    bool built =
        object && tv_json_set_number(object, "judgments", (double)a->judgments) &&
        tv_json_set_number(object, "skipped", (double)a->skipped) &&
        tv_json_set_number(object, "items", (double)a->items) &&
        tv_json_set_number(object, "annotators", (double)a->annotator_count) &&
        tv_json_set_number(object, "shared_items", (double)a->shared_items) &&
        add(object, "all", row_json(&a->all)) && add(object, "repeats", row_json(&a->repeats)) &&
        add(object, "by_pair", rows_json(a)) && tv_json_set_number(object, "earlier_won", a->earlier_won) &&
        tv_json_set_number(object, "strict_pairs", (double)a->strict_pairs) &&
        tv_json_set_number(object, "longer_won", a->longer_won) &&
        tv_json_set_number(object, "length_pairs", (double)a->length_pairs) &&
        add(object, "first_place", cJSON_CreateDoubleArray(a->first_place, positions)) &&
        add(object, "first_place_expected", cJSON_CreateDoubleArray(a->first_place_expected, positions));
    if (!built) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

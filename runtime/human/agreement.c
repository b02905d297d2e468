/* Measures of agreement: see agreement.h. */
#include "human/agreement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* ---- the measures ---- */

static int sign_of(double difference) {
    return (difference > 0) - (difference < 0);
}

double tv_kendall_tau_b(const double *x, const double *y, uint64_t n) {
    double concordance = 0, ordered_x = 0, ordered_y = 0;
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t j = 0; j < i; j++) {
            int a = sign_of(x[i] - x[j]), b = sign_of(y[i] - y[j]);
            concordance += a * b;
            ordered_x += a != 0;
            ordered_y += b != 0;
        }
    return ordered_x > 0 && ordered_y > 0 ? concordance / sqrt(ordered_x * ordered_y) : NAN;
}

double tv_pairwise_agreement(const uint8_t *a, const uint8_t *b, uint32_t k) {
    double sum = 0;
    for (uint32_t i = 0; i < k; i++)
        for (uint32_t j = 0; j < i; j++) {
            int first = sign_of((double)a[i] - a[j]), second = sign_of((double)b[i] - b[j]);
            sum += first == second ? 1 : first * second == 0 ? 0.5 : 0;
        }
    return sum;
}

static int compare_doubles(const void *a, const void *b) {
    return sign_of(*(const double *)a - *(const double *)b);
}

/* The different values, sorted; returns how many. */
static uint64_t distinct_values(const double *values, uint64_t count, double *distinct) {
    uint64_t used = 0, kept = 0;
    for (uint64_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            distinct[used++] = values[i];
    if (used)
        qsort(distinct, used, sizeof *distinct, compare_doubles);
    for (uint64_t i = 0; i < used; i++)
        if (kept == 0 || distinct[i] > distinct[kept - 1])
            distinct[kept++] = distinct[i];
    return kept;
}

static uint64_t value_index(const double *distinct, uint64_t count, double value) {
    uint64_t low = 0;
    for (uint64_t high = count; high - low > 1;) {
        uint64_t middle = low + (high - low) / 2;
        if (distinct[middle] <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Adds a unit's pairs of values to the coincidence matrix (v, v), each with the weight 1 / (m - 1). */
static void add_coincidences(const double *unit, uint64_t coders, const double *distinct, uint64_t v,
                             double *coincidences) {
    uint64_t present = 0;
    for (uint64_t i = 0; i < coders; i++)
        present += isnan(unit[i]) ? 0 : 1;
    if (present < 2)
        return;
    for (uint64_t i = 0; i < coders; i++)
        for (uint64_t j = 0; j < coders; j++)
            if (i != j && !isnan(unit[i]) && !isnan(unit[j]))
                coincidences[value_index(distinct, v, unit[i]) * v + value_index(distinct, v, unit[j])] +=
                    1 / (double)(present - 1);
}

/* 1 - (n - 1) sum o_ck d^2 / sum n_c n_k d^2 with d the values' distance in ranks: all that lie between c and
 * k, and half of those at the two ends. `total` has v values. */
static double alpha_of(const double *coincidences, uint64_t v, double *total) {
    double n = 0, observed = 0, expected = 0;
    for (uint64_t c = 0; c < v; c++) {
        total[c] = 0;
        for (uint64_t k = 0; k < v; k++)
            total[c] += coincidences[c * v + k];
        n += total[c];
    }
    for (uint64_t c = 0; c < v; c++) {
        double between = total[c] / 2;
        for (uint64_t k = c + 1; k < v; k++) {
            double distance = between + total[k] / 2;
            observed += 2 * coincidences[c * v + k] * distance * distance;
            expected += 2 * total[c] * total[k] * distance * distance;
            between += total[k];
        }
    }
    return expected > 0 ? 1 - (n - 1) * observed / expected : NAN;
}

tv_status tv_krippendorff_alpha(const double *values, uint64_t units, uint64_t coders, double *alpha) {
    uint64_t count;
    double *distinct = NULL, *coincidences = NULL, *total = NULL;
    *alpha = NAN;
    tv_status status = TV_OK;
    if (tv_mul_u64(units, coders, &count))
        distinct = calloc(count + 1, sizeof *distinct);
    uint64_t v = distinct ? distinct_values(values, count, distinct) : 0;
    coincidences = calloc(v * v + 1, sizeof *coincidences);
    total = calloc(v + 1, sizeof *total);
    if (distinct && coincidences && total) {
        for (uint64_t unit = 0; unit < units; unit++)
            add_coincidences(values + unit * coders, coders, distinct, v, coincidences);
        *alpha = alpha_of(coincidences, v, total);
    } else {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the agreement");
    }
    free(distinct);
    free(coincidences);
    free(total);
    return status;
}

/* ---- judgments by item ---- */

/* A judgment that is no skip. */
typedef struct entry {
    const tv_ranking *ranking;
    uint64_t item; /* hash of what was judged */
    uint64_t annotator, number;
    bool again; /* not the annotator's first of this item */
} entry;

typedef struct pair_sums {
    uint64_t items, pairs, taus;
    double agreement, tau;
} pair_sums;

typedef struct measuring {
    tv_agreement *result;
    entry *entries;
    uint64_t count, units;
    pair_sums *pairs; /* (annotators, annotators), the first before the second */
    pair_sums repeats;
    double *values; /* (units, annotators): ranks for alpha */
} measuring;

static int compare_entries(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->item != y->item)
        return x->item < y->item ? -1 : 1;
    if (x->annotator != y->annotator)
        return x->annotator < y->annotator ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The annotator's number; new names are added at the end. */
static uint64_t annotator_number(tv_agreement *a, const char *name) {
    uint64_t i = 0;
    while (i < a->annotator_count && strcmp(a->annotators[i], name) != 0)
        i++;
    if (i == a->annotator_count)
        a->annotators[a->annotator_count++] = name;
    return i;
}

static tv_status collect(const tv_rankings *rankings, measuring *m) {
    uint64_t count = tv_rankings_count(rankings);
    m->entries = calloc(count + 1, sizeof *m->entries);
    m->result->annotators = calloc(count + 1, sizeof *m->result->annotators);
    if (!m->entries || !m->result->annotators)
        return tv_fail(TV_E_MEMORY, "out of host memory for the agreement");
    for (uint64_t i = 0; i < count; i++) {
        const tv_ranking *ranking = tv_rankings_at(rankings, i);
        m->result->judgments++;
        m->result->skipped += ranking->skipped;
        if (ranking->skipped)
            continue;
        uint64_t number = annotator_number(m->result, ranking->annotator);
        m->entries[m->count++] = (entry){ranking, tv_item_hash(&ranking->item), number, i, false};
    }
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, compare_entries);
    for (uint64_t i = 0; i < m->count; i++) {
        bool same = i > 0 && m->entries[i].item == m->entries[i - 1].item;
        m->entries[i].again = same && m->entries[i].annotator == m->entries[i - 1].annotator;
        m->units += same ? 0 : m->entries[i].ranking->item.count;
        m->result->items += !same;
    }
    return TV_OK;
}

/* The mean of the places that an answer's group takes, from 1. */
static double middle_rank(const tv_ranking *ranking, uint32_t response) {
    double better = 0, equal = 0;
    for (uint32_t i = 0; i < ranking->item.count; i++) {
        better += ranking->rank[i] < ranking->rank[response];
        equal += ranking->rank[i] == ranking->rank[response];
    }
    return better + (equal + 1) / 2;
}

static void compare_pair(const tv_ranking *a, const tv_ranking *b, pair_sums *sums) {
    uint32_t k = a->item.count;
    double x[TV_MAX_RESPONSES], y[TV_MAX_RESPONSES];
    for (uint32_t i = 0; i < k; i++) {
        x[i] = a->rank[i];
        y[i] = b->rank[i];
    }
    sums->items++;
    sums->pairs += (uint64_t)k * (k - 1) / 2;
    sums->agreement += tv_pairwise_agreement(a->rank, b->rank, k);
    double tau = tv_kendall_tau_b(x, y, k);
    if (!isnan(tau)) {
        sums->tau += tau;
        sums->taus++;
    }
}

/* All judgments of one item. */
static void compare_item(measuring *m, const entry *entries, uint64_t count, uint64_t unit) {
    uint64_t annotators = m->result->annotator_count, first = 0, judges = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (entries[i].again) {
            compare_pair(entries[first].ranking, entries[i].ranking, &m->repeats);
            continue;
        }
        first = i;
        judges++;
        for (uint32_t r = 0; r < entries[i].ranking->item.count; r++)
            m->values[(unit + r) * annotators + entries[i].annotator] = middle_rank(entries[i].ranking, r);
        for (uint64_t j = 0; j < i; j++)
            if (!entries[j].again)
                compare_pair(entries[j].ranking, entries[i].ranking,
                             &m->pairs[entries[j].annotator * annotators + entries[i].annotator]);
    }
    m->result->shared_items += judges > 1;
}

static tv_agreement_row row_of(const pair_sums *sums, const char *a, const char *b) {
    tv_agreement_row row = {.a = a, .b = b, .items = sums->items, .pairs = sums->pairs, .alpha = NAN};
    row.agreement = sums->pairs ? sums->agreement / (double)sums->pairs : NAN;
    row.tau = sums->taus ? sums->tau / (double)sums->taus : NAN;
    return row;
}

/* alpha of two annotators alone, over the units that both have. `both` has room for all. */
static tv_status pair_alpha(const measuring *m, uint64_t a, uint64_t b, double *both, double *alpha) {
    uint64_t annotators = m->result->annotator_count, kept = 0;
    for (uint64_t unit = 0; unit < m->units; unit++) {
        double x = m->values[unit * annotators + a], y = m->values[unit * annotators + b];
        if (isnan(x) || isnan(y))
            continue;
        both[2 * kept] = x;
        both[2 * kept + 1] = y;
        kept++;
    }
    return tv_krippendorff_alpha(both, kept, 2, alpha);
}

static tv_status make_rows(measuring *m, double *both) {
    tv_agreement *result = m->result;
    uint64_t annotators = result->annotator_count;
    pair_sums all = {0};
    for (uint64_t a = 0; a < annotators; a++)
        for (uint64_t b = a + 1; b < annotators; b++) {
            const pair_sums *sums = &m->pairs[a * annotators + b];
            if (sums->items == 0)
                continue;
            tv_agreement_row *row = &result->rows[result->row_count++];
            *row = row_of(sums, result->annotators[a], result->annotators[b]);
            TV_RETURN_IF_FAILED(pair_alpha(m, a, b, both, &row->alpha));
            all.items += sums->items;
            all.pairs += sums->pairs;
            all.taus += sums->taus;
            all.agreement += sums->agreement;
            all.tau += sums->tau;
        }
    result->all = row_of(&all, NULL, NULL);
    result->repeats = row_of(&m->repeats, NULL, NULL);
    return tv_krippendorff_alpha(m->values, m->units, annotators, &result->all.alpha);
}

static tv_status compare_all(measuring *m) {
    uint64_t annotators = m->result->annotator_count, cells, squared, unit = 0;
    double *both = calloc(2 * m->units + 1, sizeof *both);
    tv_status status;
    if (!tv_mul_u64(m->units + 1, annotators + 1, &cells) || !tv_mul_u64(annotators, annotators, &squared)) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the agreement");
        goto done;
    }
    m->values = calloc(cells, sizeof *m->values);
    m->pairs = calloc(squared + 1, sizeof *m->pairs);
    m->result->rows = calloc(squared / 2 + 1, sizeof *m->result->rows);
    if (!both || !m->values || !m->pairs || !m->result->rows) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the agreement");
        goto done;
    }
    for (uint64_t i = 0; i < m->units * annotators; i++)
        m->values[i] = NAN;
    for (uint64_t i = 0, next; i < m->count; i = next) {
        for (next = i + 1; next < m->count && m->entries[next].item == m->entries[i].item;)
            next++;
        compare_item(m, m->entries + i, next - i, unit);
        unit += m->entries[i].ranking->item.count;
    }
    status = make_rows(m, both);
done:
    free(both);
    return status;
}

/* ---- biases ---- */

typedef struct biases {
    uint64_t earlier, longer, judgments[TV_MAX_RESPONSES];
    double top[TV_MAX_RESPONSES], expected[TV_MAX_RESPONSES];
} biases;

static void add_pair(const tv_ranking *ranking, uint32_t earlier, uint32_t later, tv_agreement *result,
                     biases *sums) {
    uint32_t a = ranking->order[earlier], b = ranking->order[later];
    if (ranking->rank[a] == ranking->rank[b])
        return;
    bool first_won = ranking->rank[a] < ranking->rank[b];
    uint64_t length_a = ranking->item.responses[a].text.size, length_b = ranking->item.responses[b].text.size;
    result->strict_pairs++;
    sums->earlier += first_won;
    if (length_a == length_b)
        return;
    result->length_pairs++;
    sums->longer += first_won == (length_a > length_b);
}

static void measure_biases(const measuring *m) {
    tv_agreement *result = m->result;
    biases sums = {0};
    for (uint64_t i = 0; i < m->count; i++) {
        const tv_ranking *ranking = m->entries[i].ranking;
        uint32_t k = ranking->item.count, top = 0;
        for (uint32_t r = 0; r < k; r++)
            top += ranking->rank[r] == 0;
        for (uint32_t p = 0; p < k; p++) {
            sums.judgments[p]++;
            sums.top[p] += ranking->rank[ranking->order[p]] == 0 ? 1.0 / top : 0;
            sums.expected[p] += 1.0 / k;
            for (uint32_t q = p + 1; q < k; q++)
                add_pair(ranking, p, q, result, &sums);
        }
    }
    for (uint32_t p = 0; p < TV_MAX_RESPONSES; p++) {
        double judgments = sums.judgments[p] ? (double)sums.judgments[p] : NAN;
        result->first_place[p] = sums.top[p] / judgments;
        result->first_place_expected[p] = sums.expected[p] / judgments;
    }
    result->earlier_won = result->strict_pairs ? (double)sums.earlier / (double)result->strict_pairs : NAN;
    result->longer_won = result->length_pairs ? (double)sums.longer / (double)result->length_pairs : NAN;
}

tv_status tv_agreement_measure(const tv_rankings *rankings, tv_agreement **out) {
    measuring m = {0};
    *out = NULL;
    m.result = calloc(1, sizeof *m.result);
    if (!m.result)
        return tv_fail(TV_E_MEMORY, "out of host memory for the agreement");
    tv_status status;
    TV_TRY(collect(rankings, &m));
    TV_TRY(compare_all(&m));
    measure_biases(&m);
    *out = m.result;
    m.result = NULL;
done:
    tv_agreement_destroy(&m.result);
    free(m.entries);
    free(m.pairs);
    free(m.values);
    return status;
}

void tv_agreement_destroy(tv_agreement **agreement) {
    if (!agreement || !*agreement)
        return;
    free((*agreement)->annotators);
    free((*agreement)->rows);
    free(*agreement);
    *agreement = NULL;
}

/* How far annotators agree with each other and with themselves, and what else than quality they may follow.
 *
 * Compared are judgments of the same item (id, prompt and answers); skips are left out, and of several
 * judgments of an item by one annotator only the first is compared with others. docs/ranking.md has the
 * definitions and their sources.
 */
#ifndef TV_HUMAN_AGREEMENT_H
#define TV_HUMAN_AGREEMENT_H

#include <stdio.h>

#include "human/rankings.h"

/* Kendall's tau-b of n pairs, (P - Q) / sqrt((P + Q + T)(P + Q + U)): T and U are pairs tied in x only and in
 * y only. NaN where one of them has no order. */
double tv_kendall_tau_b(const double *x, const double *y, uint64_t n);

/* Krippendorff's alpha with the ordinal difference function. `values` is (units, coders), NaN where a coder
 * has no value; units with fewer than two values do not count. *alpha is NaN where no two values differ. */
tv_status tv_krippendorff_alpha(const double *values, uint64_t units, uint64_t coders, double *alpha);

/* Pairs of answers that two rankings order alike; one that is tied in one of them only counts half. Returns
 * the sum. */
double tv_pairwise_agreement(const uint8_t *a, const uint8_t *b, uint32_t k);

/* One pair of annotators; or all pairs, or all repeats, pooled. */
typedef struct tv_agreement_row {
    const char *a, *b; /* NULL in a pooled row */
    uint64_t items, pairs;
    double agreement; /* share of the pairs; NaN: none */
    double tau;       /* mean of tau-b over items; NaN: none where both have an order */
    double alpha;     /* of the ranks given to answers */
} tv_agreement_row;

typedef struct tv_agreement {
    uint64_t judgments, skipped, items, shared_items; /* shared: judged by two or more */
    const char **annotators;
    uint64_t annotator_count;
    tv_agreement_row *rows; /* of pairs of annotators with items in common */
    uint64_t row_count;
    tv_agreement_row all;     /* over these; alpha over all annotators at once */
    tv_agreement_row repeats; /* first and repeated judgment of the same annotator */
    uint64_t strict_pairs;    /* in all judgments, repeats included */
    double earlier_won;       /* share of the strict pairs in which the answer shown earlier won */
    double first_place[TV_MAX_RESPONSES]; /* by position: share of the judgments with it at the top, ties
                                             shared */
    double
        first_place_expected[TV_MAX_RESPONSES]; /* what it would be without a bias; NaN: no such position */
    uint64_t length_pairs;                      /* strict pairs of answers of different length in bytes */
    double longer_won;
} tv_agreement;

/* `agreement` points into the rankings. */
tv_status tv_agreement_measure(const tv_rankings *rankings, tv_agreement **agreement);
void tv_agreement_destroy(tv_agreement **agreement);

/* The report for people. */
void tv_agreement_print(const tv_agreement *agreement, FILE *out);
/* The same for programs; the caller frees. NULL when memory is out. */
cJSON *tv_agreement_json(const tv_agreement *agreement);

#endif

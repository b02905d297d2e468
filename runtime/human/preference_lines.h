/* Judgments as preference data, in the shapes that text/preferences.h reads.
 *
 *     {"prompt","chosen","rejected"}                    each strict pair of each judgment; with `ties` also
 * the tied ones, marked "tie": true (a soft target of 1/2)
 *     {"prompt","answers":[{"answer","rank"}, ...]}     with `listwise`, best first, rank 1 is best, equal
 * ranks are ties
 *
 * Answers to a list of messages are lists with one message of the assistant. Prompts and texts are handed on
 * byte for byte. Skips give nothing, nor do repeats (they are for the agreement) and pairs of twice the same
 * text.
 */
#ifndef TV_HUMAN_PREFERENCE_LINES_H
#define TV_HUMAN_PREFERENCE_LINES_H

#include "human/rankings.h"
#include "text/judged_item.h"

typedef struct tv_preference_lines_options {
    const char *out;     /* "prefs.jsonl" */
    const char *val_out; /* "prefs_val.jsonl"; read where val_fraction is above 0 */
    double val_fraction; /* of the prompts, drawn by seed; all lines of a prompt go to the same file */
    uint64_t seed;
    bool listwise, ties;
    tv_verdicts verdicts; /* MAJORITY: of every two answers of an item what most of its annotators say; then
                             listwise says nothing */
} tv_preference_lines_options;

typedef struct tv_preference_lines_totals {
    uint64_t judgments, skipped, repeats, all_bad; /* read; the first two kinds give no line */
    uint64_t items;                                /* of a majority: those that have judgments */
    uint64_t prompts, val_prompts;
    uint64_t pairs, ties, same; /* strict pairs, tied pairs, pairs of the same text (given or not) */
    uint64_t lines, val_lines;  /* written */
} tv_preference_lines_totals;

/* Both files are replaced as a whole. TV_E_DATA when there would be no line. */
tv_status tv_preference_lines_write(const tv_rankings *rankings, const tv_preference_lines_options *options,
                                    tv_preference_lines_totals *totals);

#endif

/* Ranking in a terminal: an item, its answers as a, b, c, ..., and one line that orders them.
 *
 *     b>a=c>d       best first, = between answers that are as good; a digit behind it says how sure (1 a
 * guess, 5 sure) s             skip          x   none is any good        u   undo the last judgment c TEXT a
 * comment that goes with the next judgment                 q   quit
 *
 * Promise: what is shown is visible text only (base/visible.h); a wrong line is explained and asked again;
 * judgments are on the disk before the next item is shown, so that leaving in any way loses nothing.
 */
#ifndef TV_HUMAN_TERMINAL_RANKER_H
#define TV_HUMAN_TERMINAL_RANKER_H

#include <stdio.h>

#include "human/session.h"

typedef struct tv_terminal_ranker_options {
    const char *annotator;
    FILE *in, *out;
    uint32_t columns; /* of the terminal; 0: not known */
} tv_terminal_ranker_options;

/* Until all is judged, q or the end of the input; *judged counts the judgments that stand. TV_E_INTERRUPTED
 * after Ctrl-C. */
tv_status tv_terminal_ranker_run(tv_session *session, const tv_terminal_ranker_options *options,
                                 uint64_t *judged);

#endif

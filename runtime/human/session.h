/* A judging session: candidates and a file of judgments between them and any number of annotators.
 *
 * Promise: every judgment is one line, on the disk before tv_session_judge returns; a session that is opened
 * again goes on where the file ends (a line that was torn by a crash is cut off). An item is judged once, and
 * two people who ask at the same time get different items; only a share of the items, drawn by seed, is also
 * shown to up to TV_SHARED_JUDGES annotators, and a few come back to the same annotator once more with the
 * order flipped. Answers stand in an order that is drawn from seed, annotator and item. A second process on
 * the same file is refused. What somebody left open goes to others when nothing else is left for them
 * (away_seconds), and names that never judged make room for new ones, so nobody can lock others out by taking
 * items or inventing names.
 *
 * Every function may be called from any thread; texts that a session hands out live until tv_session_close.
 */
#ifndef TV_HUMAN_SESSION_H
#define TV_HUMAN_SESSION_H

#include "human/candidates.h"
#include "human/rankings.h"

enum { TV_SHARED_JUDGES = 3, TV_MAX_ANNOTATORS = 256, TV_MAX_ANNOTATOR_BYTES = 1024 };
#define TV_DEFAULT_OVERLAP 0.15
#define TV_DEFAULT_REPEATS 0.03

typedef struct tv_session_options {
    const char *candidates;   /* the file */
    const char *out;          /* rankings.jsonl, created when absent */
    uint64_t seed;            /* of display orders and of which items are shared and repeated */
    double overlap;           /* share of the items that several annotators see */
    double repeats;           /* share that is repeated with the order flipped */
    double away_seconds;      /* an annotator who is silent for so long gives back what they hold; 0: never */
    double (*clock)(void);    /* seconds that never go back; NULL: tv_seconds */
    const char *tool_version; /* NULL: this one */
} tv_session_options;

typedef struct tv_session tv_session;
tv_status tv_session_open(const tv_session_options *options, tv_session **session);
void tv_session_close(tv_session **session);

/* One showing of one item to one annotator. */
typedef struct tv_session_item {
    uint64_t presentation; /* its number, below 2^53; another order or another item has another one */
    const char *id;
    uint32_t k;
    tv_slice prompt_json;             /* a string or a list of messages */
    uint8_t order[TV_MAX_RESPONSES];  /* display position -> response */
    tv_slice texts[TV_MAX_RESPONSES]; /* by display position */
    const tv_item *item;              /* everything else, not for people: the answers are shown unlabelled */
    double t_shown;                   /* seconds since 1970 */
    bool repeat;
} tv_session_item;

/* The item that this annotator has before them: the same one until it is judged or released, also after a
 * restart. *done: there is nothing (left) for them at the moment; someone who has others' items before them
 * may still release some. */
tv_status tv_session_next(tv_session *session, const char *annotator, tv_session_item *item, bool *done);
/* Another one besides those that they hold, for annotators that take several at once. */
tv_status tv_session_reserve(tv_session *session, const char *annotator, tv_session_item *item, bool *done);
/* Puts back what the annotator holds, such as when they left. */
void tv_session_release(tv_session *session, const char *annotator);
/* The annotator is there, with this presentation before them. *kept: it is (again) theirs; otherwise somebody
 * else has got it meanwhile, or it was judged. Every other call says as well that they are there. */
tv_status tv_session_here(tv_session *session, const char *annotator, uint64_t presentation, bool *kept);

typedef struct tv_session_judgment {
    uint64_t presentation;
    const uint8_t *rank; /* by display position, 0 is best, equal is a tie (tv_rank_of_*); NULL: a skip */
    bool all_bad;        /* none is any good: all are tied, `rank` is not read */
    uint32_t k;          /* how many the ranking has; must be the item's */
    int confidence;      /* 1 to 5, 0: not said */
    const char *comment; /* NULL: none */
    const char *const *flags;
    uint64_t flag_count; /* further flags, besides those that the session sets itself */
    double t_shown;      /* 0: when the session handed it out */
} tv_session_judgment;

/* Writes the line. TV_E_USAGE with a sentence, and nothing written: a presentation that was judged already,
 * that another annotator holds, or that is none of this session; a ranking of another length. */
tv_status tv_session_judge(tv_session *session, const char *annotator, const tv_session_judgment *judgment);

/* Takes the annotator's last judgment of this session out of the file, which is replaced as a whole, and
 * hands its item out again. TV_E_USAGE when there is none. */
tv_status tv_session_undo(tv_session *session, const char *annotator, tv_session_item *item);

/* Judgments of this annotator, and how many it would be if they did all that is open to them now. */
void tv_session_progress(tv_session *session, const char *annotator, uint64_t *done, uint64_t *total);
/* Items that would be open to this annotator but that others, who are there, have before them. */
uint64_t tv_session_before_others(tv_session *session, const char *annotator);
/* Items with at least one judgment, and all; judgments in the file. Any may be NULL. */
void tv_session_totals(tv_session *session, uint64_t *judged_items, uint64_t *items, uint64_t *judgments);
/* TV_E_IO when another program has replaced, removed or changed the file: its judgments are saved beside it
 * then, and the session takes no more. The first failure says where; tv_session_is_broken tells whether it
 * was said. */
tv_status tv_session_check(tv_session *session);
bool tv_session_is_broken(tv_session *session);

/* How far one annotator is. */
typedef struct tv_session_person {
    const char *name; /* for the call only */
    uint64_t judgments, held;
    double silent; /* seconds since they were heard of; negative: not since the session was opened */
} tv_session_person;
/* Calls `visit` for everybody with a judgment in the file or an item before them; the session waits for it.
 */
void tv_session_people(tv_session *session, void (*visit)(void *context, const tv_session_person *person),
                       void *context);
/* Calls `visit` with the judgments of the file, which nobody adds to meanwhile: it must not call functions of
 * the session. Cost: what was read for the call before is not read again, unless a judgment was undone. */
tv_status tv_session_rankings(tv_session *session,
                              tv_status (*visit)(void *context, const tv_rankings *rankings), void *context);

#endif

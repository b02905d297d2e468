/* Inside a session: who has judged what, who holds what, and what is open to whom. For session*.c only.
 *
 * Promise: nothing here locks; the functions of session.h do, once each.
 */
#ifndef TV_HUMAN_SESSION_STATE_H
#define TV_HUMAN_SESSION_STATE_H

#include "base/files.h"
#include "base/os.h"
#include "human/session.h"

enum { TV_NOBODY = 0 };

typedef struct tv_item_state {
    uint32_t judgments; /* annotators that judged it */
    uint16_t holder;    /* annotator + 1 that has it before them */
    bool shared, repeated;
} tv_item_state;

/* One annotator's past with one item. */
typedef struct tv_acquaintance {
    uint64_t order;    /* as displayed, four bits a position */
    uint32_t sequence; /* of the judgment among those of the annotator, from 1; 0: none */
    bool skipped, repeat_done;
} tv_acquaintance;

typedef struct tv_holding {
    uint64_t item;
    bool repeat;
    double t_shown;
} tv_holding;

typedef struct tv_annotator {
    char *name;
    tv_acquaintance *items;
    uint32_t sequence;
    uint64_t done;
    tv_holding *held; /* in the order of handing out */
    uint64_t held_count, held_capacity;
    bool present; /* heard of in this session */
    double heard; /* by the session's clock, the last call */
} tv_annotator;

/* A line of the file that is a judgment of one of the items. */
typedef struct tv_session_record {
    uint64_t item, offset, size;
    uint32_t annotator;
    bool repeat, own; /* own: written by this session */
} tv_session_record;

struct tv_session {
    tv_mutex *mutex;
    tv_candidates *candidates;
    char *out, *tool_version;
    uint64_t seed, count;
    double away_seconds;
    double (*clock)(void);
    tv_item_state *items;
    uint64_t *shared, *repeated; /* item numbers */
    uint64_t shared_count, repeated_count;
    uint64_t fresh; /* no item before it is free and unjudged */
    tv_annotator annotators[TV_MAX_ANNOTATORS];
    uint32_t annotator_count;
    tv_session_record *records;
    uint64_t record_count, record_capacity;
    tv_appender *file;
    uint64_t file_size;
    tv_rankings *judgments; /* the first `judgments_size` bytes of the file, once somebody asked for them */
    uint64_t judgments_size;
    bool broken; /* the file's end is not what this session believes */
};

/* The annotator of that name, added when new, in the place of one who never judged where all are taken. */
tv_status tv_session_find_annotator(tv_session *s, const char *name, tv_annotator **out);
uint16_t tv_session_number_of(const tv_session *s, const tv_annotator *who);

/* The item as `who` sees it. A repeat needs its first judgment. */
void tv_session_fill_item(const tv_session *s, const tv_annotator *who, uint64_t index, bool repeat,
                          double t_shown, tv_session_item *out);

/* Whether `who` may judge it for the first time, whoever holds it. */
bool tv_session_is_open(const tv_session *s, const tv_annotator *who, uint64_t index);
/* Whether a repeat of it, where it is one of those, is still to come. */
bool tv_session_has_repeat(const tv_annotator *who, uint64_t index);

/* An item that is free for `who`: a repeat that at least `gap` judgments came after, one that others have
 * judged, one that nobody has. */
bool tv_session_find_repeat(const tv_session *s, const tv_annotator *who, uint32_t gap, uint64_t *index);
bool tv_session_find_shared(const tv_session *s, const tv_annotator *who, uint64_t *index);
bool tv_session_find_fresh(tv_session *s, uint64_t *index);

/* Whether nothing was heard of them for so long that what they hold may go to others. */
bool tv_session_is_away(const tv_session *s, const tv_annotator *who);
/* Takes what those who are away hold and `who` may judge. Whether there was any. */
bool tv_session_reclaim(tv_session *s, const tv_annotator *who);

tv_status tv_session_hold(tv_session *s, tv_annotator *who, uint64_t index, bool repeat);
void tv_session_let_go(tv_session *s, tv_annotator *who, uint64_t place);

/* The state after a judgment: on opening for each line of the file, then after each line that is written. */
void tv_session_remember(tv_session *s, tv_annotator *who, uint64_t index, const tv_ranking *ranking);
/* The state before it. */
void tv_session_forget(tv_session *s, tv_annotator *who, uint64_t index, bool repeat);
tv_status tv_session_add_record(tv_session *s, tv_session_record added);

#endif

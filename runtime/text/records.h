/* The records of a JSON file (or the lines of a text), out of chunks of its bytes: its lines, or the items of
 * the one array that it is.
 *
 * Promise: what the first byte that is no white space says is what the file is. Records come in order, each
 * with the line it begins in; blank lines are passed over, and so is a mark of UTF-8. A record over
 * TV_MOST_RECORD, an array that does not end, and text behind its end are TV_E_DATA with file and line. An
 * item of an array is one line too: line breaks between its values become spaces.
 */
#ifndef TV_TEXT_RECORDS_H
#define TV_TEXT_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "text/buffers.h"

/* Parsed, a record takes several times its bytes. */
#define TV_MOST_RECORD (UINT64_C(64) << 20)

typedef struct tv_record {
    const uint8_t *bytes; /* not blank, without its end of line; theirs for the length of the call */
    uint64_t size;
    uint64_t line; /* in which it begins, from 1 */
    uint64_t item; /* of the array, from 1; 0: it is a line */
} tv_record;
typedef tv_status (*tv_record_sink)(void *context, const tv_record *record);

/* Zero-initialise and set the first three, or four; free with tv_records_free. */
typedef struct tv_records {
    const char *name; /* of the file, for sentences */
    tv_record_sink sink;
    void *context;
    bool plain;          /* lines of text, not JSON: all of them, and all of each but its end of line */
    uint64_t line, item; /* so far */
    tv_text carried;     /* the beginning of a record that goes on in the next chunk */
    uint64_t began;      /* the line of an item's beginning */
    uint64_t depth;      /* in an array: of brackets within the item */
    enum { TV_RECORDS_UNKNOWN, TV_RECORDS_LINES, TV_RECORDS_ARRAY, TV_RECORDS_ARRAY_ENDED } kind;
    bool in_text, escaped;
} tv_records;

tv_status tv_records_take(tv_records *records, const uint8_t *bytes, uint64_t size);
/* After the last chunk. */
tv_status tv_records_finish(tv_records *records);
void tv_records_free(tv_records *records);

#endif

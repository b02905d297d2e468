/* Documents from files: text, folders of text or source code, {"text": ...} JSON lines, plain or compressed.
 *
 * Promise: a text file is one document (or, by line, each line that is not empty); a folder is read with all
 * below it in the order of names, without hidden entries, links and binary files; *.jsonl and *.ndjson (and a
 * *.json that is named itself) hold one {"text": s} a line. gzip and zstd are recognised by content. Bytes
 * are handed on as they are. Lines stream; a document is in memory as a whole. Missing and empty inputs are
 * TV_E_DATA.
 */
#ifndef TV_TEXT_SOURCE_H
#define TV_TEXT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Gets each document in order, never an empty one; a failure stops the reading and is returned. */
typedef tv_status (*tv_document_sink)(void *context, const uint8_t *bytes, uint64_t length);

typedef struct tv_source_totals {
    uint64_t files, documents, bytes;
    uint64_t skipped; /* binary files in folders */
} tv_source_totals;

/* `totals` may be NULL. */
tv_status tv_source_read(const char *const *paths, uint64_t count, bool by_line, tv_document_sink sink,
                         void *context, tv_source_totals *totals);

/* A file's bytes that are already in memory; `name` decides how they are read. */
tv_status tv_source_read_bytes(const uint8_t *bytes, uint64_t size, const char *name, bool by_line,
                               tv_document_sink sink, void *context);

#endif

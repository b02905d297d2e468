/* What a file is by its first bytes, where it is not what somebody meant to give.
 *
 * Promise: files that people mistake for text, JSON or weights are recognised without being read: other
 * encodings, pointers of Git LFS, archives, pickles, tables. What is not known here is nothing in particular.
 */
#ifndef TV_BASE_FORMS_H
#define TV_BASE_FORMS_H

#include <stdint.h>

/* So many bytes tell. */
enum { TV_FORM_BYTES = 64 };

/* For "found %s": "UTF-16 text; save it as UTF-8"; NULL where the bytes may be text, JSON or anything. gzip
 * and zstd data are among the forms. */
const char *tv_form_name(const void *bytes, uint64_t size);

/* Bytes of the mark of UTF-8 that the text begins with, 0 or 3. It is no part of the text. */
uint64_t tv_mark_size(const void *bytes, uint64_t size);

#endif

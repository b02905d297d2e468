/* Texts made fit for a terminal, into memory that grows: base/visible.h says what becomes of them. */
#ifndef TV_TEXT_VISIBLE_TEXT_H
#define TV_TEXT_VISIBLE_TEXT_H

#include "text/buffers.h"

/* Appends what a terminal may see of the bytes; newlines stay. */
tv_status tv_visible_text(const void *bytes, uint64_t size, tv_text *out);

#endif

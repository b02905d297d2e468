/* A text that is shown while it is drawn: what generate and chat share.
 *
 * Promise: whole characters only; special tokens and the token that ended the text are not shown; the text is
 * kept byte for byte.
 */
#ifndef TV_TOOLS_TEXT_STREAM_H
#define TV_TOOLS_TEXT_STREAM_H

#include <stdbool.h>

#include "stages/sampling.h"
#include "text/buffers.h"

typedef struct tv_text_stream {
    const tv_tokenizer *tokenizer;
    bool print;         /* to standard output as it comes */
    bool answer;        /* it stands for itself, and does not go on from the prompt */
    bool visible;       /* as a terminal may see it (text/visible_text.h); else byte for byte */
    bool interruptible; /* tv_interrupted ends the text early and sets `stopped`; the row still runs then */
    bool stopped;
    tv_text text;     /* all that was drawn */
    uint64_t printed; /* bytes of it */
    uint64_t tokens;  /* decoded so far */
} tv_text_stream;
void tv_text_stream_free(tv_text_stream *stream);

/* Prints bytes to standard output, `visible` or as they are. */
tv_status tv_text_print(const void *bytes, uint64_t size, bool visible);

/* Runs a decoder of one row to the end of its text. *seconds is the time after the first draw. */
tv_status tv_text_stream_run(tv_decoder *decoder, tv_text_stream *stream, double *seconds);

#endif

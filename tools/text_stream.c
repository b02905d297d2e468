/* A text that is shown while it is drawn: see text_stream.h. */
#include "tools/text_stream.h"

#include <stdio.h>

#include "base/os.h"
#include "text/visible_text.h"

/* Between two looks at the text the device works on its own for about this long. */
static const double seconds_per_look = 0.1;
enum { MAX_STEPS_PER_LOOK = 64 };

void tv_text_stream_free(tv_text_stream *stream) {
    tv_text_free(&stream->text);
}

tv_status tv_text_print(const void *bytes, uint64_t size, bool visible) {
    tv_status status;
    tv_text shown = {0};
    TV_TRY(visible ? tv_visible_text(bytes, size, &shown) : tv_text_append(&shown, bytes, size));
    if (fwrite(shown.data, 1, shown.size, stdout) != shown.size || fflush(stdout) != 0)
        status = tv_fail_errno(TV_E_IO, "cannot write to standard output");
fail:
    tv_text_free(&shown);
    return status;
}

/* Takes the drawn tokens up to `count`; prints whole characters only, and at the end what is left. */
static tv_status take(tv_text_stream *stream, const uint32_t *tokens, uint64_t count, bool last) {
    for (; stream->tokens < count; stream->tokens++)
        TV_RETURN_IF_FAILED(tv_sampling_decode(stream->tokenizer, tokens[stream->tokens], &stream->text));
    if (!stream->print)
        return TV_OK;
    uint64_t end = stream->text.size - (last ? 0 : tv_utf8_unfinished(stream->text.data, stream->text.size));
    if (end <= stream->printed)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_text_print(stream->text.data + stream->printed, end - stream->printed, stream->visible));
    stream->printed = end;
    return TV_OK;
}

tv_status tv_text_stream_run(tv_decoder *decoder, tv_text_stream *stream, double *seconds) {
    tv_decoder_row row = tv_decoder_read(decoder, 0);
    /* The first look comes with the first drawn token. */
    uint64_t steps = row.prompt_length - row.length + 1, running = 1;
    for (double start = 0; running;) {
        double before = tv_seconds();
        TV_RETURN_IF_FAILED(tv_decoder_run(decoder, steps, &running));
        double now = tv_seconds();
        row = tv_decoder_read(decoder, 0);
        uint64_t end = row.length - (row.finished == TV_DECODE_END_OF_TEXT);
        TV_RETURN_IF_FAILED(
            take(stream, row.tokens + row.prompt_length, end - tv_min_u64(end, row.prompt_length), !running));
        double fitting = seconds_per_look * (double)steps / (now - before);
        steps = fitting < 1 ? 1 : fitting > MAX_STEPS_PER_LOOK ? MAX_STEPS_PER_LOOK : (uint64_t)fitting;
        start = start > 0 ? start : now;
        *seconds = now - start;
    }
    return TV_OK;
}

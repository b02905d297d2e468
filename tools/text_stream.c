/* A text that is shown while it is drawn: see text_stream.h. */
#include "tools/text_stream.h"

#include <stdio.h>

#include "base/os.h"
#include "text/visible_text.h"

void tv_text_stream_free(tv_text_stream *stream) {
    tv_text_free(&stream->text);
}

tv_status tv_text_print(const void *bytes, uint64_t size, bool visible) {
    tv_status status;
    tv_text shown = {0};
    TV_TRY(visible ? tv_visible_text(bytes, size, &shown) : tv_text_append(&shown, bytes, size));
    /* What is shown may be nothing, without memory. */
    if ((shown.size && fwrite(shown.data, 1, shown.size, stdout) != shown.size) || fflush(stdout) != 0)
        status = tv_fail_errno(TV_E_IO, "cannot write to standard output");
done:
    tv_text_free(&shown);
    return status;
}

/* Takes the drawn tokens up to `count`; prints whole characters only, and at the end what is left. */
static tv_status take(tv_text_stream *stream, const uint32_t *tokens, uint64_t count, bool last) {
    for (; stream->tokens < count; stream->tokens++)
        TV_RETURN_IF_FAILED(tv_sampling_decode(stream->tokenizer, tokens[stream->tokens],
                                               stream->answer && stream->tokens == 0, &stream->text));
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

static tv_status look(void *context, const tv_decoder_row *row, bool *go_on) {
    tv_text_stream *stream = context;
    bool running = row->finished == TV_DECODE_RUNNING;
    stream->stopped = stream->interruptible && running && tv_interrupted();
    *go_on = !stream->stopped;
    uint64_t end = row->length - (row->finished == TV_DECODE_END_OF_TEXT);
    return take(stream, row->tokens + row->prompt_length, end - tv_min_u64(end, row->prompt_length),
                !running || stream->stopped);
}

tv_status tv_text_stream_run(tv_decoder *decoder, tv_text_stream *stream, double *seconds) {
    return tv_sampling_run(decoder, look, stream, seconds);
}

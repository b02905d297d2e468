/* The thread's last failure: see status.h. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* status.h wraps them; here they are defined. */
#undef tv_fail
#undef tv_fail_errno

/* Room for two paths and a sentence. */
enum { SENTENCE_BYTES = 4096 };

static _Thread_local char sentence[SENTENCE_BYTES];

const char *tv_last_error(void) {
    return sentence;
}

const char *tv_status_name(tv_status status) {
    switch (status) {
    case TV_OK:
        return "TV_OK";
    case TV_E_IO:
        return "TV_E_IO";
    case TV_E_MEMORY:
        return "TV_E_MEMORY";
    case TV_E_DEVICE:
        return "TV_E_DEVICE";
    case TV_E_DEVICE_LOST:
        return "TV_E_DEVICE_LOST";
    case TV_E_NO_DEVICE:
        return "TV_E_NO_DEVICE";
    case TV_E_USAGE:
        return "TV_E_USAGE";
    case TV_E_CONFIG:
        return "TV_E_CONFIG";
    case TV_E_DATA:
        return "TV_E_DATA";
    case TV_E_FIT:
        return "TV_E_FIT";
    case TV_E_NUMERIC:
        return "TV_E_NUMERIC";
    case TV_E_INTERRUPTED:
        return "TV_E_INTERRUPTED";
    }
    return "unknown status";
}

/* Arguments may point into the current sentence, so the new one is built aside. */
static void set_sentence(const char *suffix, const char *format, va_list args) {
    char text[SENTENCE_BYTES];
    int written = vsnprintf(text, sizeof text, format, args);
    if (written < 0)
        text[0] = '\0';
    int whole = snprintf(sentence, sizeof sentence, "%.*s%s%s", SENTENCE_BYTES / 2, text,
                         suffix[0] ? ": " : "", suffix);
    if (whole >= SENTENCE_BYTES) /* cut: say so */
        memcpy(sentence + SENTENCE_BYTES - sizeof "...", "...", sizeof "...");
}

tv_status tv_fail(tv_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_sentence("", format, args);
    va_end(args);
    return status;
}

tv_status tv_fail_advice(tv_status status, tv_status of, const char *format, ...) {
    if (status == TV_OK || status != of)
        return status;
    char advice[SENTENCE_BYTES];
    va_list args;
    va_start(args, format);
    int written = vsnprintf(advice, sizeof advice, format, args);
    va_end(args);
    return written < 0 ? status : (tv_fail)(status, "%s; %s", sentence, advice);
}

tv_status tv_fail_errno(tv_status status, const char *format, ...) {
    char reason[256];
    snprintf(reason, sizeof reason, "%s", strerror(errno));
    va_list args;
    va_start(args, format);
    set_sentence(reason, format, args);
    va_end(args);
    return status;
}

tv_status tv_fail_context(tv_status status, const char *format, ...) {
    if (status == TV_OK)
        return TV_OK;
    char previous[SENTENCE_BYTES];
    snprintf(previous, sizeof previous, "%s", sentence);
    va_list args;
    va_start(args, format);
    set_sentence(previous, format, args);
    va_end(args);
    return status;
}

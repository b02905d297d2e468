/* The one error path: record a sentence, return a status.
 *
 * Usage: `return tv_fail(TV_E_DATA, "%s: expected ..., found ...; do ...", path, ...);`
 * Needs nothing; everything else needs it.
 */
#ifndef TV_BASE_STATUS_H
#define TV_BASE_STATUS_H

#include "trivium/status.h"

/* Replaces the thread's sentence and returns `status`. Overlong text is cut, never overrun. */
tv_status tv_fail(tv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As tv_fail, and appends ": " and the text of the current errno. */
tv_status tv_fail_errno(tv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the sentence of the failure that is on its way up, and returns `status`; of TV_OK
 * it does nothing. */
tv_status tv_fail_context(tv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "; advice" behind the sentence of a failure of the kind `of`, and returns `status`, whatever it is.
 * How what knows keys and commands adds what to do to a fact of what does not: `return
 * tv_fail_advice(tv_loader_create(...), TV_E_FIT, "lower data.seq_len");` */
tv_status tv_fail_advice(tv_status status, tv_status of, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Compilers and analyzers do not see into status.c and would follow failures that return TV_OK; this shows
 * them which status comes back. `status` is evaluated twice: it is a name or a constant, never a call. */
static inline tv_status tv_status_shown_(tv_status recorded, tv_status status) {
    (void)recorded;
    return status;
}
#define tv_fail(status, ...)       tv_status_shown_((tv_fail)((status), __VA_ARGS__), (status))
#define tv_fail_errno(status, ...) tv_status_shown_((tv_fail_errno)((status), __VA_ARGS__), (status))

/* Leaves the enclosing function when `call` fails, by the label that cleans up; needs a local `status`.
 * `done:` is reached on success too, `fail:`, behind a return, by failures alone. */
#define TV_TRY_GOTO_(call, label)                                                                            \
    do {                                                                                                     \
        status = (call);                                                                                     \
        if (status != TV_OK)                                                                                 \
            goto label;                                                                                      \
    } while (0)
#define TV_TRY(call)         TV_TRY_GOTO_(call, done)
#define TV_TRY_OR_FAIL(call) TV_TRY_GOTO_(call, fail)

/* Returns from the enclosing function when `call` fails; only where there is nothing to clean up. */
#define TV_RETURN_IF_FAILED(call)                                                                            \
    do {                                                                                                     \
        tv_status tv_status_ = (call);                                                                       \
        if (tv_status_ != TV_OK)                                                                             \
            return tv_status_;                                                                               \
    } while (0)

#endif

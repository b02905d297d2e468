/* Messages for people: progress, warnings and what was found, from everywhere in the library.
 *
 * Promise: one line per message, without its end, of which a terminal shows every character as it is meant,
 * whatever names and texts are in it. Without a callback, lines go to standard error.
 */
#ifndef TRIVIUM_LOG_H
#define TRIVIUM_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tv_log_level { TV_LOG_DEBUG, TV_LOG_INFO, TV_LOG_WARNING, TV_LOG_ERROR } tv_log_level;

/* Lines below `level` are dropped. The default is TV_LOG_INFO, or TV_LOG_DEBUG where the environment has
 * TRIVIUM_DEBUG.
 * Thread-safety: any thread, any time; holds for the whole process. */
void tv_log_set_level(tv_log_level level);

/* Gets each line, which lasts until it returns. It must not call trivium; it may be called by any thread that
 * does, and by the library's own, several at once. */
typedef void (*tv_log_callback)(void *context, tv_log_level level, const char *line);

/* From here on lines go to `callback`; NULL: to standard error again.
 * Thread-safety: while no other thread is within trivium; holds for the whole process. */
void tv_log_set_callback(tv_log_callback callback, void *context);

#ifdef __cplusplus
}
#endif

#endif

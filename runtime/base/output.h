/* Output files: one rule for whatever a command writes.
 *
 * Promise: a file is replaced as a whole or not at all, by a new one of the same mode, and of the same owner
 * where that is allowed. Two kinds of names:
 *   - `named` by a person: a link there is followed to where it leads when the file is opened and stays a
 * link; one that leads elsewhere at the end is never written through. What is write-protected is refused.
 * Pipes and devices are written straight.
 *   - made by the program inside a directory, which may come from somebody else: a link is never followed.
 *     Writers put a file in its place, appenders refuse it.
 * tv_output_check keeps a command from writing over what it reads.
 */
#ifndef TV_BASE_OUTPUT_H
#define TV_BASE_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* TV_E_USAGE when `path` leads to the same file (device and inode) as one of `inputs`, of which NULL is
 * skipped. */
tv_status tv_output_check(const char *path, const char *const *inputs, uint64_t count);

/* TV_E_IO when the program's own name `path` is a link, through which it would write elsewhere. */
tv_status tv_output_refuse_link(const char *path);

/* Writing a file: bytes go to a temporary name beside it; tv_writer_commit fsyncs, renames and fsyncs the
 * directory. tv_writer_abort (or a failed commit) removes the temporary file and clears the handle. */
typedef struct tv_writer tv_writer;
tv_status tv_writer_open(const char *path, tv_writer **writer);
tv_status tv_writer_open_named(const char *path, tv_writer **writer);
tv_status tv_writer_write(tv_writer *writer, const void *bytes, uint64_t size);
/* Overwrites bytes that were already written, for headers known only at the end; a pipe has no place. */
tv_status tv_writer_write_at(tv_writer *writer, uint64_t offset, const void *bytes, uint64_t size);
tv_status tv_writer_commit(tv_writer **writer);
void tv_writer_abort(tv_writer **writer);
/* All of the above in one call. */
tv_status tv_write_file(const char *path, const void *bytes, uint64_t size);
tv_status tv_write_named_file(const char *path, const void *bytes, uint64_t size);

/* An append-only file of lines (metrics, rankings): each tv_append_line is one write of the line and its
 * newline. With `durable` it is fsynced, and known to lie behind what was there under the file's name, before
 * the call returns: TV_E_IO when another program has replaced, removed or changed the file. What failed is
 * not in it. `truncate_to` cuts the file first (UINT64_MAX: keep all). */
typedef struct tv_appender tv_appender;
tv_status tv_appender_open(const char *path, uint64_t truncate_to, bool durable, tv_appender **appender);
tv_status tv_appender_open_named(const char *path, uint64_t truncate_to, bool durable,
                                 tv_appender **appender);
/* Refuses a second process that asks for the same file, until this one closes it or ends; TV_E_IO names the
 * file. */
tv_status tv_appender_lock(tv_appender *appender);
tv_status tv_append_line(tv_appender *appender, const char *line, uint64_t length);
tv_status tv_append_bytes(tv_appender *appender, const void *bytes, uint64_t size);
/* Cuts the open file to `size` bytes: what was found torn is cut only once the file is locked. */
tv_status tv_appender_cut(tv_appender *appender, uint64_t size);
/* TV_E_IO when the name leads to another file or none, or when the file has not the size that was written. */
tv_status tv_appender_check(const tv_appender *appender);
/* When the name leads to another file or none: writes what the open file holds beside it and gives the new
 * file's name, which the caller frees. *path is NULL where there is nothing to rescue. */
tv_status tv_appender_rescue(const tv_appender *appender, char **path);
void tv_appender_close(tv_appender **appender);

#endif

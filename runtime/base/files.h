/* Files: mapping, whole reads, atomic replacement, directories, links.
 *
 * Promise: whatever is written through here is either whole under its final name or absent; readers never see
 * half a file. With os.h the only place that knows POSIX.
 */
#ifndef TV_BASE_FILES_H
#define TV_BASE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

/* A read-only view of a file. Zero-initialised it is empty; tv_unmap clears it. */
typedef struct tv_mapping {
    const uint8_t *data;
    uint64_t size;
} tv_mapping;
tv_status tv_map_file(const char *path, tv_mapping *mapping);
void tv_unmap(tv_mapping *mapping);

/* The whole file and a terminating zero that `size` does not count. The caller frees *text. `size` may be
 * NULL. */
tv_status tv_read_file(const char *path, char **text, uint64_t *size);

bool tv_path_exists(const char *path);
bool tv_path_is_directory(const char *path);
/* Size of a regular file; TV_E_IO with the sentence when it is missing or no file. */
tv_status tv_file_size(const char *path, uint64_t *size);

/* Creates the directory and its missing parents; an existing one is fine. */
tv_status tv_make_dirs(const char *path);
/* Entries without "." and "..", sorted by bytes; the caller frees with tv_free_names. */
tv_status tv_list_dir(const char *path, char ***names, uint64_t *count);
void tv_free_names(char ***names, uint64_t count);
/* Removes a file, link or whole directory tree; a missing path is fine. */
tv_status tv_remove_tree(const char *path);

/* Writing a file: bytes go to a temporary name beside `path`; tv_writer_commit fsyncs, renames and fsyncs the
 * directory. tv_writer_abort (or a failed commit) removes the temporary file and clears the handle. */
typedef struct tv_writer tv_writer;
tv_status tv_writer_open(const char *path, tv_writer **writer);
tv_status tv_writer_write(tv_writer *writer, const void *bytes, uint64_t size);
/* Overwrites bytes that were already written, for headers known only at the end. */
tv_status tv_writer_write_at(tv_writer *writer, uint64_t offset, const void *bytes, uint64_t size);
tv_status tv_writer_commit(tv_writer **writer);
void tv_writer_abort(tv_writer **writer);
/* Removes what writers of files and links in this directory left when their process was killed. */
tv_status tv_remove_temporaries(const char *directory);
/* All of the above in one call. */
tv_status tv_write_file(const char *path, const void *bytes, uint64_t size);

/* An append-only file of lines (metrics, rankings): each tv_append_line is one write of the line and its
 * newline; with `durable` it is fsynced before the call returns. `truncate_to` cuts the file first
 * (UINT64_MAX: keep all). */
typedef struct tv_appender tv_appender;
tv_status tv_appender_open(const char *path, uint64_t truncate_to, bool durable, tv_appender **appender);
/* Refuses a second process that asks for the same file, until this one closes it or ends; TV_E_IO names the
 * file. */
tv_status tv_appender_lock(tv_appender *appender);
/* Cuts the file to `size` bytes: what was found torn is cut only once the file is locked. */
tv_status tv_appender_cut(tv_appender *appender, uint64_t size);
tv_status tv_append_line(tv_appender *appender, const char *line, uint64_t length);
tv_status tv_append_bytes(tv_appender *appender, const void *bytes, uint64_t size);
void tv_appender_close(tv_appender **appender);

/* Makes the directory's entries durable, then renames `from` to `to`; `to` must not exist as a non-empty
 * directory. */
tv_status tv_rename_durable(const char *from, const char *to);
/* fsync of a directory. */
tv_status tv_sync_dir(const char *path);
/* Points the relative symbolic link `link` at `target`, replaced by rename. */
tv_status tv_replace_link(const char *target, const char *link);
/* The link's text; the caller frees. TV_E_IO when it is no link. */
tv_status tv_read_link(const char *link, char **target);

/* Opens for streaming input; reads up to `size` bytes, 0 at the end. */
typedef struct tv_reader tv_reader;
tv_status tv_reader_open(const char *path, tv_reader **reader);
tv_status tv_reader_read(tv_reader *reader, void *bytes, uint64_t size, uint64_t *got);
void tv_reader_close(tv_reader **reader);

#endif

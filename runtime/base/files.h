/* Files: reading by place, as a whole and as a stream; directories, links, durable renames. Writing is
 * output.h's.
 *
 * Promise: nothing here waits for a pipe, or ends the process, because of what somebody put in the place of a
 * file or did to it meanwhile; a file is whole or a sentence says so.
 */
#ifndef TV_BASE_FILES_H
#define TV_BASE_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/output.h"
#include "base/status.h"

/* A file that is read by place. Bytes that another program has cut off since it was opened are TV_E_IO with a
 * sentence, where a mapping would end the process. The caller owns the handle. */
typedef struct tv_file tv_file;
tv_status tv_file_open(const char *path, tv_file **file);
/* When it was opened. */
uint64_t tv_file_bytes(const tv_file *file);
/* [offset, offset + size) must lie within tv_file_bytes. Threads may read at once. */
tv_status tv_file_read_at(const tv_file *file, uint64_t offset, void *bytes, uint64_t size);
void tv_file_close(tv_file **file);

/* The whole file and a terminating zero that `size` does not count. The caller frees *text. `size` may be
 * NULL. What is no file is refused before it is opened: a pipe that nobody writes would wait for ever. */
tv_status tv_read_file(const char *path, char **text, uint64_t *size);
/* The same of what a person named as data: also a pipe or a terminal, to its end. */
tv_status tv_read_input(const char *path, char **text, uint64_t *size);

bool tv_path_exists(const char *path);
bool tv_path_is_directory(const char *path);
/* A pipe or a device: what it gave once it does not give again. */
bool tv_path_is_stream(const char *path);
/* "a file", "a directory", "a pipe", "a device", "a socket" or "nothing of that name", for sentences. */
const char *tv_path_kind(const char *path);
/* Size of a regular file; TV_E_IO with the sentence when it is missing or no file. */
tv_status tv_file_size(const char *path, uint64_t *size);

/* The path from the root, without links; TV_E_IO when there is nothing. The caller frees *real. */
tv_status tv_real_path(const char *path, char **real);
/* Creates the directory and its missing parents, durably; an existing one is fine. */
tv_status tv_make_dirs(const char *path);
/* Entries without "." and "..", sorted by bytes; the caller frees with tv_free_names. */
tv_status tv_list_dir(const char *path, char ***names, uint64_t *count);
void tv_free_names(char ***names, uint64_t count);
/* Removes a file, link or whole directory tree; a missing path is fine. */
tv_status tv_remove_tree(const char *path);

/* Removes what writers of files and links in this directory left when their process was killed. */
tv_status tv_remove_temporaries(const char *directory);
/* Renames `from` to `to`, which must not exist as a non-empty directory, and makes the new name durable. */
tv_status tv_rename_durable(const char *from, const char *to);
/* fsync of the directory in which `path` lies. */
tv_status tv_sync_parent(const char *path);
/* Points the relative symbolic link `link` at `target`, replaced by rename. */
tv_status tv_replace_link(const char *target, const char *link);
/* The link's text; the caller frees. TV_E_IO when it is no link. */
tv_status tv_read_link(const char *link, char **target);

/* Opens for streaming input, also a pipe or a terminal, but neither directory nor device; reads up to `size`
 * bytes, 0 at the end. A file that has lost its end since it was opened is TV_E_IO. */
typedef struct tv_reader tv_reader;
tv_status tv_reader_open(const char *path, tv_reader **reader);
tv_status tv_reader_read(tv_reader *reader, void *bytes, uint64_t size, uint64_t *got);
void tv_reader_close(tv_reader **reader);

#endif

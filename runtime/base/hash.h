/* Hashes of 128 bits (XXH3), by which files and their parts are recognised.
 *
 * Promise: the same bytes give the same text on every machine, however they were handed in. Against accidents
 * only: someone who wants two files with one hash can make them.
 */
#ifndef TV_BASE_HASH_H
#define TV_BASE_HASH_H

#include <stdint.h>

#include "base/status.h"

/* 32 hexadecimal digits and a zero. */
enum { TV_HASH_TEXT = 33 };

typedef struct tv_hash tv_hash;
tv_status tv_hash_create(tv_hash **hash);
void tv_hash_add(tv_hash *hash, const void *bytes, uint64_t size);
/* Of everything added so far; more may follow. */
void tv_hash_print(const tv_hash *hash, char text[TV_HASH_TEXT]);
void tv_hash_destroy(tv_hash **hash);

/* Adds all bytes of a file; they are streamed. TV_E_IO when it cannot be read. */
tv_status tv_hash_add_file(tv_hash *hash, const char *path);
/* The hash of one file. */
tv_status tv_hash_file(const char *path, char text[TV_HASH_TEXT]);

#endif

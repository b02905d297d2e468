/* Token shards in the format of llm.c: 256 int32 of header (magic, version, count, zeros), then the tokens.
 *
 * Promise: magic 20240520 version 1 holds uint16 tokens, magic 20240801 version 7 holds uint32 tokens; a
 * shard that is cut short, has another header, or holds a token outside the vocabulary is refused when it is
 * opened, with the place, and while it is read if that happens to it later. A written shard appears whole or
 * not at all. Numbers in the file are little-endian.
 */
#ifndef TV_TEXT_SHARD_H
#define TV_TEXT_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { TV_SHARD_HEADER_BYTES = 1024, TV_SHARD_MAX_TOKENS = INT32_MAX };

/* Whether a file that begins with these four bytes means to be a shard. */
bool tv_shard_begins(const uint8_t bytes[4]);
typedef struct tv_shard tv_shard;
/* Opens and checks; a missing file is TV_E_DATA. `vocab_size` 0: any token will do. */
tv_status tv_shard_open(const char *path, uint32_t vocab_size, tv_shard **shard);
/* The same over bytes that the caller keeps alive; `name` is for sentences. */
tv_status tv_shard_open_bytes(const uint8_t *bytes, uint64_t size, const char *name, uint32_t vocab_size,
                              tv_shard **shard);
void tv_shard_close(tv_shard **shard);
uint64_t tv_shard_count(const tv_shard *shard);
/* Copies tokens [start, start + count), which must lie in the shard. TV_E_IO when the file was cut since it
 * was opened, TV_E_DATA when what it holds now is outside the vocabulary. */
tv_status tv_shard_read(const tv_shard *shard, uint64_t start, uint64_t count, uint32_t *out);

/* Writes uint16 tokens for a vocabulary of up to 65,535 and uint32 tokens above. */
typedef struct tv_shard_writer tv_shard_writer;
tv_status tv_shard_writer_open(const char *path, uint32_t vocab_size, tv_shard_writer **writer);
/* Fails with TV_E_DATA on an id outside the vocabulary and with TV_E_FIT on more than TV_SHARD_MAX_TOKENS
 * tokens, which is what the header's int32 holds. */
tv_status tv_shard_writer_add(tv_shard_writer *writer, const uint32_t *ids, uint64_t count);
/* Puts the shard in its place and clears the handle, which is cleared on failure too. */
tv_status tv_shard_writer_commit(tv_shard_writer **writer);
void tv_shard_writer_abort(tv_shard_writer **writer);

#endif

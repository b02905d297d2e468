/* Token shards: see shard.h. */
#include "text/shard.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/forms.h"

enum { MAGIC_16 = 20240520, VERSION_16 = 1, MAGIC_32 = 20240801, VERSION_32 = 7, BUFFERED = 32768 };

bool tv_shard_begins(const uint8_t bytes[4]) {
    int32_t magic;
    memcpy(&magic, bytes, sizeof magic);
    return magic == MAGIC_16 || magic == MAGIC_32;
}

struct tv_shard {
    char *path;
    tv_file *file;        /* NULL: the caller's bytes */
    const uint8_t *bytes; /* of the whole shard */
    uint64_t size, count;
    uint32_t token_bytes; /* 2 or 4 */
    uint32_t vocab_size;
};

static tv_status read_bytes(const tv_shard *shard, uint64_t offset, void *out, uint64_t size) {
    if (shard->file)
        return tv_file_read_at(shard->file, offset, out, size);
    memcpy(out, shard->bytes + offset, size);
    return TV_OK;
}

tv_status tv_shard_read(const tv_shard *shard, uint64_t start, uint64_t count, uint32_t *out) {
    uint8_t *bytes = (uint8_t *)out;
    TV_RETURN_IF_FAILED(read_bytes(shard, TV_SHARD_HEADER_BYTES + start * shard->token_bytes, bytes,
                                   count * shard->token_bytes));
    /* From the end, so that none is overwritten before it is read. */
    for (uint64_t i = count; shard->token_bytes == 2 && i-- > 0;) {
        uint16_t token;
        memcpy(&token, bytes + i * 2, sizeof token);
        out[i] = token;
    }
    for (uint64_t i = 0; shard->vocab_size && i < count; i++)
        if (out[i] >= shard->vocab_size)
            return tv_fail(TV_E_DATA,
                           "%s: expected tokens of a vocabulary of %u, found token %u at position %llu (byte "
                           "%llu); use the tokenizer and the model that the shard was packed for",
                           shard->path, shard->vocab_size, out[i], (unsigned long long)(start + i),
                           (unsigned long long)(TV_SHARD_HEADER_BYTES + (start + i) * shard->token_bytes));
    return TV_OK;
}

static tv_status check_header(tv_shard *shard) {
    int32_t header[3];
    uint8_t bytes[TV_FORM_BYTES] = {0};
    const char *path = shard->path, *form = NULL;
    uint64_t probed = tv_min_u64(shard->size, sizeof bytes);
    if (probed)
        TV_RETURN_IF_FAILED(read_bytes(shard, 0, bytes, probed));
    if (!tv_shard_begins(bytes))
        form = tv_form_name(bytes, probed);
    if (form)
        return tv_fail(TV_E_DATA, "%s: expected a token shard, found %s", path, form);
    if (shard->size < TV_SHARD_HEADER_BYTES)
        return tv_fail(TV_E_DATA,
                       "%s: expected a token shard with a header of %d bytes, found a file of %llu bytes",
                       path, TV_SHARD_HEADER_BYTES, (unsigned long long)shard->size);
    memcpy(header, bytes, sizeof header);
    if (!tv_shard_begins(bytes))
        return tv_fail(TV_E_DATA, "%s: expected a token shard with the magic number %d or %d, found %d", path,
                       MAGIC_16, MAGIC_32, header[0]);
    int32_t version = header[0] == MAGIC_16 ? VERSION_16 : VERSION_32;
    if (header[1] != version)
        return tv_fail(TV_E_DATA, "%s: expected version %d of a token shard with magic number %d, found %d",
                       path, version, header[0], header[1]);
    if (header[2] <= 0)
        return tv_fail(TV_E_DATA, "%s: expected a token shard with tokens in it, its header counts %d", path,
                       header[2]);
    shard->count = (uint64_t)header[2];
    shard->token_bytes = header[0] == MAGIC_16 ? 2 : 4;
    uint64_t expected = TV_SHARD_HEADER_BYTES + shard->count * shard->token_bytes;
    if (shard->size != expected)
        return tv_fail(TV_E_DATA,
                       "%s: expected %llu bytes for the %d tokens that its header counts, found %llu: %s",
                       path, (unsigned long long)expected, header[2], (unsigned long long)shard->size,
                       shard->size < expected ? "the file was cut short; copy or pack it again"
                                              : "something was appended; pack it again");
    return TV_OK;
}

static tv_status check(tv_shard *shard) {
    enum { CHUNK = 1 << 16 };
    TV_RETURN_IF_FAILED(check_header(shard));
    if (!shard->vocab_size)
        return TV_OK;
    uint32_t *tokens = malloc(CHUNK * sizeof *tokens);
    tv_status status =
        tokens ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory while reading %s", shard->path);
    for (uint64_t i = 0; i < shard->count && status == TV_OK; i += CHUNK)
        status = tv_shard_read(shard, i, tv_min_u64(CHUNK, shard->count - i), tokens);
    free(tokens);
    return status;
}

/* Takes `file` over, which is NULL where the bytes are the caller's. */
static tv_status open_shard(tv_file *file, const uint8_t *bytes, uint64_t size, const char *path,
                            uint32_t vocab_size, tv_shard **out) {
    tv_status status;
    tv_shard *shard = calloc(1, sizeof *shard);
    *out = NULL;
    if (!shard) {
        tv_file_close(&file);
        return tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
    }
    *shard = (tv_shard){.file = file, .bytes = bytes, .size = size, .vocab_size = vocab_size};
    if (!(shard->path = tv_format("%s", path))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(check(shard));
    *out = shard;
    return TV_OK;
fail:
    tv_shard_close(&shard);
    return status;
}

tv_status tv_shard_open(const char *path, uint32_t vocab_size, tv_shard **shard) {
    tv_file *file = NULL;
    *shard = NULL;
    if (!tv_path_exists(path))
        return tv_fail(TV_E_DATA, "%s: expected a token shard, found no such file", path);
    TV_RETURN_IF_FAILED(tv_file_open(path, &file));
    return open_shard(file, NULL, tv_file_bytes(file), path, vocab_size, shard);
}

tv_status tv_shard_open_bytes(const uint8_t *bytes, uint64_t size, const char *name, uint32_t vocab_size,
                              tv_shard **shard) {
    return open_shard(NULL, bytes, size, name, vocab_size, shard);
}

void tv_shard_close(tv_shard **shard) {
    if (!shard || !*shard)
        return;
    tv_file_close(&(*shard)->file);
    free((*shard)->path);
    free(*shard);
    *shard = NULL;
}

uint64_t tv_shard_count(const tv_shard *shard) {
    return shard->count;
}

struct tv_shard_writer {
    tv_writer *file;
    char *path;
    uint64_t count, buffered;
    uint32_t vocab_size;
    uint32_t token_bytes;
    uint8_t buffer[BUFFERED * 4];
};

static void free_writer(tv_shard_writer **writer) {
    tv_writer_abort(&(*writer)->file);
    free((*writer)->path);
    free(*writer);
    *writer = NULL;
}

tv_status tv_shard_writer_open(const char *path, uint32_t vocab_size, tv_shard_writer **out) {
    *out = NULL;
    tv_status status;
    tv_shard_writer *writer = calloc(1, sizeof *writer);
    if (!writer || !(writer->path = tv_format("%s", path))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while writing %s", path);
        goto fail;
    }
    writer->vocab_size = vocab_size;
    writer->token_bytes = vocab_size > UINT16_MAX ? 4 : 2;
    TV_TRY_OR_FAIL(tv_writer_open_named(path, &writer->file));
    TV_TRY_OR_FAIL(tv_writer_write(writer->file, writer->buffer, TV_SHARD_HEADER_BYTES));
    *out = writer;
    return TV_OK;
fail:
    tv_shard_writer_abort(&writer);
    return status;
}

static tv_status flush(tv_shard_writer *writer) {
    TV_RETURN_IF_FAILED(
        tv_writer_write(writer->file, writer->buffer, writer->buffered * writer->token_bytes));
    writer->buffered = 0;
    return TV_OK;
}

tv_status tv_shard_writer_add(tv_shard_writer *writer, const uint32_t *ids, uint64_t count) {
    if (count > TV_SHARD_MAX_TOKENS - writer->count)
        return tv_fail(TV_E_FIT, "%s: expected at most %d tokens in a shard, found more", writer->path,
                       TV_SHARD_MAX_TOKENS);
    for (uint64_t i = 0; i < count; i++) {
        if (ids[i] >= writer->vocab_size)
            return tv_fail(TV_E_DATA, "%s: expected tokens of a vocabulary of %u, found token %u",
                           writer->path, writer->vocab_size, ids[i]);
        uint16_t narrow = (uint16_t)ids[i];
        memcpy(writer->buffer + writer->buffered * writer->token_bytes,
               writer->token_bytes == 4 ? (const void *)&ids[i] : (const void *)&narrow, writer->token_bytes);
        if (++writer->buffered == BUFFERED)
            TV_RETURN_IF_FAILED(flush(writer));
    }
    writer->count += count;
    return TV_OK;
}

tv_status tv_shard_writer_commit(tv_shard_writer **handle) {
    tv_shard_writer *writer = *handle;
    tv_status status;
    int32_t header[3] = {MAGIC_16, VERSION_16, (int32_t)writer->count};
    if (writer->token_bytes == 4) {
        header[0] = MAGIC_32;
        header[1] = VERSION_32;
    }
    TV_TRY(flush(writer));
    TV_TRY(tv_writer_write_at(writer->file, 0, header, sizeof header));
    TV_TRY(tv_writer_commit(&writer->file));
done:
    free_writer(handle);
    return status;
}

void tv_shard_writer_abort(tv_shard_writer **writer) {
    if (writer && *writer)
        free_writer(writer);
}

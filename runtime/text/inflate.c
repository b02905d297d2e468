/* gzip through zlib and zstd: see inflate.h. */
#include "text/inflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"

struct tv_inflater {
    const uint8_t *bytes;
    uint64_t size, used;
    const char *name;
    bool whole; /* no member or frame is open */
    bool gzip_open;
    z_stream gzip;
    ZSTD_DStream *zstd; /* NULL: gzip */
};

static bool is_gzip(const uint8_t *bytes, uint64_t size) {
    return size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

static bool is_zstd(const uint8_t *bytes, uint64_t size) {
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    return size >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

bool tv_is_compressed(const uint8_t *bytes, uint64_t size) {
    return is_gzip(bytes, size) || is_zstd(bytes, size);
}

tv_status tv_inflater_create(const uint8_t *bytes, uint64_t size, const char *name, tv_inflater **out) {
    *out = NULL;
    tv_inflater *inflater = calloc(1, sizeof *inflater);
    if (!inflater)
        return tv_fail(TV_E_MEMORY, "out of host memory while reading %s", name);
    inflater->bytes = bytes;
    inflater->size = size;
    inflater->name = name;
    if (is_zstd(bytes, size))
        inflater->zstd = ZSTD_createDStream();
    else
        /* 15 bits of window, 16 more for a gzip header. */
        inflater->gzip_open = inflateInit2(&inflater->gzip, 15 + 16) == Z_OK;
    if (!inflater->zstd && !inflater->gzip_open) {
        tv_inflater_destroy(&inflater);
        return tv_fail(TV_E_MEMORY, "out of host memory while reading %s", name);
    }
    *out = inflater;
    return TV_OK;
}

void tv_inflater_destroy(tv_inflater **inflater) {
    if (!inflater || !*inflater)
        return;
    if ((*inflater)->gzip_open)
        inflateEnd(&(*inflater)->gzip);
    ZSTD_freeDStream((*inflater)->zstd);
    free(*inflater);
    *inflater = NULL;
}

static tv_status cut_short(const tv_inflater *inflater) {
    return tv_fail(TV_E_DATA,
                   "%s: expected more compressed data after its %llu bytes: the file was cut short",
                   inflater->name, (unsigned long long)inflater->size);
}

static tv_status read_gzip(tv_inflater *inflater, uint8_t *out, uint64_t capacity, uint64_t *got) {
    z_stream *stream = &inflater->gzip;
    while (*got == 0) {
        if (inflater->whole) {
            if (inflater->used == inflater->size)
                return TV_OK;
            if (!is_gzip(inflater->bytes + inflater->used, inflater->size - inflater->used))
                return tv_fail(TV_E_DATA,
                               "%s: expected the end of the gzip data or another member at byte %llu, "
                               "found something else",
                               inflater->name, (unsigned long long)inflater->used);
            inflateReset(stream);
            inflater->whole = false;
        }
        uint64_t in = tv_min_u64(inflater->size - inflater->used, 1u << 30);
        uint64_t room = tv_min_u64(capacity, 1u << 30);
        stream->next_in = (Bytef *)(uintptr_t)(inflater->bytes + inflater->used);
        stream->avail_in = (uInt)in;
        stream->next_out = out;
        stream->avail_out = (uInt)room;
        int result = inflate(stream, Z_NO_FLUSH);
        inflater->used += in - stream->avail_in;
        *got = room - stream->avail_out;
        inflater->whole = result == Z_STREAM_END;
        if (result == Z_BUF_ERROR || (result == Z_OK && *got == 0 && inflater->used == inflater->size))
            return cut_short(inflater);
        if (result != Z_OK && result != Z_STREAM_END)
            return tv_fail(result == Z_MEM_ERROR ? TV_E_MEMORY : TV_E_DATA,
                           "%s: expected gzip data, found damage before byte %llu: %s", inflater->name,
                           (unsigned long long)inflater->used, stream->msg ? stream->msg : "unknown");
    }
    return TV_OK;
}

static tv_status read_zstd(tv_inflater *inflater, uint8_t *out, uint64_t capacity, uint64_t *got) {
    ZSTD_inBuffer in = {inflater->bytes, inflater->size, inflater->used};
    ZSTD_outBuffer to = {out, capacity, 0};
    while (to.pos == 0) {
        if (inflater->whole && in.pos == in.size)
            break;
        size_t before = in.pos, result = ZSTD_decompressStream(inflater->zstd, &to, &in);
        if (ZSTD_isError(result))
            return tv_fail(TV_E_DATA, "%s: expected zstd data, found damage before byte %llu: %s",
                           inflater->name, (unsigned long long)in.pos, ZSTD_getErrorName(result));
        inflater->whole = result == 0;
        if (!inflater->whole && to.pos == 0 && in.pos == before && in.pos == in.size)
            return cut_short(inflater);
    }
    inflater->used = in.pos;
    *got = to.pos;
    return TV_OK;
}

tv_status tv_inflater_read(tv_inflater *inflater, uint8_t *out, uint64_t capacity, uint64_t *got) {
    *got = 0;
    return inflater->zstd ? read_zstd(inflater, out, capacity, got) : read_gzip(inflater, out, capacity, got);
}

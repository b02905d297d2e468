/* Beginnings of files: see forms.h. */
#include "base/forms.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

typedef struct beginning {
    const char *bytes;
    uint64_t size;
    const char *name;
} beginning;

#define BEGINNING(bytes, name)                                                                               \
    { bytes, sizeof(bytes) - 1, name }

/* The longer of two that begin alike stands first. */
static const beginning beginnings[] = {
    BEGINNING("\xff\xfe\0\0", "UTF-32 text; save it as UTF-8"),
    BEGINNING("\0\0\xfe\xff", "UTF-32 text; save it as UTF-8"),
    BEGINNING("\xff\xfe", "UTF-16 text; save it as UTF-8"),
    BEGINNING("\xfe\xff", "UTF-16 text; save it as UTF-8"),
    BEGINNING("version https://git-lfs.github.com/spec/",
              "a pointer of Git LFS in place of the file; `git lfs pull` fetches it"),
    BEGINNING("\x1f\x8b", "gzip data"),
    BEGINNING("\x28\xb5\x2f\xfd", "zstd data"),
    BEGINNING("\xfd"
              "7zXZ\0",
              "xz data; unpack it"),
    BEGINNING("BZh91AY&SY", "bzip2 data; unpack it"),
    BEGINNING("7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    BEGINNING("PK\x03\x04", "a zip archive, as PyTorch's files are too (pytorch_model.bin)"),
    BEGINNING("\x80\x02\x8a\x0alN\xc3\x46\xf9\x66\x8f\x0e", "a pickle of PyTorch (pytorch_model.bin)"),
    BEGINNING("PAR1\x15", "a Parquet file; save it as JSON lines"),
    BEGINNING("ARROW1\0\0", "an Arrow file; save it as JSON lines"),
    BEGINNING("%PDF-", "a PDF; save it as text"),
    BEGINNING("GGUF\x02\0\0\0", "a GGUF file"),
    BEGINNING("GGUF\x03\0\0\0", "a GGUF file"),
};

/* ASCII in UTF-16 has a zero as every other byte, mark or not. */
static bool is_wide(const unsigned char *bytes, uint64_t size) {
    enum { PROBE = 16 };
    for (unsigned zero = 0; size >= PROBE && zero < 2; zero++) {
        unsigned i = 0;
        while (i < PROBE && (bytes[i] == 0) == (i % 2 == zero))
            i++;
        if (i == PROBE)
            return true;
    }
    return false;
}

const char *tv_form_name(const void *bytes, uint64_t size) {
    for (uint64_t i = 0; i < TV_COUNT(beginnings); i++)
        if (size >= beginnings[i].size && memcmp(bytes, beginnings[i].bytes, beginnings[i].size) == 0)
            return beginnings[i].name;
    return is_wide(bytes, size) ? "UTF-16 text; save it as UTF-8" : NULL;
}

uint64_t tv_mark_size(const void *bytes, uint64_t size) {
    return size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* Runs a fuzz target without a fuzzer: over each file of the corpus folders that are named, then over broken
 * copies of each (bytes changed, cut out, repeated), the same ones every time. A crash or a sanitizer's
 * report is a failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"

enum { MUTATIONS = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Its own allocation, so that a sanitizer sees a read past the end. */
static void run(const uint8_t *bytes, uint64_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return;
    memcpy(copy, bytes, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

/* One to four changes. `bytes` has room for twice its size. */
static uint64_t mutate(uint8_t *bytes, uint64_t size, uint32_t number) {
    const tv_rng rng = {.seed = 1, .stream = TV_STREAM_TEST, .step = number};
    uint64_t draw = 0, changes = 1 + tv_uniform_below(&rng, draw++, 4);
    for (uint64_t limit = 2 * size; changes > 0 && size > 0; changes--) {
        uint64_t at = tv_uniform_below(&rng, draw++, size), length = 1 + tv_uniform_below(&rng, draw++, 16);
        uint8_t value = (uint8_t)tv_uniform_below(&rng, draw++, 256);
        static const char signs[] = "{}[]\",:\\0-9e u";
        switch (tv_uniform_below(&rng, draw++, 5)) {
        case 0:
            bytes[at] = value;
            break;
        case 1:
            bytes[at] = (uint8_t)signs[value % (sizeof signs - 1)];
            break;
        case 2:
            size = at;
            break;
        case 3:
            length = tv_min_u64(length, size - at);
            memmove(bytes + at, bytes + at + length, size - at - length);
            size -= length;
            break;
        default:
            length = tv_min_u64(length, tv_min_u64(size - at, limit - size));
            memmove(bytes + at + length, bytes + at, size - at);
            size += length;
        }
    }
    return size;
}

static tv_status replay(const char *folder, uint64_t *files) {
    char **names = NULL, *path = NULL, *text = NULL;
    uint64_t count = 0, size;
    tv_status status;
    TV_TRY(tv_list_dir(folder, &names, &count));
    for (uint64_t i = 0; i < count; i++) {
        free(path);
        free(text);
        text = NULL;
        path = tv_format("%s/%s", folder, names[i]);
        TV_TRY(tv_read_file(path, &text, &size));
        uint8_t *changed = malloc(2 * size + 1);
        run((const uint8_t *)text, size);
        for (uint32_t number = 0; changed && number < MUTATIONS; number++) {
            memcpy(changed, text, size);
            run(changed, mutate(changed, size, number));
        }
        free(changed);
        *files += 1;
    }
done:
    free(path);
    free(text);
    tv_free_names(&names, count);
    return status;
}

int main(int argc, char **argv) {
    uint64_t files = 0;
    tv_log_set_level(TV_LOG_ERROR);
    for (int i = 1; i < argc; i++)
        if (replay(argv[i], &files) != TV_OK) {
            fprintf(stderr, "%s\n", tv_last_error());
            return 1;
        }
    printf("%llu files and %d broken copies of each\n", (unsigned long long)files, MUTATIONS);
    return files ? 0 : 1;
}

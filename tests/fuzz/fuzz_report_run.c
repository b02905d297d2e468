/* Fuzz target: bytes as one file of a run's directory, the first byte says of which, or as the description of
 * a workflow. A page is made or there is a sentence; no text becomes markup, and the page holds no script but
 * its own.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "report/report.h"
#include "small_directory.h"
#include "support/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    const char *name, *text;
} files[] = {
    {"metrics.jsonl",
     "{\"stage\":\"grpo\",\"step\":1,\"loss\":0.5,\"reward/mean\":0.25,\"samples\":[\"a\"]}\n"
     "{\"stage\":\"grpo\",\"step\":2,\"loss\":null,\"val_loss\":1e9,\"warning\":\"b\"}\n"},
    {"config.json", "{\"train\":{\"lr\":0.001},\"data\":{\"train\":[\"prompts.jsonl\"]}}"},
    {"run.json", "{\"stage\":\"grpo\",\"device\":\"d\",\"model\":\"m\",\"parameters\":5,\"begun\":1}"},
    {"samples.jsonl", "{\"step\":1,\"prompt\":\"p\",\"response\":\"r\"}\n"},
    {"pipeline.json", "{\"title\":\"t\",\"boxes\":{\"ppo\":{\"run\":\"run\"}}}"},
};

static char *dir, *paths[TV_COUNT(files)];

static void clean_up(void) {
    for (size_t i = 0; i < TV_COUNT(files); i++)
        free(paths[i]);
    tv_test_dir_remove(&dir);
}

static void write_usual(size_t which) {
    tv_fuzz_write(paths[which], (const uint8_t *)files[which].text, strlen(files[which].text));
}

static void set_up(void) {
    tv_log_set_level(TV_LOG_ERROR);
    dir = tv_test_dir();
    for (size_t i = 0; i < TV_COUNT(files); i++) {
        paths[i] = tv_format("%s/%s", dir, files[i].name);
        write_usual(i);
    }
    atexit(clean_up);
}

static uint64_t count_of(const char *text, const char *what) {
    uint64_t count = 0;
    for (; (text = strstr(text, what)); text++)
        count++;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!dir)
        set_up();
    const char *const runs[] = {dir};
    char *page = NULL;
    uint64_t page_size;
    if (size == 0)
        return 0;
    const size_t which = data[0] % TV_COUNT(files);
    tv_fuzz_write(paths[which], data + 1, size - 1);
    const char *pipeline = strcmp(files[which].name, "pipeline.json") == 0 ? paths[which] : NULL;
    if (tv_report_make(runs, 1, pipeline, "nonce", &page, &page_size) == TV_OK) {
        /* Charts bring their numbers as JSON; two scripts read them and follow the run. */
        const uint64_t scripts =
            count_of(page, "<script") - count_of(page, "<script type=\"application/json\">");
        if (page_size != strlen(page) || scripts > 2 || count_of(page, "<q>") > 0)
            abort();
    }
    free(page);
    write_usual(which);
    return 0;
}

/* Fuzz target: bytes as a file of items that other programs' annotators judged. What is read must keep its
 * promises, and what is made of it must be preferences that can be read. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "text/judged_item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_part(const tv_judged_item *item, tv_judged_part part) {
    cJSON *value = NULL;
    if (part.size == 0 || part.at > item->json.size || part.size > item->json.size - part.at ||
        tv_json_parse((const char *)item->json.data + part.at, part.size, "part", &value) != TV_OK)
        abort();
    cJSON_Delete(value);
}

static void check_verdict(const tv_judged_item *item, const uint8_t *ranks) {
    bool there[TV_JUDGED_ANSWERS + 1] = {false};
    for (uint32_t i = 0; i < item->answer_count; i++) {
        if (ranks[i] >= item->answer_count)
            abort();
        there[ranks[i]] = true;
    }
    for (uint32_t rank = 0; rank < item->answer_count; rank++)
        if (!there[rank] && there[rank + 1])
            abort();
    if (!there[0])
        abort();
}

static void check_lines(const tv_text *lines) {
    for (uint64_t at = 0, length; at < lines->size; at += length + 1) {
        const uint8_t *end = memchr(lines->data + at, '\n', lines->size - at);
        cJSON *line = NULL;
        if (!end)
            abort();
        length = (uint64_t)(end - (lines->data + at));
        if (tv_json_parse((const char *)lines->data + at, length, "line", &line) != TV_OK ||
            !tv_json_get(line, "prompt"))
            abort();
        cJSON_Delete(line);
    }
}

static tv_status take(void *context, const tv_json_line *line) {
    tv_judged_item *item = context;
    tv_judged_form form = tv_judged_form_of(line);
    if (form == TV_JUDGED_NONE || tv_judged_item_read(form, line, item) != TV_OK)
        return TV_OK;
    if (item->verdict_count == 0)
        return TV_OK;
    if (item->answer_count < 2 || item->answer_count > TV_JUDGED_ANSWERS ||
        item->verdict_count > TV_JUDGED_VERDICTS)
        abort();
    check_part(item, item->prompt);
    if (item->id.size)
        check_part(item, item->id);
    for (uint32_t i = 0; i < item->answer_count; i++) {
        check_part(item, item->names[i]);
        check_part(item, item->answers[i]);
    }
    for (uint32_t i = 0; i < item->verdict_count; i++) {
        check_part(item, item->annotators[i]);
        check_verdict(item, item->ranks[i]);
    }
    for (int verdicts = 0; verdicts < 2; verdicts++) {
        tv_text lines = {0};
        uint64_t ties = 0;
        if (tv_judged_item_print(item, (tv_verdicts)verdicts, &lines, &ties) != TV_OK)
            abort();
        check_lines(&lines);
        tv_text_free(&lines);
    }
    return TV_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_judged_item item = {0};
    tv_log_set_level(TV_LOG_ERROR);
    (void)tv_source_read_json_bytes(data, size, "fuzz", take, &item);
    tv_judged_item_free(&item);
    return 0;
}

/* run/metrics, run/tfevents, run/progress: what is written reads back, by a decoder written from the
 * published formats. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/metrics.h"
#include "run/tfevents.h"

/* The check value of the CRC catalogue, and 32 zeros and ones of RFC 3720, B.4. */
static void crc32c_equals_the_published_values(void **state) {
    (void)state;
    uint8_t bytes[32] = {0};
    assert_true(tv_crc32c("123456789", 9) == 0xE3069283u);
    assert_true(tv_crc32c(bytes, 32) == 0x8A9136AAu);
    memset(bytes, 0xff, 32);
    assert_true(tv_crc32c(bytes, 32) == 0x62A8AB43u);
}

/* A reader of protocol buffers: a field's number, wire type, and value or bytes. */
typedef struct field {
    uint32_t number, wire;
    uint64_t value;
    const uint8_t *bytes;
    uint64_t size;
} field;

typedef struct cursor {
    const uint8_t *at, *end;
} cursor;

static uint64_t varint(cursor *c) {
    uint64_t value = 0;
    for (uint32_t shift = 0;; shift += 7) {
        assert_true(c->at < c->end && shift < 64);
        uint8_t byte = *c->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
}

static uint64_t fixed(cursor *c, uint64_t size) {
    uint64_t value = 0;
    assert_true((uint64_t)(c->end - c->at) >= size);
    for (uint64_t i = 0; i < size; i++)
        value |= (uint64_t)c->at[i] << (8 * i);
    c->at += size;
    return value;
}

static bool next_field(cursor *c, field *f) {
    if (c->at == c->end)
        return false;
    uint64_t key = varint(c);
    *f = (field){.number = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7)};
    switch (f->wire) {
    case 0:
        f->value = varint(c);
        break;
    case 1:
        f->value = fixed(c, 8);
        break;
    case 2:
        f->size = varint(c);
        assert_true((uint64_t)(c->end - c->at) >= f->size);
        f->bytes = c->at;
        c->at += f->size;
        break;
    case 5:
        f->value = fixed(c, 4);
        break;
    default:
        fail_msg("wire type %u", f->wire);
    }
    return true;
}

/* The field `number` of a message, which must be there. */
static field get(const field *message, uint32_t number) {
    field f;
    if (!message->bytes)
        fail_msg("field %u of no message", number);
    cursor c = {message->bytes, message->bytes + message->size};
    while (next_field(&c, &f))
        if (f.number == number)
            return f;
    fail_msg("field %u is missing", number);
    return (field){0};
}

/* The next record's data; both checksums are verified. */
static bool next_record(cursor *c, field *event) {
    if (c->at == c->end)
        return false;
    const uint8_t *start = c->at;
    uint64_t size = fixed(c, 8);
    uint32_t length_crc = (uint32_t)fixed(c, 4) - 0xa282ead8u;
    assert_true((length_crc >> 17 | length_crc << 15) == tv_crc32c(start, 8));
    assert_true((uint64_t)(c->end - c->at) >= size);
    *event = (field){.bytes = c->at, .size = size};
    c->at += size;
    uint32_t data_crc = (uint32_t)fixed(c, 4) - 0xa282ead8u;
    assert_true((data_crc >> 17 | data_crc << 15) == tv_crc32c(event->bytes, size));
    return true;
}

static bool is_text(const field *f, const char *text) {
    return f->bytes && f->size == strlen(text) && memcmp(f->bytes, text, f->size) == 0;
}

static char *event_file(const char *dir, uint64_t wanted) {
    char **names = NULL, *path = NULL;
    uint64_t count = 0, found = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        if (strncmp(names[i], "events.out.tfevents.", 20) == 0 && found++ == wanted)
            path = tv_format("%s/%s", dir, names[i]);
    tv_free_names(&names, count);
    assert_non_null(path);
    return path;
}

static const tv_metrics_line example = {.stage = "pretrain",
                                        .step = 1,
                                        .loss = 2.5,
                                        .grad_norm = 0.75,
                                        .lr = 1e-3,
                                        .tokens = 2048,
                                        .tokens_per_second = 1234};

static uint64_t count_lines(const char *dir, cJSON **last) {
    char *path = tv_format("%s/metrics.jsonl", dir), *text = NULL;
    uint64_t size = 0, lines = 0;
    assert_ok(tv_read_file(path, &text, &size));
    *last = NULL;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        cJSON_Delete(*last);
        assert_ok(tv_json_parse(line, strlen(line), path, last));
    }
    assert_true(size == 0 || tv_path_exists(path));
    free(text);
    free(path);
    return lines;
}

static void events_decode_to_what_was_written(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    tv_metrics *metrics = NULL;
    assert_ok(tv_metrics_open(dir, false, 0, &metrics));
    const char *samples[] = {"Once upon a <time>\n"};
    tv_metrics_line line = example;
    line.step = 300;
    line.has_val_loss = true;
    line.val_loss = 2.75;
    line.has_wait = true;
    line.waited_for = 3;
    line.wait_seconds = 0.25;
    line.extra = &(tv_metric_number){"skipped", 2};
    line.extra_count = 1;
    line.samples = samples;
    line.sample_count = 1;
    assert_ok(tv_metrics_write(metrics, &line));
    tv_metrics_close(&metrics);

    cJSON *last;
    assert_int_equal(count_lines(dir, &last), 1);
    assert_int_equal(tv_json_get(last, "waited_for_rank")->valuedouble, 3);
    assert_true(tv_json_get(last, "waited_seconds")->valuedouble == 0.25);
    cJSON_Delete(last);
    char *path = event_file(dir, 0);
    char *file = NULL;
    uint64_t size = 0;
    assert_ok(tv_read_file(path, &file, &size));
    cursor c = {(const uint8_t *)file, (const uint8_t *)file + size};
    field event = {0};
    assert_true(next_record(&c, &event));
    field version = get(&event, 3);
    assert_true(is_text(&version, "brain.Event:2"));

    assert_true(next_record(&c, &event));
    assert_int_equal(get(&event, 2).value, 300);
    field summary = get(&event, 5);
    const char *tags[] = {"loss",     "grad_norm",      "lr",     "tokens_per_second",
                          "val_loss", "waited_seconds", "skipped"};
    const float values[] = {2.5f, 0.75f, 1e-3f, 1234, 2.75f, 0.25f, 2};
    cursor items = {summary.bytes, summary.bytes + summary.size};
    field value = {0};
    size_t count = 0;
    for (; next_field(&items, &value); count++) {
        assert_true(count < 7 && value.number == 1);
        field tag = get(&value, 1);
        assert_true(is_text(&tag, tags[count]));
        assert_true(tv_bits_to_float((uint32_t)get(&value, 2).value) == values[count]);
    }
    assert_int_equal(count, 7);

    assert_true(next_record(&c, &event));
    summary = get(&event, 5);
    value = get(&summary, 1);
    field metadata = get(&value, 9), plugin = get(&metadata, 1), name = get(&plugin, 1);
    assert_true(is_text(&name, "text"));
    field tensor = get(&value, 8), text = get(&tensor, 8);
    assert_int_equal(get(&tensor, 1).value, 7);
    assert_true(is_text(&text, samples[0]));
    assert_false(next_record(&c, &event));
    free(file);
    free(path);
    tv_test_dir_remove(&dir);
}

static void resume_cuts_back_to_the_step(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/metrics.jsonl", dir);
    tv_metrics *metrics = NULL;
    tv_metrics_line line = example;
    assert_ok(tv_metrics_open(dir, false, 0, &metrics));
    for (line.step = 1; line.step <= 9; line.step++)
        assert_ok(tv_metrics_write(metrics, &line));
    tv_metrics_close(&metrics);
    tv_appender *torn = NULL;
    assert_ok(tv_appender_open(path, UINT64_MAX, false, &torn));
    assert_ok(tv_append_bytes(torn, "{\"stage\":\"pre", 13));
    tv_appender_close(&torn);

    /* A step beyond the file keeps all whole lines and drops only the torn one. */
    cJSON *last = NULL;
    assert_ok(tv_metrics_open(dir, true, 50, &metrics));
    tv_metrics_close(&metrics);
    assert_int_equal(count_lines(dir, &last), 9);
    cJSON_Delete(last);

    assert_ok(tv_metrics_open(dir, true, 5, &metrics));
    line.step = 6;
    line.loss = NAN;
    assert_ok(tv_metrics_write(metrics, &line));
    tv_metrics_close(&metrics);
    assert_int_equal(count_lines(dir, &last), 6);
    assert_near(tv_json_get(last, "step")->valuedouble, 6, 0);
    assert_true(cJSON_IsNull(tv_json_get(last, "loss")));
    assert_near(tv_json_get(last, "tokens")->valuedouble, 2048, 0);
    assert_near(tv_json_get(last, "lr")->valuedouble, 1e-3, 0);
    assert_string_equal(tv_json_get(last, "stage")->valuestring, "pretrain");
    assert_null(tv_json_get(last, "val_loss"));
    cJSON_Delete(last);

    /* TensorBoard is told to forget what lies beyond: a session start at step 6. */
    char *events = event_file(dir, 2);
    char *file = NULL;
    uint64_t events_size = 0;
    assert_ok(tv_read_file(events, &file, &events_size));
    cursor c = {(const uint8_t *)file, (const uint8_t *)file + events_size};
    field event = {0};
    assert_true(next_record(&c, &event) && next_record(&c, &event));
    field session = get(&event, 7);
    assert_int_equal(get(&session, 1).value, 1);
    assert_int_equal(get(&event, 2).value, 6);
    free(file);
    free(events);

    assert_ok(tv_metrics_open(dir, false, 0, &metrics));
    tv_metrics_close(&metrics);
    uint64_t size = 1;
    assert_ok(tv_file_size(path, &size));
    assert_int_equal(size, 0);
    const char *broken = "{\"step\":1}\nnonsense\n{\"step\":3}\n";
    assert_ok(tv_write_file(path, broken, strlen(broken)));
    assert_fails(tv_metrics_open(dir, true, 3, &metrics), TV_E_DATA, "line 2");
    assert_null(metrics);
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_equals_the_published_values),
        cmocka_unit_test(events_decode_to_what_was_written),
        cmocka_unit_test(resume_cuts_back_to_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* --trace: the file is what the Trace Event Format asks for, and true: read back as Perfetto reads it,
 * without events that overlap and do not nest, and compared with what a step is known to do.
 *
 * Tried: recordings whose times are not read before they are replayed, a device's clock placed a millisecond
 * early, durations twice as long. Each fails.
 */
#include "support/small_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "support/support.h"

enum { MOST = 20000, HOST = 1, DEVICE = 2, RECORDINGS = 1, KERNELS = 2 };
static const double half_a_nanosecond = 0.0005;

typedef struct span {
    const char *name, *category;
    double begin, end, submitted;
    int process, track;
    int number; /* in the file */
} span;

static double number_of(const cJSON *event, const char *key) {
    const cJSON *item = tv_json_get(event, key);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        fail_msg("expected a number at \"%s\" of \"%s\"", key, tv_json_get(event, "name")->valuestring);
    return item->valuedouble;
}

/* By track, then by begin, those around others first. */
static int by_place(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->process != y->process)
        return x->process - y->process;
    if (x->track != y->track)
        return x->track - y->track;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end != y->end ? (x->end > y->end ? -1 : 1) : x->number - y->number;
}

static void expect_nesting(span *spans, int count) {
    static double ends[MOST];
    int depth = 0;
    span *sorted = malloc(((size_t)count + 1) * sizeof *sorted);
    assert_non_null(sorted);
    memcpy(sorted, spans, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_place);
    for (int i = 0; i < count; i++) {
        const span *s = &sorted[i];
        if (i == 0 || s->process != s[-1].process || s->track != s[-1].track)
            depth = 0;
        while (depth && ends[depth - 1] <= s->begin + half_a_nanosecond)
            depth--;
        if (depth && !(s->end <= ends[depth - 1] + half_a_nanosecond))
            fail_msg("\"%s\" from %f to %f overlaps what ends at %f", s->name, s->begin, s->end,
                     ends[depth - 1]);
        ends[depth++] = s->end;
    }
    free(sorted);
}

static int count_of(const span *spans, int count, const char *category, const char *name) {
    int found = 0;
    for (int i = 0; i < count; i++)
        found += strcmp(spans[i].category, category) == 0 && (!name || strcmp(spans[i].name, name) == 0);
    return found;
}

/* Kernels follow each other in the file as in time, each within its recording, all micro-batches alike. */
static void expect_device(const span *spans, int count, int accumulated) {
    double reached = 0;
    const span *recording = NULL;
    int kernels = 0, of_a_batch = -1;
    for (int i = 0; i < count; i++) {
        const span *s = &spans[i];
        if (s->process != DEVICE)
            continue;
        if (s->track == RECORDINGS) {
            assert_true(s->begin + half_a_nanosecond >= s->submitted);
            assert_true(!recording || recording->end <= s->begin + half_a_nanosecond);
            recording = s;
            kernels = 0;
            continue;
        }
        assert_string_equal(s->category, "kernel");
        if (!recording) {
            fail_msg("kernel %s lies before all recordings", s->name);
            return;
        }
        kernels++;
        if (!(s->begin + half_a_nanosecond >= reached && s->begin + half_a_nanosecond >= recording->begin &&
              s->end <= recording->end + half_a_nanosecond))
            fail_msg("kernel %s from %f to %f: not behind %f, or not in %s", s->name, s->begin, s->end,
                     reached, recording->name);
        reached = s->end;
        if (strstr(recording->name, "/micro-batch") && (i + 1 == count || spans[i + 1].track == RECORDINGS)) {
            assert_true(of_a_batch < 0 || of_a_batch == kernels);
            of_a_batch = kernels;
        }
    }
    assert_true(of_a_batch > 20);
    assert_int_equal(count_of(spans, count, "recording", NULL), accumulated + 3);
}

static void expect_trace(const char *path, int accumulated) {
    static span spans[MOST];
    bool named[3][3] = {{false}};
    int count = 0;
    cJSON *root = NULL;
    const cJSON *event;
    assert_ok(tv_json_read_file(path, &root));
    assert_true(cJSON_IsArray(tv_json_get(root, "traceEvents")));
    cJSON_ArrayForEach(event, tv_json_get(root, "traceEvents")) {
        const char *kind = tv_json_get(event, "ph")->valuestring;
        int process = (int)number_of(event, "pid"), track = (int)number_of(event, "tid");
        assert_true(process >= 1 && process <= 2 && track >= 1 && track <= 2);
        if (strcmp(kind, "M") == 0) {
            assert_true(cJSON_IsString(tv_json_get(tv_json_get(event, "args"), "name")));
            named[process][track] |= strcmp(tv_json_get(event, "name")->valuestring, "thread_name") == 0;
            continue;
        }
        assert_string_equal(kind, "X");
        assert_true(named[process][track]);
        assert_true(count < MOST);
        double begin = number_of(event, "ts"), duration = number_of(event, "dur");
        assert_true(begin >= 0 && duration >= 0);
        const cJSON *submitted = tv_json_get(tv_json_get(event, "args"), "submitted");
        spans[count] = (span){.name = tv_json_get(event, "name")->valuestring,
                              .category = tv_json_get(event, "cat")->valuestring,
                              .begin = begin,
                              .end = begin + duration,
                              .submitted = submitted ? submitted->valuedouble : 0,
                              .process = process,
                              .track = track,
                              .number = count};
        count++;
    }
    expect_nesting(spans, count);
    expect_device(spans, count, accumulated);
    assert_int_equal(count_of(spans, count, "host", "a training step"), 1);
    assert_int_equal(count_of(spans, count, "host", "draw a batch"), accumulated);
    assert_int_equal(count_of(spans, count, "host", "hand a batch over"), accumulated);
    assert_int_equal(count_of(spans, count, "submit", NULL), accumulated + 2);
    assert_true(count_of(spans, count, "wait", NULL) > 0);
    /* The device's work lies within the step, as the host saw it: both ends of the clocks' placing. */
    const span *step = NULL;
    for (int i = 0; i < count; i++)
        if (strcmp(spans[i].name, "a training step") == 0)
            step = &spans[i];
    for (int i = 0; i < count; i++)
        if (step && spans[i].process == DEVICE)
            assert_true(spans[i].begin >= step->begin && spans[i].end <= step->end);
    cJSON_Delete(root);
}

static void a_bench_is_traced(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/trace.json", dir);
    tv_child_result run =
        tv_run_trivium("bench", "train", "--config", TRIVIUM_SOURCE_DIR "/samples/bench/llama_260k.json",
                       "--set", "train.batch_size=1", "--set", "data.seq_len=16", "--set",
                       "train.grad_accum=3", "--steps", "1", "--warmup", "1", "--json", "--trace", path);
    if (run.exit_code == 3)
        exit(TV_TEST_SKIPPED);
    tv_expect_exit(&run, 0);
    expect_trace(path, 3);
    tv_child_result_free(&run);
    free(path);
    tv_test_dir_remove(&dir);
}

/* The traced step is the same step: the run's bits do not depend on it, and it may be its last. */
static void a_run_is_traced_and_the_same(void **state) {
    (void)state;
    tv_small_run place = tv_small_run_create("\"batch_size\": 2, \"grad_accum\": 3, \"steps\": 5");
    char *plain = tv_small_run_path(&place, "plain"), *traced = tv_small_run_path(&place, "traced");
    char *path = tv_small_run_path(&place, "trace.json"), *last = tv_small_run_path(&place, "last.json");
    tv_trivium_exits(0, "pretrain", "--config", place.config, "--out", plain);
    tv_child_result run = tv_run_trivium("pretrain", "--config", place.config, "--out", traced, "--trace",
                                         path, "--stop-after", "4");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "a trace of step 3"));
    tv_child_result_free(&run);
    expect_trace(path, 3);
    run = tv_run_trivium("pretrain", "--out", traced, "--resume", "--trace", last);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "a trace of step 5"));
    tv_child_result_free(&run);
    tv_expect_same_run(plain, traced);
    run = tv_run_trivium("pretrain", "--config", place.config, "--out", place.dir, "--trace", place.config);
    assert_int_equal(run.exit_code, 2);
    tv_child_result_free(&run);
    tv_free_all(plain, traced, path, last);
    tv_small_run_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bench_is_traced),
        cmocka_unit_test(a_run_is_traced_and_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* text/loader: batches in order as llm.c gives them, shuffling, mixing, document starts, seeking, the tail.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "text/loader.h"
#include "text/shard.h"

enum { END = 0 };
/* Tokens first, first + 1, ...; a token says where it stands. */
static char *counting_shard(const char *name, uint32_t first, uint32_t count) {
    char *path = tv_format("%s/%s.bin", tv_test_folder, name);
    tv_shard_writer *writer = NULL;
    assert_ok(tv_shard_writer_open(path, 1000000, &writer));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = first + i;
        assert_ok(tv_shard_writer_add(writer, &id, 1));
    }
    assert_ok(tv_shard_writer_commit(&writer));
    return path;
}

typedef struct arrays {
    uint32_t inputs[64], targets[64], doc_start[64];
} arrays;

static void next(tv_loader *loader, arrays *out) {
    tv_batch batch = {out->inputs, out->targets, out->doc_start};
    memset(out, 0xaa, sizeof *out);
    assert_ok(tv_loader_next(loader, &batch));
}

/* Batch i is tokens [i*B*T, (i+1)*B*T), targets shifted by one; 50 tokens hold (50 - 1) / 12 = 4 such
 * batches. */
static void in_order_is_llm_c(void **state) {
    (void)state;
    char *path = counting_shard("order", 100, 50);
    const tv_loader_source source = {path, 0};
    tv_loader *loader = NULL;
    arrays out;
    assert_ok(tv_loader_create(
        &(tv_loader_options){.sources = &source, .source_count = 1, .batch_size = 3, .seq_len = 4}, &loader));
    assert_int_equal(tv_loader_pass_batches(loader), 4);
    assert_int_equal(tv_loader_token_count(loader), 50);
    for (uint32_t i = 0; i < 11; i++) {
        assert_int_equal(tv_loader_position(loader), i * 3);
        next(loader, &out);
        for (uint32_t t = 0; t < 12; t++) {
            assert_int_equal(out.inputs[t], 100 + i % 4 * 12 + t);
            assert_int_equal(out.targets[t], out.inputs[t] + 1);
            assert_int_equal(out.doc_start[t], 0);
        }
    }
    assert_int_equal(tv_loader_stream_tokens(loader, 0), 11 * 12);
    tv_loader_destroy(&loader);
    free(path);
}

/* Shards without weights are one stream: windows and targets cross from one to the next. */
static void shards_join(void **state) {
    (void)state;
    char *paths[] = {counting_shard("a", 100, 5), counting_shard("b", 105, 1), counting_shard("c", 106, 19)};
    const tv_loader_source sources[] = {{paths[0], 0}, {paths[1], 0}, {paths[2], 0}};
    tv_loader *loader = NULL;
    arrays out;
    assert_ok(tv_loader_create(
        &(tv_loader_options){.sources = sources, .source_count = 3, .batch_size = 2, .seq_len = 4}, &loader));
    assert_int_equal(tv_loader_pass_batches(loader), 3);
    for (uint32_t i = 0; i < 3; i++) {
        next(loader, &out);
        for (uint32_t t = 0; t < 8; t++) {
            assert_int_equal(out.inputs[t], 100 + i * 8 + t);
            assert_int_equal(out.targets[t], 101 + i * 8 + t);
        }
    }
    tv_loader_destroy(&loader);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

/* Every window once a pass, in another order each pass and for each seed. */
static void shuffling_permutes_windows(void **state) {
    (void)state;
    enum { WINDOWS = 40, T = 5 };
    char *path = counting_shard("shuffle", 0, WINDOWS * T + 3);
    const tv_loader_source source = {path, 0};
    uint32_t orders[2][2 * WINDOWS];
    for (int seed = 0; seed < 2; seed++) {
        tv_loader *loader = NULL;
        arrays out;
        const tv_loader_options options = {.sources = &source,
                                           .source_count = 1,
                                           .batch_size = 4,
                                           .seq_len = T,
                                           .shuffle = true,
                                           .seed = (uint64_t)seed};
        assert_ok(tv_loader_create(&options, &loader));
        for (uint32_t row = 0; row < 2 * WINDOWS; row++) {
            if (row % 4 == 0)
                next(loader, &out);
            const uint32_t *inputs = out.inputs + row % 4 * T, *targets = out.targets + row % 4 * T;
            assert_int_equal(inputs[0] % T, 0);
            for (uint32_t t = 0; t < T; t++) {
                assert_int_equal(inputs[t], inputs[0] + t);
                assert_int_equal(targets[t], inputs[t] + 1);
            }
            orders[seed][row] = inputs[0] / T;
        }
        for (int pass = 0; pass < 2; pass++) {
            uint64_t seen = 0;
            for (int row = 0; row < WINDOWS; row++)
                seen |= UINT64_C(1) << orders[seed][pass * WINDOWS + row];
            assert_int_equal(seen, (UINT64_C(1) << WINDOWS) - 1);
        }
        assert_memory_not_equal(orders[seed], orders[seed] + WINDOWS, WINDOWS * sizeof(uint32_t));
        tv_loader_destroy(&loader);
    }
    assert_memory_not_equal(orders[0], orders[1], sizeof orders[0]);
    free(path);
}

/* Over n rows a source of share p has p * n rows within 4 standard deviations, sqrt(n p (1 - p)), of a draw;
 * over 65,536 rows exactly its share, up to one row per source. Each source's windows come in whole passes.
 */
static void mixing_follows_the_weights(void **state) {
    (void)state;
    char *paths[] = {counting_shard("m0", 0, 41), counting_shard("m1", 1000, 81),
                     counting_shard("m2", 2000, 21)};
    const tv_loader_source sources[] = {{paths[0], 3}, {paths[1], 0}, {paths[2], 0.5}};
    const double shares[] = {3 / 4.5, 1 / 4.5, 0.5 / 4.5};
    tv_loader *loader = NULL;
    arrays out;
    const tv_loader_options options = {
        .sources = sources, .source_count = 3, .batch_size = 16, .seq_len = 4, .shuffle = true, .seed = 7};
    assert_ok(tv_loader_create(&options, &loader));
    assert_int_equal(tv_loader_stream_count(loader), 3);
    uint64_t rows[3] = {0};
    for (uint64_t batch = 0; batch < 4096; batch++) {
        next(loader, &out);
        for (int b = 0; b < 16; b++)
            rows[out.inputs[b * 4] / 1000]++;
        if (batch + 1 != 100 && batch + 1 != 4096)
            continue;
        double n = (double)(batch + 1) * 16;
        for (int s = 0; s < 3; s++) {
            assert_int_equal(tv_loader_stream_tokens(loader, (uint64_t)s), rows[s] * 4);
            assert_near((double)rows[s], shares[s] * n,
                        batch + 1 == 4096 ? 3 : 4 * sqrt(n * shares[s] * (1 - shares[s])));
        }
    }
    /* Counting from scratch gives the same. */
    assert_ok(tv_loader_seek(loader, 4096 + 100));
    assert_true(tv_loader_stream_tokens(loader, 0) > rows[0] * 4);
    uint64_t sum = 0;
    for (uint64_t s = 0; s < 3; s++)
        sum += tv_loader_stream_tokens(loader, s);
    assert_int_equal(sum, 4196 * 64);
    tv_loader_destroy(&loader);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

/* A batch is the same however one gets to it. */
static void seeking_resumes_exactly(void **state) {
    (void)state;
    char *paths[] = {counting_shard("s0", 0, 101), counting_shard("s1", 1000, 55)};
    for (int kind = 0; kind < 4; kind++) {
        const tv_loader_source sources[] = {{paths[0], kind >= 2 ? 2 : 0}, {paths[1], 0}};
        tv_loader_options options = {.sources = sources,
                                     .source_count = 2,
                                     .batch_size = 3,
                                     .seq_len = 5,
                                     .shuffle = kind % 2,
                                     .seed = 11};
        enum { BATCHES = 60 };
        arrays *straight = calloc(BATCHES, sizeof *straight), out;
        tv_loader *loader = NULL;
        assert_ok(tv_loader_create(&options, &loader));
        for (int i = 0; i < BATCHES; i++)
            next(loader, &straight[i]);
        const uint64_t jumps[] = {17, 0, 59, 3, 3, 42};
        for (size_t j = 0; j < sizeof jumps / sizeof *jumps; j++) {
            assert_ok(tv_loader_seek(loader, jumps[j]));
            for (uint64_t i = jumps[j]; i < jumps[j] + 3 && i < BATCHES; i++) {
                next(loader, &out);
                assert_memory_equal(&out, &straight[i], sizeof out);
            }
        }
        /* Often enough to meet the thread in the middle of a batch that nobody wants any more. */
        for (uint64_t j = 0; j < 20000; j++) {
            uint64_t batch = j * 7 % BATCHES;
            assert_ok(tv_loader_seek(loader, batch));
            next(loader, &out);
            assert_memory_equal(&out, &straight[batch], sizeof out);
        }
        tv_loader_destroy(&loader);
        options.first_row = 31 * 3;
        assert_ok(tv_loader_create(&options, &loader));
        next(loader, &out);
        assert_memory_equal(&out, &straight[31], sizeof out);
        tv_loader_destroy(&loader);
        /* In batches of another size, behind a row that ended no batch: shuffled rows depend on their number
         * alone. */
        options.first_row = 31 * 3 + 1;
        options.batch_size = 2;
        assert_ok(tv_loader_create(&options, &loader));
        assert_int_equal(tv_loader_position(loader), options.first_row);
        next(loader, &out);
        if (options.shuffle)
            assert_memory_equal(out.inputs, straight[31].inputs + 5, 10 * sizeof *out.inputs);
        options.batch_size = 3;
        assert_int_equal(tv_loader_seek(loader, UINT64_MAX), TV_E_USAGE);
        tv_loader_destroy(&loader);
        free(straight);
    }
    free(paths[0]);
    free(paths[1]);
}

/* A document ends with its end-of-text token; a row begins with whatever it begins with. */
static void documents_start_after_the_end_of_text(void **state) {
    (void)state;
    const uint32_t ids[] = {5, 6, END, 7, END, END, 8, 9, /* row 2 */ 9, END, 9, 9, 9, 9, 9, END, 3};
    const uint32_t expected[] = {0, 0, 0, 3, 3, 5, 6, 6, 0, 0, 2, 2, 2, 2, 2, 2};
    char *path = tv_format("%s/docs.bin", tv_test_folder);
    tv_shard_writer *writer = NULL;
    assert_ok(tv_shard_writer_open(path, 10, &writer));
    assert_ok(tv_shard_writer_add(writer, ids, 17));
    assert_ok(tv_shard_writer_commit(&writer));
    const tv_loader_source source = {path, 0};
    tv_loader_options options = {.sources = &source,
                                 .source_count = 1,
                                 .batch_size = 2,
                                 .seq_len = 8,
                                 .document_mask = true,
                                 .end_of_text = END};
    tv_loader *loader = NULL;
    arrays out;
    assert_ok(tv_loader_create(&options, &loader));
    next(loader, &out);
    assert_memory_equal(out.doc_start, expected, sizeof expected);
    tv_loader_destroy(&loader);
    options.end_of_text = UINT32_MAX;
    assert_int_equal(tv_loader_create(&options, &loader), TV_E_CONFIG);
    free(path);
}

/* With keep_tail every token but the first is a target once in a pass. */
static void the_tail_is_kept(void **state) {
    (void)state;
    for (uint32_t count = 2; count < 30; count++) {
        char *path = counting_shard("tail", 100, count);
        const tv_loader_source source = {path, 0};
        tv_loader *loader = NULL;
        arrays out;
        const tv_loader_options options = {
            .sources = &source, .source_count = 1, .batch_size = 2, .seq_len = 4, .keep_tail = true};
        assert_ok(tv_loader_create(&options, &loader));
        assert_int_equal(tv_loader_pass_batches(loader), (count - 1 + 7) / 8);
        uint32_t expected = 101;
        for (uint64_t i = 0; i < tv_loader_pass_batches(loader); i++) {
            next(loader, &out);
            for (int t = 0; t < 8; t++)
                if (out.targets[t] != TV_IGNORED_TARGET) {
                    assert_int_equal(out.inputs[t], expected - 1);
                    assert_int_equal(out.targets[t], expected++);
                }
        }
        assert_int_equal(expected, 100 + count);
        tv_loader_destroy(&loader);
        free(path);
    }
}

static void impossible_options_give_sentences(void **state) {
    (void)state;
    char *path = counting_shard("small", 0, 13);
    tv_loader_source source = {path, 0};
    tv_loader_options options = {.sources = &source, .source_count = 1, .batch_size = 3, .seq_len = 4};
    tv_loader *loader = NULL;
    assert_ok(tv_loader_create(&options, &loader));
    tv_loader_destroy(&loader);
    options.seq_len = 5;
    assert_fails(tv_loader_create(&options, &loader), TV_E_FIT,
                 "at least 16 tokens (a batch of 15 and one more), found 13");
    options.seq_len = 0;
    assert_int_equal(tv_loader_create(&options, &loader), TV_E_CONFIG);
    options.seq_len = 4;
    options.vocab_size = 12;
    assert_fails(tv_loader_create(&options, &loader), TV_E_DATA, "token 12");
    options.vocab_size = 0;
    const double weights[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        source.weight = weights[i];
        assert_int_equal(tv_loader_create(&options, &loader), TV_E_CONFIG);
    }
    options.source_count = 0;
    assert_int_equal(tv_loader_create(&options, &loader), TV_E_CONFIG);
    assert_null(loader);
    free(path);
}

/* Where a mapping would end the process. */
static void a_shard_that_is_cut_while_it_is_read(void **state) {
    (void)state;
    char *path = counting_shard("cut", 100, 100000);
    const tv_loader_source source = {path, 0};
    tv_loader *loader = NULL;
    arrays out;
    assert_ok(tv_loader_create(
        &(tv_loader_options){
            .sources = &source, .source_count = 1, .batch_size = 3, .seq_len = 4, .vocab_size = 1000000},
        &loader));
    next(loader, &out);
    assert_int_equal(truncate(path, 1024), 0);
    tv_batch batch = {out.inputs, out.targets, out.doc_start};
    tv_status status = TV_OK;
    for (int i = 0; i < 100 && status == TV_OK; i++)
        status = tv_loader_next(loader, &batch);
    assert_fails(status, TV_E_IO, path);
    assert_non_null(strstr(tv_last_error(), "was cut short"));
    assert_int_equal(tv_loader_next(loader, &batch), TV_E_IO);
    tv_loader_destroy(&loader);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_that_is_cut_while_it_is_read),
        cmocka_unit_test(in_order_is_llm_c),
        cmocka_unit_test(shards_join),
        cmocka_unit_test(shuffling_permutes_windows),
        cmocka_unit_test(mixing_follows_the_weights),
        cmocka_unit_test(seeking_resumes_exactly),
        cmocka_unit_test(documents_start_after_the_end_of_text),
        cmocka_unit_test(the_tail_is_kept),
        cmocka_unit_test(impossible_options_give_sentences),
    };
    return cmocka_run_group_tests(tests, tv_test_folder_make, tv_test_folder_remove);
}

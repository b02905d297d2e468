/* trivium pull against servers on the loopback interface that behave, and that do not: connections cut and
 * stalled, wrong bytes, redirects elsewhere, refusals, listings that lie. The hashes are those of sha256sum
 * and git hash-object, so that they stand on other programs.
 *
 * Tried: the token sent to every host, or in the clear; the range left out, or not looked at in the answer;
 * either hash not compared; names with folders taken; the index written before its shards; a stalled
 * connection waited for; another version's beginning not given up; a server that begins anew each time asked
 * for ever. Each fails.
 */
#include "cli/misbehaving_hub.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "support/small_run.h"
#include "support/subprocess.h"

/* ---- what is to come of it ---- */

static tv_child_result pull(const hub *h) {
    return tv_run_trivium("pull", "org/small", "--out", h->out, "--patience", "2", "--quiet", "--json");
}

static bool there(const hub *h, const char *name) {
    char *path = tv_format("%s/%s", h->out, name);
    bool found = tv_path_exists(path);
    free(path);
    return found;
}

static void expect_bytes(const hub *h, const char *name, const char *bytes, uint64_t size) {
    char *path = tv_format("%s/%s", h->out, name), *text = NULL;
    uint64_t found;
    assert_ok(tv_read_file(path, &text, &found));
    assert_int_equal(found, size);
    assert_memory_equal(text, bytes, size);
    free(text);
    free(path);
}

static void expect_whole(const hub *h) {
    char **names = NULL;
    uint64_t count;
    expect_bytes(h, "config.json", config_text, sizeof config_text - 1);
    expect_bytes(h, "model.safetensors", weights, WEIGHTS);
    assert_ok(tv_list_dir(h->out, &names, &count));
    assert_int_equal(count, 2);
    tv_free_names(&names, count);
}

static void expect_pulled(const hub *h) {
    tv_child_result run = pull(h);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    expect_whole(h);
}

static void expect_refused(const hub *h, int code, const char *words) {
    tv_child_result run = pull(h);
    tv_expect_sentence(&run, code, words, words);
    assert_false(there(h, "model.safetensors"));
    tv_child_result_free(&run);
}

static void only_what_is_used_comes(void **state) {
    (void)state;
    hub *h = start(WELL);
    expect_pulled(h);
    assert_int_equal(h->files[0].asked + h->files[2].asked, 0);
    /* Again: all is there, and nothing is fetched. */
    tv_child_result run = pull(h);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "\"were_there\":2"));
    assert_non_null(strstr(run.out, "\"bytes\":0"));
    assert_int_equal(h->files[3].asked, 1);
    tv_child_result_free(&run);
    /* What a person changed is not overwritten. */
    char *config = tv_format("%s/config.json", h->out);
    tv_write_text(config, "{\"model_type\": \"gpt2\"}   \n");
    run = pull(h);
    tv_expect_sentence(&run, 2, "config.json is there and is not what the hub has", "a changed file");
    tv_child_result_free(&run);
    free(config);
    stop(h);
}

static void connections_that_fail_are_gone_on_with(void **state) {
    (void)state;
    static const struct {
        manner how;
        uint64_t asked, ranges;
    } cases[] = {{CUT, 3, 2}, {STALLED, 2, 1}, {NO_RANGES, 2, 1}, {BUSY, 3, 0}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        hub *h = start(cases[i].how);
        expect_pulled(h);
        if (h->files[3].asked != cases[i].asked || h->files[3].ranges != cases[i].ranges)
            fail_msg("case %zu: asked %llu times, %llu with a range", i,
                     (unsigned long long)h->files[3].asked, (unsigned long long)h->files[3].ranges);
        stop(h);
    }
}

static void what_an_earlier_call_left_is_gone_on_with(void **state) {
    (void)state;
    hub *h = start(WELL);
    char *partial = tv_format("%s/model.safetensors.partial", h->out), *kept = tv_format("%s/kept", h->dir);
    assert_ok(tv_make_dirs(h->out));
    assert_ok(tv_write_file(partial, weights, 12345));
    expect_pulled(h);
    assert_int_equal(h->files[3].ranges, 1);
    /* Of another version: found by the hash, and fetched anew. */
    assert_ok(tv_remove_tree(h->out));
    assert_ok(tv_make_dirs(h->out));
    assert_ok(tv_write_file(partial, "0123456789", 10));
    expect_pulled(h);
    assert_int_equal(h->files[3].asked, 3);
    /* A link in its place leads to somebody's file. */
    assert_ok(tv_remove_tree(h->out));
    assert_ok(tv_make_dirs(h->out));
    assert_ok(tv_write_file(kept, "mine", 4));
    assert_int_equal(symlink(kept, partial), 0);
    expect_refused(h, 1, "model.safetensors.partial");
    char *text = NULL;
    assert_ok(tv_read_file(kept, &text, NULL));
    assert_string_equal(text, "mine");
    tv_free_all(text, kept, partial);
    stop(h);
}

static void an_interrupt_keeps_what_came(void **state) {
    (void)state;
    hub *h = start(SLOW);
    char *partial = tv_format("%s/model.safetensors.partial", h->out);
    tv_child child = tv_start_trivium("pull", "org/small", "--out", h->out);
    uint64_t size = 0;
    for (double end = tv_seconds() + 20; size < 6000 && tv_seconds() < end; tv_sleep(0.02))
        if (tv_path_exists(partial))
            assert_ok(tv_file_size(partial, &size));
    kill(child.pid, SIGINT);
    tv_child_result run = tv_child_wait(&child);
    tv_expect_exit(&run, 130);
    assert_non_null(strstr(run.err, "the same command goes on from there"));
    tv_child_result_free(&run);
    assert_false(there(h, "model.safetensors"));
    assert_true(tv_path_exists(partial));
    h->files[3].manner = WELL;
    expect_pulled(h);
    assert_int_equal(h->files[3].ranges, 1);
    free(partial);
    stop(h);
}

static void what_came_wrong_is_not_kept(void **state) {
    (void)state;
    static const struct {
        manner how;
        const char *words;
    } cases[] = {{WRONG_BYTES, "has not the hash that the hub told"},
                 {TOO_LONG, "sends more than the 300000 bytes"},
                 {TO_FILE, "which is no address of http or https"},
                 {IN_CIRCLES, "redirects more than 8 times"},
                 {MISSING, "(404)"}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        hub *h = start(cases[i].how);
        expect_refused(h, 2, cases[i].words);
        if (cases[i].how == WRONG_BYTES)
            assert_false(there(h, "model.safetensors.partial"));
        stop(h);
    }
    /* It ends, though each try brings something. */
    hub *h = start(NEVER);
    expect_refused(h, 1, "the same command goes on from there");
    stop(h);
    /* Another part than was asked for. */
    h = start(WRONG_RANGE);
    char *partial = tv_format("%s/model.safetensors.partial", h->out);
    assert_ok(tv_make_dirs(h->out));
    assert_ok(tv_write_file(partial, weights, 1000));
    expect_refused(h, 2, "sends bytes from 1005, expected from 1000");
    free(partial);
    stop(h);
    /* A small file, by git's hash. */
    h = start(WELL);
    h->files[1].manner = WRONG_BYTES;
    expect_refused(h, 2, "what came as config.json has not the hash");
    stop(h);
}

static void a_token_stays_with_its_hub(void **state) {
    (void)state;
    hub *h = start(AWAY);
    expect_pulled(h);
    stop(h);
    h = start(AWAY);
    h->token = "Bearer hf_secret";
    expect_refused(h, 2, "HF_TOKEN");
    setenv("HF_TOKEN", "hf_wrong", 1);
    expect_refused(h, 2, "refuses list of files to this HF_TOKEN (401)");
    setenv("HF_TOKEN", "hf_secret", 1);
    expect_pulled(h);
    assert_false(h->token_went_elsewhere);
    setenv("HF_TOKEN", "hf_secret\r\nX-Evil: 1", 1);
    tv_child_result run = pull(h);
    tv_expect_sentence(&run, 2, "HF_TOKEN holds", "a token of two lines");
    tv_child_result_free(&run);
    /* Over a wire that others read. */
    setenv("HF_TOKEN", "hf_secret", 1);
    setenv("HF_ENDPOINT", "http://hub.invalid", 1);
    run = pull(h);
    tv_expect_sentence(&run, 2, "everybody on the way would read HF_TOKEN", "a token in the clear");
    assert_null(strstr(run.err, "hf_secret"));
    tv_child_result_free(&run);
    stop(h);
}

static void refusals_are_said(void **state) {
    (void)state;
    hub *h = start(WELL);
    static const struct {
        unsigned code;
        const char *words;
    } codes[] = {{401, "there is no such model, or it needs a token in HF_TOKEN"},
                 {403, "there is no such model, or it needs a token in HF_TOKEN"},
                 {404, "the hub has no list of files there (404)"},
                 {418, "the hub answers 418"}};
    for (size_t i = 0; i < TV_COUNT(codes); i++) {
        h->refusal = codes[i].code;
        expect_refused(h, 2, codes[i].words);
    }
    h->refusal = 0;
    static const struct {
        const char *listing, *words;
    } listings[] = {
        {"", "revision/main"},
        {"<html>", "revision/main"},
        {"{\"siblings\": 7}", "expected a list \"siblings\""},
        {"{\"siblings\": []}", "has neither model.safetensors nor model.safetensors.index.json"},
        {"{\"siblings\": [{\"rfilename\": 7}]}", "\"rfilename\""},
        {"{\"sha\": \"../x\", \"siblings\": []}", "expected a hash for \"sha\""},
        {"{\"siblings\": [{\"rfilename\": \"a\", \"size\": -2}]}", "size"},
        {"{\"siblings\": [{\"rfilename\": \"pytorch_model.bin\"}]}", "a pickle"},
        {"{\"siblings\": [{\"rfilename\": \"x.Q4_0.gguf\"}]}", "--file x.Q4_0.gguf"},
        {"{\"siblings\": [{\"rfilename\": \"model.safetensors\"}]}", "has no file config.json"},
        {"{\"siblings\": [{\"rfilename\": \"../model.safetensors\"}]}", "has neither"},
        {"{\"siblings\": [{\"rfilename\": \"a\"}, {\"rfilename\": \"a\"}]}", "lists a twice"},
    };
    for (size_t i = 0; i < TV_COUNT(listings); i++) {
        h->listing = listings[i].listing;
        expect_refused(h, 2, listings[i].words);
        assert_false(tv_path_exists(h->out));
    }
    static const char *const names[] = {"a/b/c", "../x", "org/..", "org/a b", "org/a?b", "/x", "org/"};
    for (size_t i = 0; i < TV_COUNT(names); i++) {
        tv_child_result run = tv_run_trivium("pull", names[i], "--out", h->out);
        tv_expect_sentence(&run, 2, "expected a model's name as ORG/NAME", names[i]);
        tv_child_result_free(&run);
    }
    tv_child_result run = tv_run_trivium("pull", "", "--out", h->out);
    tv_expect_sentence(&run, 2, "ORG/NAME is empty", "no name");
    tv_child_result_free(&run);
    run = tv_run_trivium("pull", "org/small", "--out", h->out, "--file", "../x");
    tv_expect_sentence(&run, 2, "--file: expected a file's name", "a file elsewhere");
    tv_child_result_free(&run);
    stop(h);
}

/* Two shards, the second of which is the weights. */
static void shards_come_before_their_index(void **state) {
    (void)state;
    static const char good[] = "{\"weight_map\": {\"b\": \"b.safetensors\", \"a\": \"config.json\", \"c\": "
                               "\"b.safetensors\"}}";
    static const char good_blob[] = "4db9bf1c19a062c922f6f49945e128be1a4d6ed7";
    static const struct {
        const char *text, *blob, *words;
    } wrong[] = {
        {"{\"weight_map\": {\"b\": \"sub/../../b.safetensors\"}}", "cab0a5d82ccc95522bef8d60b6c4c44a0517c371",
         "expected the name of a file beside it"},
        {"{\"weight_map\": {\"b\": \"/b.safetensors\"}}", "a1cc1d0a7072c31e8797fe51f44ef444bb2e3834",
         "expected the name of a file beside it"},
        {"{\"weight_map\": {\"b\": \"../b.safetensors\"}}", "5c667a3b0006131fd0f888e1cbc415c205a688a7",
         "expected the name of a file beside it"},
        {"{\"weight_map\": {\"b\": \"c.safetensors\"}}", "312b66de8d2d0a5c8f90be4d1acf4923dbd865e4",
         "has no file c.safetensors"},
        {"{\"weight_map\": []}", "967083f0006031ccd1075833d9ec9b033290ac6a", "\"weight_map\""},
        {"{", "81750b96f9d83b395f285233d54ec0c9df9ab93d", "model.safetensors.index.json"},
    };
    hub *h = start(WELL);
    h->files[3].name = "b.safetensors";
    add(h, (served){.name = "model.safetensors.index.json", .bytes = good, .size = sizeof good - 1});
    served *index = &h->files[4];
    for (size_t i = 0; i < TV_COUNT(wrong); i++) {
        index->bytes = wrong[i].text;
        index->size = strlen(wrong[i].text);
        index->blob = wrong[i].blob;
        expect_refused(h, 2, wrong[i].words);
        assert_false(there(h, "model.safetensors.index.json"));
        assert_false(there(h, "b.safetensors"));
    }
    index->bytes = good;
    index->size = sizeof good - 1;
    index->blob = good_blob;
    h->files[3].manner = MISSING;
    expect_refused(h, 2, "(404)");
    assert_false(there(h, "model.safetensors.index.json"));
    h->files[3].manner = CUT;
    tv_child_result run = pull(h);
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    expect_bytes(h, "model.safetensors.index.json", good, sizeof good - 1);
    expect_bytes(h, "b.safetensors", weights, WEIGHTS);
    assert_false(there(h, ".index"));
    stop(h);
}

/* A hub that nobody answers for, and one that ends each connection at once. */
static void no_hub_is_a_failure_and_no_hang(void **state) {
    (void)state;
    hub *h = start(WELL);
    uint16_t port = h->port;
    char endpoint[64];
    MHD_stop_daemon(h->daemon);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", port);
    setenv("HF_ENDPOINT", endpoint, 1);
    tv_child_result run = tv_run_trivium("pull", "org/small", "--out", h->out, "--quiet", "--patience", "2");
    tv_expect_sentence(&run, 1, "127.0.0.1", "no server");
    tv_child_result_free(&run);
    setenv("HF_ENDPOINT", "ftp://127.0.0.1", 1);
    run = tv_run_trivium("pull", "org/small", "--out", h->out);
    tv_expect_sentence(&run, 2, "HF_ENDPOINT: expected an address", "another protocol");
    tv_child_result_free(&run);
    h->daemon = start_server(serve, h, &h->port);
    stop(h);
}

static int set_up(void **state) {
    (void)state;
    weights = malloc(WEIGHTS);
    assert_non_null(weights);
    for (uint32_t i = 0; i < WEIGHTS; i++)
        weights[i] = (char)(i * 7 % 251);
    setenv("no_proxy", "127.0.0.1,localhost", 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(weights);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_used_comes),
        cmocka_unit_test(connections_that_fail_are_gone_on_with),
        cmocka_unit_test(what_an_earlier_call_left_is_gone_on_with),
        cmocka_unit_test(an_interrupt_keeps_what_came),
        cmocka_unit_test(what_came_wrong_is_not_kept),
        cmocka_unit_test(a_token_stays_with_its_hub),
        cmocka_unit_test(refusals_are_said),
        cmocka_unit_test(shards_come_before_their_index),
        cmocka_unit_test(no_hub_is_a_failure_and_no_hang),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

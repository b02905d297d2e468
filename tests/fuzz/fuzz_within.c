/* Fuzz target: bytes as the state of an iteration that a checkpoint holds, or as the file of its rollout; the
 * first byte says which, and the other file is whole. What is read is a place of the run and answers to its
 * prompts, and comes back as it is when it is written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "small_directory.h"
#include "stages/policy/within.h"
#include "support/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { S = 4, T = 6, VOCAB = 9, EPOCHS = 3, MINIBATCH = 2, STATS = 3 };
#define STATE "state.json"

static uint32_t prompt_ids[2][2] = {{7, 8}, {1, 2}};
static tv_prompt items[] = {{.ids = prompt_ids[0], .length = 2}, {.ids = prompt_ids[1], .length = 1}};
static const tv_prompts prompts = {.items = items, .count = 2};
static const tv_stage stage = {.name = "grpo"};
static const tv_parameter_list list = {.config = {.vocab_size = VOCAB}};
static tv_run run = {.stage = &stage, .list = &list};

/* Checkpoints: one whose state is given, one whose rollout is, and what is read of them written again. */
enum { GIVEN_STATE, GIVEN_ROLLOUT, AGAIN, FOLDERS };
static char *dir, *folders[FOLDERS], *given[2];
static tv_policy_rewards *scorers;
static tv_policy_rollout rollout, other;
static double loss, stats[STATS];

static void clean_up(void) {
    tv_policy_rewards_close(&scorers);
    tv_policy_rollout_free(&rollout);
    tv_policy_rollout_free(&other);
    for (int i = 0; i < FOLDERS; i++)
        free(folders[i]);
    tv_free_all(given[0], given[1]);
    tv_test_dir_remove(&dir);
}

static tv_policy_within begin(tv_policy_rollout *of) {
    tv_policy_within within = {.run = &run,
                               .scorers = scorers,
                               .prompts = &prompts,
                               .rollout = of,
                               .epochs = EPOCHS,
                               .minibatch = MINIBATCH};
    tv_policy_within_add(&within, "loss", &loss, 1);
    tv_policy_within_add(&within, "stats", stats, STATS);
    return within;
}

static void save(const tv_policy_within *within, const char *folder) {
    char *path = tv_format("%s/" STATE, folder);
    cJSON *root = cJSON_CreateObject();
    if (!path || !root || tv_policy_within_write(within, root, folder) != TV_OK ||
        tv_json_write_file(path, root) != TV_OK)
        abort();
    cJSON_Delete(root);
    free(path);
}

static void set_up(void) {
    static char check[] = "length:1:9";
    static const tv_policy_sources sources = {
        .rewards = {{TV_REWARD_CHECK, check, "one", 1}, {TV_REWARD_CHECK, check, "two", 1}}, .count = 2};
    static const uint32_t answer[] = {7, 8, 3};
    tv_log_set_level(TV_LOG_ERROR);
    dir = tv_test_dir();
    atexit(clean_up);
    if (tv_policy_rewards_open(&(tv_policy_rewards_options){.sources = &sources, .sequences = S}, &scorers) !=
            TV_OK ||
        tv_policy_rollout_create(S, T, &rollout) != TV_OK || tv_policy_rollout_create(S, T, &other) != TV_OK)
        abort();
    for (uint64_t s = 0; s < S; s++)
        tv_policy_rollout_set(&rollout, s, answer, 3, 2, true);
    const tv_policy_within whole = begin(&rollout);
    for (int i = 0; i < FOLDERS; i++) {
        folders[i] = tv_format("%s/%d", dir, i);
        char *inside = tv_format("%s/training_state", folders[i]);
        if (!inside || tv_make_dirs(inside) != TV_OK)
            abort();
        free(inside);
        save(&whole, folders[i]);
    }
    given[GIVEN_STATE] = tv_format("%s/" STATE, folders[GIVEN_STATE]);
    given[GIVEN_ROLLOUT] = tv_format("%s/training_state/rollout.safetensors", folders[GIVEN_ROLLOUT]);
    if (!given[GIVEN_ROLLOUT] || !tv_path_exists(given[GIVEN_ROLLOUT]))
        abort();
}

static void expect_answers(const tv_policy_rollout *r) {
    for (uint64_t s = 0; s < S; s++) {
        const tv_policy_sequence *item = &r->items[s];
        if (item->prompt >= prompts.count || item->length > T + 1 || item->prompt_length > item->length)
            abort();
        for (uint64_t i = 0; i < item->length; i++)
            if (r->ids[s * (T + 1) + i] >= VOCAB)
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!dir)
        set_up();
    if (size == 0)
        return 0;
    const int which = data[0] % 2;
    tv_fuzz_write(given[which], data + 1, size - 1);
    tv_policy_within within = begin(&rollout), again = begin(&other);
    if (tv_policy_within_read(&within, folders[which], STATE) != TV_OK)
        return 0;
    if (within.epoch >= EPOCHS || within.first >= S || within.first % MINIBATCH)
        abort();
    expect_answers(&rollout);
    save(&within, folders[AGAIN]);
    if (tv_policy_within_read(&again, folders[AGAIN], STATE) != TV_OK || again.epoch != within.epoch ||
        again.first != within.first || again.updated != within.updated ||
        memcmp(rollout.ids, other.ids, S * (T + 1) * sizeof *other.ids) != 0)
        abort();
    return 0;
}

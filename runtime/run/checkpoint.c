/* Writing, finding and reading checkpoints: see checkpoint.h. */
#include "run/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/adapter_base.h"
#include "formats/checksums.h"
#include "formats/gguf.h"
#include "formats/load.h"
#include "formats/peft.h"
#include "run/moments.h"
#include "text/tokenizer_json.h"

enum { STATE_VERSION = 2, STEP_NAME = 40 };
static const char temporary_prefix[] = ".writing-", temporary_suffix[] = ".trivium-writing";
static const char within_name[] = "within";

/* ---- state ---- */

bool tv_loss_scale_set(cJSON *root, const char *prefix, const struct tv_update_state *update) {
    char scale[64], good[64];
    snprintf(scale, sizeof scale, "%sloss_scale", prefix);
    snprintf(good, sizeof good, "%sloss_scale_good_steps", prefix);
    return !(update->loss_scale > 0) || (tv_json_set_number(root, scale, (double)update->loss_scale) &&
                                         tv_json_set_number(root, good, update->good_steps));
}

tv_status tv_loss_scale_read(const cJSON *root, const char *prefix, const char *where,
                             struct tv_update_state *update) {
    char key[64];
    double scale;
    int64_t good;
    int exponent;
    snprintf(key, sizeof key, "%sloss_scale", prefix);
    TV_RETURN_IF_FAILED(tv_json_number(root, key, where, 0, &scale));
    if (!(scale == 0 ||
          (scale >= TV_LOSS_SCALE_LEAST && scale <= TV_LOSS_SCALE_LARGEST && frexp(scale, &exponent) == 0.5)))
        return tv_fail(TV_E_DATA, "%s: expected a %s that is a power of two from %g to %g, found %g", where,
                       key, TV_LOSS_SCALE_LEAST, TV_LOSS_SCALE_LARGEST, scale);
    snprintf(key, sizeof key, "%sloss_scale_good_steps", prefix);
    TV_RETURN_IF_FAILED(tv_json_integer(root, key, where, 0, UINT32_MAX, 0, &good));
    update->loss_scale = (float)scale;
    update->good_steps = (uint32_t)good;
    update->finite = 1; /* as tv_trainer_set_state goes on */
    return TV_OK;
}

/* The last file of a checkpoint, because it has the checksums of the others. */
static tv_status write_state(const char *directory, const tv_checkpoint_state *state) {
    char *path = tv_format("%s/%s", directory, TV_STATE_NAME);
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_number(root, "version", STATE_VERSION) &&
                 tv_json_set_number(root, "global_step", (double)state->step) &&
                 tv_json_set_number(root, "examples", (double)state->examples) &&
                 tv_json_set_number(root, "tokens", (double)state->tokens) &&
                 tv_json_set_number(root, "loss", state->loss) &&
                 tv_json_set_number(root, "best_val_loss", state->best_val_loss) &&
                 tv_json_set_number(root, "best_step", (double)state->best_step) &&
                 tv_json_set_number(root, "head_rows", (double)state->head_rows) &&
                 tv_json_set_number(root, "updates_applied", state->update.applied) &&
                 tv_json_set_number(root, "updates_skipped", state->update.skipped) &&
                 tv_json_set_number(root, "updates_skipped_in_row", state->update.skipped_in_row) &&
                 tv_loss_scale_set(root, "", &state->update);
    tv_status status = built ? tv_checksums_seal(root, directory)
                             : tv_fail(TV_E_MEMORY, "out of host memory for the state of %s", directory);
    if (status == TV_OK)
        status = tv_json_write_file(path, root);
    cJSON_Delete(root);
    free(path);
    return status;
}

tv_status tv_checkpoint_check(const char *checkpoint, bool *sealed) {
    cJSON *root = NULL;
    tv_status status;
    *sealed = false;
    char *path = tv_format("%s/%s", checkpoint, TV_STATE_NAME);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY(tv_json_read_file(path, &root));
    TV_TRY(tv_checksums_check_state(root, path, sealed));
    if (*sealed)
        TV_TRY(tv_checksums_check_files(root, checkpoint));
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

tv_status tv_checkpoint_read_state(const char *checkpoint, tv_checkpoint_state *state) {
    *state = (tv_checkpoint_state){0};
    cJSON *root = NULL;
    tv_status status = TV_OK;
    int64_t version, step, examples, tokens, best_step, head_rows, applied, skipped, in_row;
    const int64_t most = INT64_C(1) << 53;
    char *path = tv_format("%s/%s", checkpoint, TV_STATE_NAME);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY(tv_json_read_file(path, &root));
    TV_TRY(tv_json_integer(root, "version", path, 1, STATE_VERSION, 0, &version));
    TV_TRY(tv_json_integer(root, "global_step", path, 0, most, -1, &step));
    TV_TRY(tv_json_integer(root, "examples", path, 0, most, -1, &examples));
    TV_TRY(tv_json_integer(root, "tokens", path, 0, most, 0, &tokens));
    TV_TRY(tv_json_number(root, "loss", path, NAN, &state->loss));
    TV_TRY(tv_json_number(root, "best_val_loss", path, INFINITY, &state->best_val_loss));
    TV_TRY(tv_json_integer(root, "best_step", path, 0, most, 0, &best_step));
    TV_TRY(tv_json_integer(root, "head_rows", path, 0, most, 0, &head_rows));
    TV_TRY(tv_json_integer(root, "updates_applied", path, 0, UINT32_MAX, -1, &applied));
    TV_TRY(tv_json_integer(root, "updates_skipped", path, 0, UINT32_MAX, 0, &skipped));
    TV_TRY(tv_json_integer(root, "updates_skipped_in_row", path, 0, UINT32_MAX, 0, &in_row));
    if (version == 1) {
        status =
            tv_fail(TV_E_DATA,
                    "%s: an earlier version wrote it, which did not note at which example it stood, so it "
                    "cannot be resumed; its model can be the start of a new run",
                    path);
        goto done;
    }
    if (version < 1 || step < 0 || examples < 0 || applied < 0) {
        status = tv_fail(TV_E_DATA,
                         "%s: expected version, global_step, examples and updates_applied, found less", path);
        goto done;
    }
    state->step = (uint64_t)step;
    state->examples = (uint64_t)examples;
    state->tokens = (uint64_t)tokens;
    state->best_step = (uint64_t)best_step;
    state->head_rows = (uint64_t)head_rows;
    state->update.applied = (uint32_t)applied;
    state->update.skipped = (uint32_t)skipped;
    state->update.skipped_in_row = (uint32_t)in_row;
    status = tv_loss_scale_read(root, "", path, &state->update);
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

tv_status tv_checkpoint_read_model(const char *checkpoint, const tv_model_directory *directory,
                                   tv_model *model) {
    TV_RETURN_IF_FAILED(tv_model_load(model, directory));
    return tv_moments_read(checkpoint, model);
}

/* ---- names ---- */

static void print_step_name(uint64_t step, char name[STEP_NAME]) {
    snprintf(name, STEP_NAME, "step-%" PRIu64, step);
}

/* N of "step-N" as it is written here, or 0: "step--5" and "step-060" are somebody else's. */
static uint64_t step_of_name(const char *name) {
    uint64_t step = 0;
    char own[STEP_NAME];
    if (sscanf(name, "step-%" SCNu64, &step) != 1)
        return 0;
    print_step_name(step, own);
    return strcmp(name, own) == 0 ? step : 0;
}

/* The target of a link among the checkpoints, as a step; 0 when there is none. */
static uint64_t step_of_link(const char *checkpoints, const char *link) {
    char *path = tv_format("%s/%s", checkpoints, link), *target = NULL;
    uint64_t step = path && tv_read_link(path, &target) == TV_OK ? step_of_name(target) : 0;
    free(path);
    free(target);
    return step;
}

static tv_status set_link(const char *checkpoints, const char *link, const char *target) {
    char *path = tv_format("%s/%s", checkpoints, link);
    tv_status status =
        path ? tv_replace_link(target, path) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    free(path);
    return status;
}

static tv_status remove_entry(const char *checkpoints, const char *name) {
    char *path = tv_format("%s/%s", checkpoints, name);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_remove_tree(path);
    free(path);
    return status;
}

/* `best` leads to step `best`, and to nothing where there is none (any more). */
static tv_status set_best(const char *checkpoints, uint64_t best) {
    char name[STEP_NAME];
    print_step_name(best, name);
    char *path = tv_format("%s/%s", checkpoints, name);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = TV_OK;
    if (best == 0)
        status = remove_entry(checkpoints, "best");
    else if (best != step_of_link(checkpoints, "best") && tv_path_is_directory(path))
        status = set_link(checkpoints, "best", name);
    free(path);
    return status;
}

static int compare_steps_down(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

tv_status tv_checkpoint_check_place(const char *run) {
    char *checkpoints = tv_format("%s/checkpoints", run);
    tv_status status = checkpoints ? tv_output_refuse_link(checkpoints)
                                   : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    free(checkpoints);
    return status;
}

/* Where it is there. It is renamed to a temporary name before, so that no half-removed one is ever found. */
static tv_status remove_checkpoint(const char *checkpoints, const char *name) {
    char *from = tv_format("%s/%s", checkpoints, name);
    char *to = tv_format("%s/%sremoved-%s", checkpoints, temporary_prefix, name);
    tv_status status = from && to ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK && tv_path_exists(from)) {
        status = tv_rename_durable(from, to);
        if (status == TV_OK)
            status = tv_remove_tree(to);
    }
    free(from);
    free(to);
    return status;
}

/* Removes what interrupted writes left, and all but the `keep` newest checkpoints and the links' targets. */
static tv_status prune(const char *checkpoints, uint64_t keep) {
    char **names = NULL;
    uint64_t count = 0, step_count = 0;
    TV_RETURN_IF_FAILED(tv_remove_temporaries(checkpoints));
    TV_RETURN_IF_FAILED(tv_list_dir(checkpoints, &names, &count));
    tv_status status = TV_OK;
    uint64_t last = step_of_link(checkpoints, "last"), best = step_of_link(checkpoints, "best");
    uint64_t *steps = calloc(count + 1, sizeof *steps);
    if (!steps) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the list of checkpoints");
        goto done;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (strncmp(names[i], temporary_prefix, strlen(temporary_prefix)) == 0)
            TV_TRY(remove_entry(checkpoints, names[i]));
        else if (step_of_name(names[i]))
            steps[step_count++] = step_of_name(names[i]);
    }
    if (step_count)
        qsort(steps, step_count, sizeof *steps, compare_steps_down);
    for (uint64_t i = keep; i < step_count; i++) {
        if (steps[i] == last || steps[i] == best)
            continue;
        char name[STEP_NAME];
        print_step_name(steps[i], name);
        TV_TRY(remove_checkpoint(checkpoints, name));
    }
done:
    free(steps);
    tv_free_names(&names, count);
    return status;
}

/* ---- write and find ---- */

tv_status tv_checkpoint_write_model(const char *path, tv_model *model, const struct tv_update_state *update) {
    TV_RETURN_IF_FAILED(tv_make_dirs(path));
    TV_RETURN_IF_FAILED(tv_model_directory_write(path, tv_model_list(model), tv_model_source, model));
    return tv_moments_write(path, model, !update->finite);
}

/* What a checkpoint is written from: the arguments of tv_checkpoint_write. */
typedef struct content {
    tv_model *model;
    const tv_tokenizer *tokenizer;
    const tv_checkpoint_state *state;
    tv_checkpoint_more more;
    void *context;
} content;

/* Each file and folder is durable, its name too, once it is written (base/files.h). */
static tv_status write_content(const char *path, const content *c) {
    TV_RETURN_IF_FAILED(tv_remove_tree(path));
    TV_RETURN_IF_FAILED(tv_checkpoint_write_model(path, c->model, &c->state->update));
    if (c->tokenizer)
        TV_RETURN_IF_FAILED(tv_tokenizer_save(c->tokenizer, path));
    if (c->more)
        TV_RETURN_IF_FAILED(c->more(c->context, path));
    return write_state(path, c->state);
}

/* A write that failed half-way leaves what was there as it was and no litter. */
static tv_status remove_half(const char *temporary, tv_status status) {
    char *sentence = tv_format("%s", tv_last_error());
    (void)tv_remove_tree(temporary);
    if (sentence)
        status = tv_fail(status, "%s", sentence);
    free(sentence);
    return status;
}

tv_status tv_checkpoint_write_alone(const char *path, tv_model *model, const tv_tokenizer *tokenizer,
                                    const tv_checkpoint_state *state) {
    if (tv_path_exists(path))
        return tv_fail(TV_E_IO,
                       "%s is there already; a checkpoint does not replace another, name a new directory",
                       path);
    char *temporary = tv_format("%s%s", path, temporary_suffix);
    if (!temporary)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = write_content(temporary, &(content){model, tokenizer, state, NULL, NULL});
    if (status == TV_OK)
        status = tv_rename_durable(temporary, path);
    if (status != TV_OK)
        status = remove_half(temporary, status);
    free(temporary);
    return status;
}

/* Takes the place of one of that name, which goes when the new one is whole. */
static tv_status write_named(const char *checkpoints, const char *name, const content *c) {
    tv_status status;
    char *temporary = tv_format("%s/%s%s", checkpoints, temporary_prefix, name),
         *final = tv_format("%s/%s", checkpoints, name);
    if (!temporary || !final) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    TV_TRY(tv_make_dirs(checkpoints));
    TV_TRY(write_content(temporary, c));
    TV_TRY(remove_checkpoint(checkpoints, name));
    TV_TRY(tv_rename_durable(temporary, final));
done:
    if (status != TV_OK && temporary)
        status = remove_half(temporary, status);
    free(temporary);
    free(final);
    return status;
}

tv_status tv_checkpoint_write(const char *run, tv_model *model, const tv_tokenizer *tokenizer,
                              const tv_checkpoint_state *state, uint64_t keep, tv_checkpoint_more more,
                              void *context) {
    tv_status status;
    char name[STEP_NAME];
    print_step_name(state->step, name);
    char *checkpoints = tv_format("%s/checkpoints", run), *final = tv_format("%s/checkpoints/%s", run, name);
    if (!checkpoints || !final) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    if (!tv_path_exists(final))
        TV_TRY(write_named(checkpoints, name, &(content){model, tokenizer, state, more, context}));
    TV_TRY(set_link(checkpoints, "last", name));
    TV_TRY(set_best(checkpoints, state->best_step));
    TV_TRY(remove_checkpoint(checkpoints, within_name));
    TV_TRY(prune(checkpoints, keep));
done:
    free(checkpoints);
    free(final);
    return status;
}

tv_status tv_checkpoint_write_within(const char *run, tv_model *model, const tv_tokenizer *tokenizer,
                                     const tv_checkpoint_state *state, tv_checkpoint_more more,
                                     void *context) {
    char *checkpoints = tv_format("%s/checkpoints", run);
    if (!checkpoints)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status =
        write_named(checkpoints, within_name, &(content){model, tokenizer, state, more, context});
    if (status == TV_OK)
        status = set_link(checkpoints, "last", within_name);
    free(checkpoints);
    return status;
}

bool tv_checkpoint_is_within(const char *path) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, within_name) == 0;
}

/* The newest checkpoint whose step is below `limit`; NULL when there is none. The links may be one write
 * behind the directories: the newest directory is whole by construction. */
static tv_status find_newest(const char *run, uint64_t limit, char **path) {
    *path = NULL;
    char **names = NULL;
    uint64_t count = 0, newest = 0;
    tv_status status = TV_OK;
    char *checkpoints = tv_format("%s/checkpoints", run);
    if (!checkpoints)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (tv_path_is_directory(checkpoints))
        TV_TRY(tv_list_dir(checkpoints, &names, &count));
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step = step_of_name(names[i]);
        if (step < limit)
            newest = tv_max_u64(newest, step);
    }
    if (newest && !(*path = tv_format("%s/step-%" PRIu64, checkpoints, newest)))
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
done:
    tv_free_names(&names, count);
    free(checkpoints);
    return status;
}

tv_status tv_checkpoint_find_last(const char *run, char **path) {
    char *within = tv_format("%s/checkpoints/%s", run, within_name);
    tv_checkpoint_state state;
    tv_status status =
        within ? find_newest(run, UINT64_MAX, path) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    const char *slash = status == TV_OK && *path ? strrchr(*path, '/') : NULL;
    /* One that cannot be read is the newest too, so that somebody hears of it. */
    if (status == TV_OK && tv_path_exists(within) &&
        (!slash || tv_checkpoint_read_state(within, &state) != TV_OK ||
         state.step >= step_of_name(slash + 1))) {
        free(*path);
        *path = within;
        return TV_OK;
    }
    free(within);
    if (status != TV_OK || *path)
        return status;
    return tv_fail(TV_E_CONFIG,
                   "%s: expected a checkpoint to resume from, found none; start without --resume", run);
}

tv_status tv_checkpoint_find_before(const char *run, const char *checkpoint, char **path) {
    const char *slash = strrchr(checkpoint, '/');
    uint64_t step = step_of_name(slash ? slash + 1 : checkpoint);
    return find_newest(run, step ? step : UINT64_MAX, path);
}

tv_status tv_model_path_resolve(const char *given, char **path) {
    if (tv_gguf_is_one(given)) {
        *path = tv_format("%s", given);
        return *path ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    }
    static const char *const places[] = {"", "/checkpoints/best", "/checkpoints/last"};
    for (size_t i = 0; i < TV_COUNT(places); i++) {
        static const char *const files[] = {TV_WEIGHTS_NAME, TV_INDEX_NAME, TV_PEFT_CONFIG_NAME};
        bool found = false;
        for (size_t f = 0; !found && f < TV_COUNT(files); f++) {
            char *file = tv_format("%s%s/%s", given, places[i], files[f]);
            found = file && tv_path_exists(file);
            free(file);
        }
        if (!found)
            continue;
        *path = tv_format("%s%s", given, places[i]);
        return *path ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    }
    *path = NULL;
    return tv_fail(TV_E_DATA,
                   "%s: expected a model directory (config.json, model.safetensors), an adapter's "
                   "(adapter_config.json), a GGUF file or a run with checkpoints, found none of them",
                   given);
}

tv_status tv_model_given_open(const char *model, const char *adapter, char **path,
                              tv_model_directory **directory) {
    char *base = NULL;
    tv_status status;
    *path = NULL;
    *directory = NULL;
    TV_TRY_OR_FAIL(tv_model_path_resolve(adapter ? adapter : model, path));
    if (adapter) {
        TV_TRY_OR_FAIL(tv_model_path_resolve(model, &base));
        TV_TRY_OR_FAIL(tv_model_directory_open_adapted(base, *path, directory));
    } else {
        TV_TRY_OR_FAIL(tv_model_directory_open(*path, directory));
    }
    TV_TRY_OR_FAIL(tv_adapter_base_check(*directory));
    free(base);
    return TV_OK;
fail:
    tv_model_directory_close(directory);
    free(base);
    free(*path);
    *path = NULL;
    return status;
}

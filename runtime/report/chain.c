/* From runs to the workflow that they are: see chain.h. */
#include "report/chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "report/stage.h"

enum { MOST_RUNS = 16 };

/* The order of the workflow, and the boxes that a run of each stage fills: its own, that of its data, and
 * that of what came out of it. */
static const struct {
    const char *stage, *box, *data, *result;
} steps[] = {
    {"pretrain", "pretrain", "text", "base"}, {"sft", "sft", "examples", "tuned"},
    {"reward", "reward", "prefs", NULL},      {"dpo", "ppo", "prefs", "aligned"},
    {"ppo", "ppo", "prompts", "aligned"},     {"grpo", "ppo", "prompts", "aligned"},
};

static uint64_t place_of(const tv_report_run *run) {
    const char *stage = tv_report_stage_name(run);
    for (uint64_t i = 0; i < TV_COUNT(steps); i++)
        if (strcmp(steps[i].stage, stage) == 0)
            return i;
    return TV_COUNT(steps);
}

/* "runs/sft/checkpoints/best" is of the run "runs/sft"; NULL when memory is out. */
static char *run_of(const char *model) {
    const char *at = strstr(model, "/checkpoints/");
    uint64_t length = at ? (uint64_t)(at - model) : strlen(model);
    while (length > 1 && model[length - 1] == '/')
        length--;
    return tv_format("%.*s", (int)tv_min_u64(length, 4096), model);
}

static bool is_there(const tv_report_run *runs, uint64_t count, const char *path) {
    for (uint64_t i = 0; i < count; i++)
        if (strcmp(runs[i].path, path) == 0)
            return true;
    return false;
}

/* Adds the run that `model` is of, where it is one. */
static tv_status add(tv_report_run **runs, uint64_t *count, const cJSON *model) {
    if (!cJSON_IsString(model) || *count == MOST_RUNS)
        return TV_OK;
    char *path = run_of(model->valuestring), *record = path ? tv_format("%s/run.json", path) : NULL;
    tv_status status = record ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK && !is_there(*runs, *count, path) && tv_path_exists(record)) {
        tv_report_run *grown = realloc(*runs, (*count + 2) * sizeof *grown);
        if (!grown)
            status = tv_fail(TV_E_MEMORY, "out of host memory for a run");
        else
            *runs = grown;
        /* A run that cannot be read was not asked for. */
        if (grown && tv_report_run_load(path, &grown[*count]) == TV_OK)
            ++*count;
    }
    free(record);
    free(path);
    return status;
}

/* What a checkpoint of reinforcement learning knows beside the model, its reward models among it. */
static cJSON *state_of(const tv_report_run *run) {
    const char *stage = tv_report_stage_name(run);
    bool rewarded = strcmp(stage, "ppo") == 0 || strcmp(stage, "grpo") == 0;
    char *path = rewarded ? tv_format("%s/checkpoints/last/%s_state.json", run->path, stage) : NULL;
    cJSON *root = NULL;
    if (path && tv_path_exists(path) && tv_json_read_file(path, &root) != TV_OK)
        root = NULL;
    free(path);
    return root;
}

static int by_place(const void *a, const void *b) {
    uint64_t x = place_of(a), y = place_of(b);
    return (x > y) - (x < y);
}

tv_status tv_report_chain_complete(tv_report_run **runs, uint64_t *count) {
    for (uint64_t i = 0; i < *count; i++) {
        cJSON *state = state_of(&(*runs)[i]);
        tv_status status = add(runs, count, tv_json_get((*runs)[i].facts, "model"));
        const cJSON *reward = tv_json_get(state, "reward"),
                    *one = cJSON_IsArray(reward) ? reward->child : reward;
        for (; one && status == TV_OK; one = cJSON_IsArray(reward) ? one->next : NULL)
            status = add(runs, count, one);
        cJSON_Delete(state);
        TV_RETURN_IF_FAILED(status);
    }
    return TV_OK;
}

void tv_report_chain_sort(tv_report_run *runs, uint64_t count) {
    qsort(runs, count, sizeof *runs, by_place);
}

bool tv_report_chain_is_one(const tv_report_run *runs, uint64_t count) {
    bool seen[TV_COUNT(steps) + 1] = {false}, filled = false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = place_of(&runs[i]);
        if (place == TV_COUNT(steps) || seen[place])
            return false;
        seen[place] = true;
        /* One box is for what comes after the reward model. */
        bool last = strcmp(steps[place].box, "ppo") == 0;
        if (last && filled)
            return false;
        filled = filled || last;
    }
    return count > 1;
}

static cJSON *box_of(cJSON *boxes, const char *name) {
    cJSON *box = tv_json_get(boxes, name) ? cJSON_GetObjectItemCaseSensitive(boxes, name) : NULL;
    return box ? box : cJSON_AddObjectToObject(boxes, name);
}

/* The files that a run was trained on. */
static bool add_files(cJSON *box, const tv_report_run *run) {
    const cJSON *train = tv_json_get(tv_json_get(run->config, "data"), "train"), *item;
    cJSON *files = cJSON_AddArrayToObject(box, "files");
    bool added = files != NULL;
    if (!cJSON_IsArray(train))
        train = NULL;
    cJSON_ArrayForEach(item, train) {
        const cJSON *path = cJSON_IsObject(item) ? tv_json_get(item, "path") : item;
        if (cJSON_IsString(path))
            added = added && cJSON_AddItemToArray(files, cJSON_CreateString(path->valuestring));
    }
    return added;
}

cJSON *tv_report_chain_pipeline(const tv_report_run *runs, uint64_t count) {
    cJSON *root = cJSON_CreateObject(), *boxes = cJSON_AddObjectToObject(root, "boxes");
    bool built = boxes != NULL;
    for (uint64_t i = 0; i < count && built; i++) {
        uint64_t place = place_of(&runs[i]);
        cJSON *box = box_of(boxes, steps[place].box), *data = box_of(boxes, steps[place].data);
        built = box && data && tv_json_set_string(box, "run", runs[i].path) &&
                (tv_json_get(data, "files") || add_files(data, &runs[i])) &&
                (!steps[place].result || box_of(boxes, steps[place].result));
        const tv_report_stage *stage = tv_report_stage_of(&runs[i]);
        if (built && stage && stage->title)
            built = tv_json_set_string(box, "title", stage->title);
        if (built && strcmp(steps[place].box, "ppo") == 0 && !tv_report_has_reference(&runs[i]))
            built = cJSON_AddFalseToObject(root, "reference") != NULL;
    }
    /* Who drew and ranked is no run of its own, but preferences come from somewhere. */
    if (built && tv_json_get(boxes, "prefs"))
        built = box_of(boxes, "sample") && box_of(boxes, "rank");
    char *title = tv_format("The way to %s", runs[count - 1].name);
    built = built && title && tv_json_set_string(root, "title", title);
    free(title);
    if (!built) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

/* Devices and likeness of ranks: see ranks_run.h. */
#include "run/ranks_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/os.h"

/* ---- devices ---- */

tv_status tv_rank_device(const tv_ranks *ranks, const tv_device_options *given, char *text, uint64_t size,
                         tv_device_options *options) {
    tv_caps *list = NULL;
    uint32_t count, best, alike = 0, nth = 0;
    *options = *given;
    if (!ranks || given->select)
        return TV_OK;
    tv_status status = tv_device_list(&list, &count);
    if (status == TV_OK)
        status = tv_device_choose(list, count, NULL, &best);
    if (status != TV_OK)
        goto done;
    for (uint32_t i = 0; i < count; i++)
        alike += !list[i].refusal[0] && list[i].type == list[best].type;
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].refusal[0] || list[i].type != list[best].type)
            continue;
        if (nth++ == tv_ranks_local(ranks) % alike) {
            snprintf(text, size, "%u", i);
            options->select = text;
        }
    }
done:
    free(list);
    return status;
}

typedef struct rank_device {
    char name[128];
    double peak;
    uint32_t number, unused;
} rank_device;

enum { SAID = 16 }; /* ranks by name */

static tv_status gather_devices(tv_ranks *ranks, const tv_device *device, double peak, rank_device **all) {
    rank_device own = {.number = tv_device_number(device), .peak = peak};
    snprintf(own.name, sizeof own.name, "%.127s", tv_device_caps(device)->name);
    *all = calloc(tv_ranks_count(ranks), sizeof **all);
    return *all ? tv_ranks_gather(ranks, &own, sizeof own, *all)
                : tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
}

/* Whether a rank of a lower number has the same device. */
static bool shares(const tv_ranks *ranks, const rank_device *all, uint32_t rank) {
    for (uint32_t r = 0; r < rank; r++)
        if (all[r].number == all[rank].number &&
            strcmp(tv_ranks_host(ranks, r), tv_ranks_host(ranks, rank)) == 0)
            return true;
    return false;
}

tv_status tv_ranks_say_devices(tv_ranks *ranks, const tv_device *device) {
    if (!ranks)
        return TV_OK;
    const uint32_t count = tv_ranks_count(ranks);
    rank_device *all;
    tv_status status = gather_devices(ranks, device, 0, &all);
    uint32_t sharing = 0;
    for (uint32_t r = 0; r < count && status == TV_OK; r++) {
        const bool other = shares(ranks, all, r);
        sharing += other;
        if (r < SAID)
            tv_info("rank %u on %s: %s (device %u)%s", r, tv_ranks_host(ranks, r), all[r].name, all[r].number,
                    other ? ", with another rank" : "");
    }
    if (sharing)
        tv_warn("%u of %u ranks share a device with another one, which makes nothing faster", sharing, count);
    free(all);
    return status;
}

tv_status tv_ranks_sum_peaks(tv_ranks *ranks, const tv_device *device, double *peak) {
    if (!ranks)
        return TV_OK;
    bool known = true;
    double sum = 0;
    rank_device *all;
    tv_status status = gather_devices(ranks, device, *peak, &all);
    for (uint32_t r = 0; r < tv_ranks_count(ranks) && status == TV_OK; r++) {
        known = known && all[r].peak > 0;
        sum += shares(ranks, all, r) ? 0 : all[r].peak;
    }
    *peak = known ? sum : 0;
    free(all);
    return status;
}

typedef struct waits {
    uint32_t least, most;
    double least_seconds, most_seconds;
} waits;

static tv_status find_waits(tv_ranks *ranks, double waited, waits *found) {
    const uint32_t count = tv_ranks_count(ranks);
    double *all = calloc(count, sizeof *all);
    if (!all)
        return tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    tv_status status = tv_ranks_gather(ranks, &waited, sizeof waited, all);
    *found = (waits){0};
    for (uint32_t r = 1; r < count; r++) {
        found->least = all[r] < all[found->least] ? r : found->least;
        found->most = all[r] > all[found->most] ? r : found->most;
    }
    found->least_seconds = all[found->least];
    found->most_seconds = all[found->most];
    free(all);
    return status;
}

tv_status tv_ranks_compare_waits(tv_ranks *ranks, double waited, uint32_t *least, double *more) {
    waits found;
    TV_RETURN_IF_FAILED(find_waits(ranks, waited, &found));
    *least = found.least;
    *more = found.most_seconds - found.least_seconds;
    return TV_OK;
}

tv_ranks_since tv_ranks_now(const tv_ranks *ranks) {
    return (tv_ranks_since){tv_seconds(), tv_ranks_waited(ranks)};
}

tv_status tv_ranks_say_waits(tv_ranks *ranks, tv_ranks_since since) {
    const tv_ranks_since now = tv_ranks_now(ranks);
    waits found;
    if (!ranks)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        find_waits(ranks, (now.waited - since.waited) / (now.seconds - since.seconds), &found));
    tv_info("waiting for each other, and for what is handed round, took %.0f %% of the time on rank %u (%s), "
            "which "
            "others wait for the most, and %.0f %% on rank %u (%s)",
            100 * found.least_seconds, found.least, tv_ranks_host(ranks, found.least),
            100 * found.most_seconds, found.most, tv_ranks_host(ranks, found.most));
    return TV_OK;
}

/* ---- likeness ---- */

static tv_status hash_of_tree(const cJSON *tree, uint64_t *hash) {
    char *line = NULL;
    tv_status status = tv_json_print_line(tree, &line);
    *hash = status == TV_OK ? tv_hash_bytes(line, strlen(line), 0) : 0;
    cJSON_free(line);
    return status;
}

static tv_status hash_of_file(const char *path, uint64_t *hash) {
    char text[TV_HASH_TEXT];
    tv_status status = tv_hash_file(path, text);
    *hash = status == TV_OK ? tv_hash_bytes(text, sizeof text, 0) : 0;
    return status;
}

static uint64_t hash_of_model(const tv_parameter_list *list) {
    uint64_t hash = list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        const uint64_t facts[] = {p->shape[0], p->shape[1], (uint64_t)p->storage, p->trainable,
                                  (uint64_t)p->optimizer};
        hash = tv_hash_bytes(p->name, strlen(p->name), hash);
        hash = tv_hash_bytes(facts, sizeof facts, hash);
    }
    return hash;
}

/* What a resumed run goes on from; its file names the hashes of all others. */
static tv_status hash_of_checkpoint(const tv_run *run, uint64_t *hash) {
    *hash = 0;
    if (!run->resumed)
        return TV_OK;
    char *path = tv_format("%s/trainer_state.json", run->source_path);
    tv_status status =
        path ? hash_of_file(path, hash) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    free(path);
    return status;
}

static tv_status hashes(const tv_run *run, tv_likeness likenesses[TV_MOST_LIKENESSES], uint32_t *count) {
    enum { SETTINGS, DATA, MODEL, CHECKPOINT, ALL };
    static const char *const names[ALL] = {"set of settings", "set of data", "model", "checkpoint"};
    cJSON *inputs = NULL;
    tv_status status;
    for (uint32_t i = 0; i < ALL; i++)
        likenesses[i].what = names[i];
    *count = ALL;
    TV_TRY(hash_of_tree(run->now.settings, &likenesses[SETTINGS].hash));
    TV_TRY(tv_inputs_tree(&run->now.inputs, &inputs));
    TV_TRY(hash_of_tree(inputs, &likenesses[DATA].hash));
    likenesses[MODEL].hash = hash_of_model(run->list);
    TV_TRY(hash_of_checkpoint(run, &likenesses[CHECKPOINT].hash));
done:
    cJSON_Delete(inputs);
    return status;
}

tv_status tv_ranks_compare_runs(tv_run *run) {
    tv_ranks *ranks = run->options->ranks;
    tv_likeness likenesses[TV_MOST_LIKENESSES] = {0};
    uint32_t count = 0;
    if (!ranks)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_ranks_agree(ranks, hashes(run, likenesses, &count)));
    return tv_ranks_expect_alike(ranks, likenesses, count);
}

/* What each of them is, by its content. */
static tv_status hashes_of_files(const char *settings, const tv_ranks_files *files,
                                 tv_likeness likenesses[TV_MOST_LIKENESSES]) {
    char text[TV_HASH_TEXT];
    likenesses[0].hash = tv_hash_bytes(settings, strlen(settings), 0);
    TV_RETURN_IF_FAILED(tv_fingerprint_model(files->model, text));
    likenesses[1].hash = tv_hash_bytes(text, strlen(text), 0);
    for (uint64_t i = 0; i < files->count; i++) {
        TV_RETURN_IF_FAILED(tv_fingerprint(files->data[i], text));
        likenesses[2].hash = tv_hash_bytes(text, strlen(text), likenesses[2].hash);
    }
    if (!files->adapter)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_fingerprint(files->adapter, text));
    likenesses[3].hash = tv_hash_bytes(text, strlen(text), 0);
    return TV_OK;
}

tv_status tv_ranks_compare_files(tv_ranks *ranks, const char *settings, const tv_ranks_files *files) {
    tv_likeness likenesses[TV_MOST_LIKENESSES] = {
        {.what = "set of settings"}, {.what = "model"}, {.what = files->what}, {.what = "adapter"}};
    if (!ranks)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_ranks_agree(ranks, hashes_of_files(settings, files, likenesses)));
    return tv_ranks_expect_alike(ranks, likenesses, 4);
}

/* trivium bench: how fast a device is, and what its benchmarks share. */
#include "tools/bench.h"

#include <inttypes.h>
#include <stdlib.h>

#include "formats/load.h"
#include "run/checkpoint.h"
#include "tools/commands.h"

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double tv_median(double *values, uint64_t count) {
    qsort(values, count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

tv_status tv_bench_model_find(const char *directory, const tv_run_settings *settings, const char *where,
                              tv_bench_model *out) {
    if (directory) {
        char *path = NULL;
        TV_RETURN_IF_FAILED(tv_model_path_resolve(directory, &path));
        tv_status status = tv_model_directory_open(path, &out->directory);
        free(path);
        TV_RETURN_IF_FAILED(status);
        out->list = tv_model_directory_parameters(out->directory);
        return TV_OK;
    }
    if (!settings->model)
        return tv_fail(TV_E_CONFIG, "%s: expected a \"model\" to measure, found none; describe one there",
                       where);
    tv_model_config config;
    TV_RETURN_IF_FAILED(tv_model_config_read(settings->model, where, true, &config));
    TV_RETURN_IF_FAILED(tv_parameter_list_create_chosen(
        &config, &(tv_parameter_choice){.optimizer = (tv_optimizer)settings->train.optimizer}, &out->own));
    out->list = out->own;
    return TV_OK;
}

tv_status tv_bench_model_fill(tv_device *device, uint64_t seed, bool train, tv_bench_model *out) {
    TV_RETURN_IF_FAILED(tv_model_create(device, out->list, train, &out->model));
    return out->directory ? tv_model_load(out->model, out->directory) : tv_model_initialise(out->model, seed);
}

tv_status tv_bench_check_length(const tv_run_settings *settings, const tv_model_config *config) {
    if (settings->data.seq_len > config->max_positions)
        return tv_fail(TV_E_CONFIG,
                       "data.seq_len is %" PRIu64 " and the model has positions for %" PRIu64
                       "; use a shorter seq_len or a model with more positions",
                       settings->data.seq_len, config->max_positions);
    return TV_OK;
}

void tv_bench_model_free(tv_bench_model *model) {
    tv_model_destroy(&model->model);
    tv_parameter_list_destroy(&model->own);
    tv_model_directory_close(&model->directory);
    model->list = NULL;
}

tv_status cmd_bench(int argc, char **argv) {
    static const tv_command commands[] = {
        {"kernels", "each kernel alone at representative shapes", tv_bench_kernels},
        {"train", "training steps of a configuration, and where their time goes", tv_bench_train},
        {"decode", "generation with a key-value cache", tv_bench_decode},
        {"pipelines", "what the driver's compiler makes of each kernel", tv_bench_pipelines},
        {"exchange", "handing gradients round between ranks, under mpirun", tv_bench_exchange},
        {NULL, NULL, NULL},
    };
    return tv_command_dispatch("trivium bench", "Measures speed on a device.", commands, argc, argv);
}

/* What the benchmarks share: medians, a model from a directory or a configuration, one table row.
 *
 * Promise: what is timed was run before (shaders compile at their first dispatch); every figure is the median
 * of several.
 */
#ifndef TV_TOOLS_BENCH_H
#define TV_TOOLS_BENCH_H

#include "formats/directory.h"
#include "model/model.h"
#include "run/settings.h"

/* Of `count` values, at least one, which are sorted in place. */
double tv_median(double *values, uint64_t count);

/* A model with parameters: those of `directory` (a model's or a run's), else drawn for the "model" of the
 * settings. Free with tv_bench_model_free. */
typedef struct tv_bench_model {
    tv_model_directory *directory;
    tv_parameter_list *own;
    const tv_parameter_list *list;
    tv_model *model;
} tv_bench_model;
/* First what it is, on the host; `where` names the settings in sentences. Then its parameters. */
tv_status tv_bench_model_find(const char *directory, const tv_run_settings *settings, const char *where,
                              tv_bench_model *out);
tv_status tv_bench_model_fill(tv_device *device, uint64_t seed, bool train, tv_bench_model *out);
/* TV_E_CONFIG where data.seq_len is more than the model has positions for. */
tv_status tv_bench_check_length(const tv_run_settings *settings, const tv_model_config *config);
void tv_bench_model_free(tv_bench_model *model);

/* The subcommands of trivium bench, one tools/bench_*.c each. */
tv_status tv_bench_kernels(int argc, char **argv);
tv_status tv_bench_train(int argc, char **argv);
tv_status tv_bench_decode(int argc, char **argv);
tv_status tv_bench_pipelines(int argc, char **argv);
tv_status tv_bench_exchange(int argc, char **argv);

#endif

/* Stage 1: pretraining, next-token prediction over token shards.
 *
 * Promise: same seed, device and data give the same bits; a run that was stopped at any moment continues from
 * its last checkpoint as if it had not been; nothing is written before every setting and input was checked. A
 * run is a directory: config.json as resolved, metrics.jsonl, checkpoints/.
 */
#ifndef TV_TRAIN_STAGE_PRETRAIN_H
#define TV_TRAIN_STAGE_PRETRAIN_H

#include "base/json.h"
#include "train/trainer.h"

typedef struct tv_pretrain_options {
    const char *config; /* a configuration file; NULL: only `sets`, or the run's own with `resume` */
    const char *run;    /* the run's directory */
    const char *init;   /* start from this model directory; NULL: from the config's model, drawn by seed */
    const char *const *sets; /* "train.lr=1e-3", applied in order */
    uint64_t set_count;
    bool resume;
    bool dry_run;          /* print the plan and return */
    uint64_t stop_after;   /* steps of this invocation; 0: to the end of the schedule */
    uint64_t capture_step; /* RenderDoc captures this step, from 1; 0: none */
    tv_device_options device;
} tv_pretrain_options;

typedef struct tv_pretrain_result {
    uint64_t step, tokens;
    double loss;              /* of the last step */
    double best_val_loss;     /* NaN without an evaluation */
    double tokens_per_second; /* of this invocation */
    uint64_t device_bytes, planned_bytes;
    bool finished; /* the schedule is at its end */
} tv_pretrain_result;

/* TV_E_INTERRUPTED after an interrupt, once the step is done and saved; the sentence says how to resume. */
tv_status tv_pretrain(const tv_pretrain_options *options, tv_pretrain_result *result);

#endif

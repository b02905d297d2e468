/* The life of a training run, which every stage shares.
 *
 * Promise: everything that can be wrong in settings, model and data is found before anything is written; a
 * run is a directory (config.json as resolved, run.json, metrics.jsonl, checkpoints/); a run that was stopped
 * at any moment goes on from its last checkpoint as if it had not been; an interrupt finishes the step,
 * saves, and says how to resume; a second process that asks for the same directory is refused. A stage says
 * what differs: its model, its data, its loss, its evaluation.
 */
#ifndef TV_RUN_RUN_H
#define TV_RUN_RUN_H

#include "base/lock.h"
#include "formats/directory.h"
#include "run/checkpoint.h"
#include "run/made_with.h"
#include "run/metrics.h"
#include "run/plan.h"
#include "run/progress.h"
#include "run/settings.h"
#include "text/tokenizer.h"
#include "train/trainer.h"

typedef struct tv_run_options {
    const char *config;      /* a configuration file; NULL: only `sets`, or the run's own with `resume` */
    const char *run;         /* the run's directory */
    const char *init;        /* start from this model directory or run; NULL: the configuration's model */
    const char *adapter;     /* over init, to be trained on; NULL: none */
    const char *const *sets; /* "train.lr=1e-3", applied in order */
    uint64_t set_count;
    bool resume;
    bool accept_changes;   /* resume although inputs changed, with what is there now */
    bool dry_run;          /* print the plan and return */
    uint64_t stop_after;   /* steps of this invocation; 0: to the end of the schedule */
    uint64_t capture_step; /* RenderDoc captures this step, from 1; 0: none */
    const char *trace;     /* where a trace of a step is written (run/trace_step.h); NULL: none is taken */
    tv_device_options device;
    tv_ranks *ranks; /* that run it together; NULL: this process alone. The first one speaks and writes */
} tv_run_options;

typedef struct tv_run_result {
    uint64_t step, tokens;
    double loss;              /* of the last step, also of an earlier invocation; NaN before the first */
    double best_val_loss;     /* NaN without an evaluation */
    double tokens_per_second; /* of this invocation */
    uint64_t device_bytes, planned_bytes;
    bool finished;         /* the schedule is at its end */
    bool already_finished; /* and was when this invocation began */
} tv_run_result;

typedef struct tv_run tv_run;

/* What a stage is. Functions get `self`, the stage's own state; NULL where there is nothing to do. */
typedef struct tv_stage {
    tv_stage_kind kind;
    const char *name;  /* as typed and as in metrics: "sft" */
    const char *doing; /* for a line of the log: "fine-tuning" */
    bool needs_text;   /* a tokenizer must stand beside the model */
    bool needs_model;  /* --model or --init is required */
    bool own_length;   /* T comes from the data; data.seq_len says nothing */
    /* What the progress line shows of its numbers (progress.h); NULL: loss and validation. */
    const tv_progress_number *shown;
    tv_model_head head;  /* of the model that is trained; a model with another is refused */
    const char *no_data; /* the sentence where data.train is empty */
    /* Sets run->list when the directory's own list is not what is trained; it belongs to run->own_list. */
    tv_status (*choose_model)(void *self, tv_run *run);
    /* Adds to run->now.inputs what the stage reads besides the settings' data; NULL: nothing. */
    tv_status (*add_inputs)(void *self, tv_run *run);
    /* Opens the data, from example run->state.examples on; sets run->trainer_options (all but stage and
     * grad_accum) and run->total_steps. */
    tv_status (*open_data)(void *self, tv_run *run);
    /* Says for a dry run what a pass through the data is; the data are open. */
    void (*plan)(void *self, const tv_run *run, tv_run_plan *plan);
    /* Fills the model that was made; NULL: all of run->source, or drawn by seed. Not called on resuming. */
    tv_status (*fill_model)(void *self, tv_run *run);
    /* Before the first step; the trainer stands. */
    tv_status (*begin)(void *self, tv_run *run);
    tv_batch_source next; /* of a training step, with `self` */
    /* Examples that `next` has handed out in all; NULL: the stage keeps run->state.examples itself. */
    uint64_t (*position)(const void *self);
    /* Whether an evaluation has anything to do; the pipeline is drained for it. */
    bool (*has_evaluation)(const void *self);
    /* Sets line->val_loss and has_val_loss, or further numbers. */
    tv_status (*evaluate)(void *self, tv_run *run, tv_metrics_line *line);
    /* Adds the stage's own numbers to the line of a finished step. */
    void (*describe)(void *self, const tv_run *run, const tv_step_result *result, tv_metrics_line *line);
    /* Further files of a checkpoint, into `directory`. `last`: the schedule is at its end. */
    tv_status (*save)(void *self, tv_run *run, const char *directory, bool last);
    /* Adds what the stage keeps on run->device besides to run->bytes. */
    tv_status (*measure)(void *self, tv_run *run);
} tv_stage;

struct tv_run {
    const tv_stage *stage;
    void *self;
    const tv_run_options *options;
    tv_lock *lock; /* on the directory; NULL while it is not there, and for a dry run */
    tv_run_settings settings;
    tv_device *device;
    tv_model_directory *source; /* of --init or of the checkpoint that is resumed; NULL: drawn by seed */
    char *source_path;
    char tier[16]; /* a resumed run: at which it was; "": an earlier version did not note it */
    int64_t begun; /* in seconds since 1970; 0 on resuming a run of an earlier version */
    char *init;    /* what the run began from, as it was given; also on resuming; NULL: drawn */
    bool resumed;  /* source is a checkpoint of this run */
    bool within;   /* the newest checkpoint, and on resuming source, is of a step that is half done */
    tv_parameter_list *own_list;
    const tv_parameter_list *list;
    tv_tokenizer *tokenizer; /* NULL: none */
    tv_trainer_options trainer_options;
    /* Set by a stage's open_data: before each step's first micro-batch, with no step in flight; NULL: steps
     * follow each other without a wait. */
    tv_status (*before_step)(void *self, tv_run *run);
    tv_trainer_bytes bytes;
    tv_model *model;
    tv_trainer *trainer;
    tv_metrics *metrics;
    tv_progress progress;
    tv_checkpoint_state state;
    tv_made_with before, now; /* of the checkpoint that is resumed; of this invocation */
    uint64_t total_steps;
    uint64_t first_step; /* of this invocation */
    double peak;         /* FLOP/s that the ranks' devices were measured at; 0: unknown */
    double flops_per_token;
    bool interrupted;         /* some rank was, and the step is done */
    uint64_t interrupt_looks; /* whether some rank was */
    uint64_t diverged;        /* the step whose skipped update was number TV_SKIPS_IN_ROW in a row; 0: none */
    tv_step_result last;
    double seconds; /* of training in this invocation, without evaluation and checkpoints */
    double waited;  /* seconds for other ranks, before the step that is under way; of stages with a loop of
                       their own */
    uint64_t session_tokens;
};

/* A whole run of a stage whose step is one call of the trainer. TV_E_INTERRUPTED after an interrupt, once the
 * step is done and saved; the sentence says how to resume. */
tv_status tv_run_stage(const tv_stage *stage, void *self, const tv_run_options *options,
                       tv_run_result *result);

/* The parts of it, for a stage with a loop of its own. `run` starts zeroed; close also after a failure. */
/* Settings, directory, model, tokenizer, data, device and memory, in this order. */
tv_status tv_run_open(tv_run *run, const tv_stage *stage, void *self, const tv_run_options *options);
/* Model and trainer on the device; the directory's first files. */
tv_status tv_run_start(tv_run *run);
/* By all ranks. A checkpoint of run->state, to which each adds what it keeps. */
tv_status tv_run_save(tv_run *run);
/* One of the step behind it as far as it is done, which the stage's own files say. */
tv_status tv_run_save_within(tv_run *run);
/* Writes the line of a step that run->state already counts, and shows it. */
tv_status tv_run_write_line(tv_run *run, const tv_metrics_line *line);
/* By all ranks, between steps: whether to stop, because some rank was interrupted. */
tv_status tv_run_check_interrupt(tv_run *run);
/* "trivium sft --out 'my run' --resume", as a shell reads it. The caller frees; NULL when memory is out. */
char *tv_run_resume_command(const tv_run *run);
/* The sentence at the end: divergence, interrupt, or TV_OK. */
tv_status tv_run_end(const tv_run *run);
void tv_run_describe(const tv_run *run, tv_run_result *result);
void tv_run_close(tv_run *run);

/* The step at which this invocation ends: of the schedule, or earlier where it was asked to stop. */
uint64_t tv_run_last_step(const tv_run *run);
/* Whether something that happens every `every` steps (0: only at the end) is due after `step`. */
bool tv_run_is_due(uint64_t every, uint64_t step, uint64_t total);
/* How many steps a run has that goes on from run->state.examples to example number `end`, `step_examples` a
 * step. */
uint64_t tv_run_steps_to(const tv_run *run, uint64_t end, uint64_t step_examples);
/* The constants of step number `step`, from 0. */
struct tv_step_constants tv_run_constants(const tv_run *run, uint64_t step);

#endif

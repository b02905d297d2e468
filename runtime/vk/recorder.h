/* Recording work once, to be replayed: the only place that binds, places barriers, labels, takes timestamps,
 * checks device limits and folds large grids.
 *
 * Barriers come from the programs' declared access on byte ranges: none where no hazard is, one for all
 * hazards before a dispatch. TRIVIUM_BARRIER=always places one before every dispatch, to bisect a race. What
 * changes between replays lives in buffers that the host writes.
 */
#ifndef TV_VK_RECORDER_H
#define TV_VK_RECORDER_H

#include "vk/memory.h"
#include "vk/pipeline.h"

typedef struct tv_recorder tv_recorder;
typedef struct tv_recording tv_recording;

typedef struct tv_recorder_options {
    const char *name;   /* the stage or step, the outermost label: "pretrain/micro-batch" */
    bool profile;       /* timestamps around every dispatch, which serialises a GPU */
    bool simultaneous;  /* may be submitted again while it runs (the decode step) */
    double flop_budget; /* FLOPs of one submission (a byte moved counts as ten); 0: by device type, none
                           on CPU devices */
} tv_recorder_options;

tv_status tv_recorder_begin(tv_device *device, const tv_recorder_options *options, tv_recorder **recorder);
/* Ends recording and hands over the result; the recorder is gone also on failure. */
tv_status tv_recorder_end(tv_recorder **recorder, tv_recording **recording);
void tv_recorder_abort(tv_recorder **recorder);
void tv_recording_destroy(tv_recording **recording);

/* Labels nest: stage / layer / operation / kernel with shape. The text is copied. */
void tv_record_push_label(tv_recorder *recorder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tv_record_pop_label(tv_recorder *recorder);

typedef struct tv_dispatch {
    const tv_program *program;
    tv_span bindings[TV_MAX_BINDINGS]; /* in the order of kernels.def; an absent one is bound to a dummy */
    const void *push;                  /* program->push_bytes bytes */
    uint64_t groups;                   /* workgroups in all; shaders read tv_group() of include/grid.glsl */
    uint32_t groups_z;                 /* 0 or 1: none; otherwise gl_WorkGroupID.z */
    uint32_t specialization[TV_MAX_SPECIALIZATION]; /* constant_id 0, 1, ... */
    uint32_t specialization_count;
    const char *shape; /* "512x512x512", for labels and tables; copied; may be NULL */
} tv_dispatch;

/* Records one dispatch; one that alone is over the budget of a submission is cut into parts of its grid, and
 * counted once. Fails with a sentence that names the program when a limit is broken: binding range,
 * alignment, push size. */
tv_status tv_record_dispatch(tv_recorder *recorder, const tv_dispatch *dispatch);

/* Copies bytes between spans of equal size; offsets and size multiples of 4. */
tv_status tv_record_copy(tv_recorder *recorder, tv_span from, tv_span to);
/* Fills with a repeated 32-bit word. */
tv_status tv_record_fill(tv_recorder *recorder, tv_span span, uint32_t word);

/* Ends a submission here, whatever its budget: what was recorded so far is done, and the host may read it,
 * when the timeline reaches tv_recording_cut_value (submit.h). */
tv_status tv_record_cut(tv_recorder *recorder);

tv_device *tv_recorder_device(const tv_recorder *recorder);
/* FLOPs of one submission, for launchers that cut a single dispatch; infinite on CPU devices by default. */
double tv_recorder_flop_budget(const tv_recorder *recorder);

/* Sums over a recording. */
typedef struct tv_recording_info {
    uint32_t dispatches, barriers, submissions;
    double flops, bytes;
    double cost; /* FLOPs plus bytes at their price in FLOPs: what flop_budget counts */
} tv_recording_info;
tv_recording_info tv_recording_get_info(const tv_recording *recording);

#endif

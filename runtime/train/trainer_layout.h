/* Where the parts of a micro-batch lie: in what the host uploads, on the device, in what is read back; and
 * the widths that it may have.
 *
 * Promise: a narrower micro-batch, of as many rows or as many more as fit into B T tokens, takes the front of
 * the same places, so that widths cost recordings and no memory.
 */
#ifndef TV_TRAIN_TRAINER_LAYOUT_H
#define TV_TRAIN_TRAINER_LAYOUT_H

#include "train/step.h"
#include "train/trainer.h"
#include "vk/transfer.h"

/* What the host uploads with every micro-batch, in this order. */
enum {
    TV_UPLOAD_TOKENS,
    TV_UPLOAD_POSITIONS,
    TV_UPLOAD_DOC_START,
    TV_UPLOAD_INPUTS, /* the head's */
    TV_UPLOAD_COUNT = TV_UPLOAD_INPUTS + TV_HEAD_TENSORS
};

/* Everything on the device that is neither model nor activations. */
enum {
    TV_PART_UPLOAD,
    TV_PART_OUTPUTS = TV_PART_UPLOAD + TV_UPLOAD_COUNT,
    TV_PART_SCRATCH = TV_PART_OUTPUTS + TV_HEAD_TENSORS,
    TV_PART_CONSTANTS = TV_PART_SCRATCH + TV_HEAD_TENSORS,
    TV_PART_STATE,
    TV_PART_STATS,
    TV_PART_STAT_SUMS, /* of groups */
    TV_PART_PARTIALS,
    TV_PART_TABLE,
    TV_PART_MUON,
    TV_PART_COUNT = TV_PART_MUON + TV_MUON_TENSORS
};

/* Enough that a batch of mixed lengths is padded by a sixteenth of T at the mean. */
enum { TV_TRAINER_WIDTHS = 8 };

typedef struct tv_trainer_layout {
    tv_trainer_options options;
    const tv_parameter_list *list;
    uint64_t partials;                  /* of the gradient norm; 0 without training */
    uint64_t table;                     /* words of the update's table, by tv_trainer_layout_plan */
    uint64_t muon[TV_MUON_TENSORS];     /* floats of its workspace, likewise */
    uint32_t count;                     /* of widths */
    uint64_t widths[TV_TRAINER_WIDTHS]; /* rising, the last one T */
    uint64_t rows[TV_TRAINER_WIDTHS];   /* of a micro-batch of each; the last one B */
    tv_loss_head heads[TV_TRAINER_WIDTHS];
    tv_plan_item parts[TV_PART_COUNT]; /* placed by tv_trainer_layout_plan */
} tv_trainer_layout;

tv_trainer_layout tv_trainer_layout_make(const tv_parameter_list *list, const tv_trainer_options *options);

/* Of the device, without model and activations. The caller frees the plan. The list is that of the layout. */
tv_status tv_trainer_layout_plan(tv_trainer_layout *layout, const tv_caps *caps, tv_memory_plan *plan);
tv_step_tensors tv_trainer_layout_tensors(const tv_trainer_layout *layout, uint32_t width,
                                          const tv_device_arena *arena);

/* Bytes of what Muon works in, as planned. */
uint64_t tv_trainer_layout_muon_bytes(const tv_trainer_layout *layout);

/* Words of a part of an upload at a width; 0 for one that is not wanted. Its place is the same at every
 * width; the place of TV_UPLOAD_COUNT is the length of all. */
uint64_t tv_trainer_layout_upload_words(const tv_trainer_layout *layout, uint32_t width, uint32_t part);
uint64_t tv_trainer_layout_upload_offset(const tv_trainer_layout *layout, uint32_t part);

/* The same for the outputs of a forward pass; the place of TV_HEAD_TENSORS is the length of all. */
uint64_t tv_trainer_layout_output_offset(const tv_trainer_layout *layout, uint32_t output);

#endif

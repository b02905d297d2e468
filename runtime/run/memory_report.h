/* What a training step takes of the device, and what would fit if it does not.
 *
 * Promise: the figures are those of tv_trainer_measure, which are what the run allocates.
 */
#ifndef TV_RUN_MEMORY_REPORT_H
#define TV_RUN_MEMORY_REPORT_H

#include "train/trainer.h"

/* tv_trainer_measure, whose sentence also names the least harmful change that would fit where one tensor is
 * over every buffer. */
tv_status tv_memory_measure(const tv_parameter_list *list, tv_device *device,
                            const tv_trainer_options *options, tv_trainer_bytes *bytes);

/* --dry-run: prints parameters, bytes per class, what is there and, where it does not fit, what each change
 * would take. */
tv_status tv_memory_report(const tv_parameter_list *list, tv_device *device,
                           const tv_trainer_options *options, const tv_trainer_bytes *bytes);

/* TV_E_FIT with the least harmful change that would fit, when the step does not. */
tv_status tv_memory_check(const tv_parameter_list *list, tv_device *device, const tv_trainer_options *options,
                          const tv_trainer_bytes *bytes);

#endif

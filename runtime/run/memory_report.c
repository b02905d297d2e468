/* The memory plan in words: see memory_report.h. */
#include "run/memory_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static bool fits(const tv_parameter_list *list, const tv_caps *caps, const tv_trainer_options *options,
                 uint64_t available) {
    tv_trainer_bytes bytes;
    return tv_trainer_measure(list, caps, options, &bytes) == TV_OK && bytes.total <= available;
}

/* What to change, in the order of least harm: recomputation, then a smaller batch, then both. */
static void advise(const tv_parameter_list *list, const tv_caps *caps, const tv_trainer_options *options,
                   uint64_t available, char *advice, size_t size) {
    for (uint64_t batch = options->batch; batch >= 1; batch /= 2) {
        for (int recompute = 0; recompute < 2; recompute++) {
            tv_trainer_options changed = *options;
            changed.batch = batch;
            changed.recompute = options->recompute || recompute;
            if (!fits(list, caps, &changed, available))
                continue;
            snprintf(advice, size, "it would fit with%s%s%s",
                     batch < options->batch ? " a smaller train.batch_size" : "",
                     batch < options->batch && changed.recompute != options->recompute ? " and" : "",
                     changed.recompute != options->recompute ? " train.recompute=block" : "");
            if (batch < options->batch) {
                size_t used = strlen(advice);
                snprintf(advice + used, size - used,
                         " (train.batch_size=%" PRIu64 "; raise train.grad_accum to keep the batch)", batch);
            }
            return;
        }
    }
    snprintf(advice, size, "even one sequence does not fit: use a smaller model or a shorter data.seq_len");
}

tv_status tv_memory_measure(const tv_parameter_list *list, tv_device *device,
                            const tv_trainer_options *options, tv_trainer_bytes *bytes) {
    tv_status status = tv_trainer_measure(list, tv_device_caps(device), options, bytes);
    if (status != TV_E_FIT)
        return status;
    char advice[256], reason[512];
    snprintf(reason, sizeof reason, "%s", tv_last_error());
    advise(list, tv_device_caps(device), options, tv_device_bytes_available(device), advice, sizeof advice);
    return tv_fail(TV_E_FIT, "%s: %s; %s", tv_device_name(device), reason, advice);
}

tv_status tv_memory_check(const tv_parameter_list *list, tv_device *device, const tv_trainer_options *options,
                          const tv_trainer_bytes *bytes) {
    uint64_t available = tv_device_bytes_available(device), more = 0;
    char needed[32], there[32], advice[256];
    if (bytes->total <= available)
        return TV_OK;
    for (uint32_t i = 0; i < bytes->more_count; i++)
        more += bytes->more[i].bytes;
    advise(list, tv_device_caps(device), options, available > more ? available - more : 0, advice,
           sizeof advice);
    return tv_fail(TV_E_FIT, "training needs %s of device memory and %s has %s; %s",
                   tv_format_bytes(bytes->total, needed, sizeof needed), tv_device_caps(device)->name,
                   tv_format_bytes(available, there, sizeof there), advice);
}

static void print_row(const char *what, uint64_t bytes) {
    char text[32];
    printf("  %-28s %12s\n", what, tv_format_bytes(bytes, text, sizeof text));
}

tv_status tv_memory_report(const tv_parameter_list *list, tv_device *device,
                           const tv_trainer_options *options, const tv_trainer_bytes *bytes) {
    printf("model      %" PRIu64 " parameters", list->elements);
    if (list->trainable_elements < list->elements)
        printf(", %" PRIu64 " of them trained", list->trainable_elements);
    printf("\n");
    printf("step       %" PRIu64 " x %" PRIu64 " tokens, %" PRIu64 " micro-batches%s\n", options->batch,
           options->tokens, options->grad_accum, options->recompute ? ", blocks computed again" : "");
    printf("device     %s\n", tv_device_caps(device)->name);
    print_row("parameters", bytes->model.parameters);
    if (bytes->model.masters)
        print_row("fp32 masters", bytes->model.masters);
    print_row("gradients", bytes->model.gradients);
    print_row("optimizer moments", bytes->model.moments);
    print_row("tables", bytes->model.tables);
    print_row("activations", bytes->activations);
    print_row("batches and results", bytes->buffers);
    for (uint32_t i = 0; i < bytes->more_count; i++)
        print_row(bytes->more[i].name, bytes->more[i].bytes);
    print_row("total", bytes->total);
    print_row("free on the device", tv_device_bytes_available(device));
    printf("bytes      %" PRIu64 "\n", bytes->total);
    tv_status status = tv_memory_check(list, device, options, bytes);
    if (status == TV_OK)
        printf("it fits\n");
    return status;
}

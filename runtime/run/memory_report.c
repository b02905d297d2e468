/* The memory plan in words: see memory_report.h. */
#include "run/memory_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "run/memory_advice.h"

static uint64_t bytes_of_more(const tv_trainer_bytes *bytes) {
    uint64_t more = 0;
    for (uint32_t i = 0; i < bytes->more_count; i++)
        more += bytes->more[i].bytes;
    return more;
}

/* "it would fit with KEYS (5.1 GiB)" */
static void advise(const tv_memory_advice *advice, char *text, size_t size) {
    char bytes[32];
    if (!advice->has_first) {
        snprintf(text, size, "no setting makes it fit: use a smaller model");
        return;
    }
    snprintf(text, size, "it would fit with %s (%s)%s", advice->first.keys,
             tv_format_bytes(advice->first.bytes, bytes, sizeof bytes),
             advice->first.smaller_batch ? "; raise train.grad_accum to keep the batch" : "");
}

tv_status tv_memory_measure(const tv_parameter_list *list, tv_device *device,
                            const tv_trainer_options *options, tv_trainer_bytes *bytes) {
    tv_status status = tv_trainer_measure(list, tv_device_caps(device), options, bytes);
    if (status != TV_E_FIT)
        return status;
    char text[320], reason[512];
    tv_memory_advice advice;
    snprintf(reason, sizeof reason, "%s", tv_last_error());
    TV_RETURN_IF_FAILED(tv_memory_advise(list, tv_device_caps(device), options, 0, NULL,
                                         tv_device_bytes_available(device), &advice));
    advise(&advice, text, sizeof text);
    return tv_fail(TV_E_FIT, "%s: %s; %s", tv_device_name(device), reason, text);
}

static tv_status refuse(tv_device *device, const tv_trainer_bytes *bytes, const tv_memory_advice *advice) {
    char needed[32], there[32], text[320];
    advise(advice, text, sizeof text);
    return tv_fail(TV_E_FIT, "training needs %s of device memory and %s has %s; %s",
                   tv_format_bytes(bytes->total, needed, sizeof needed), tv_device_caps(device)->name,
                   tv_format_bytes(tv_device_bytes_available(device), there, sizeof there), text);
}

tv_status tv_memory_check(const tv_parameter_list *list, tv_device *device, const tv_trainer_options *options,
                          const tv_trainer_bytes *bytes) {
    tv_memory_advice advice;
    if (bytes->total <= tv_device_bytes_available(device))
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_memory_advise(list, tv_device_caps(device), options, bytes_of_more(bytes),
                                         bytes->roles, tv_device_bytes_available(device), &advice));
    return refuse(device, bytes, &advice);
}

static void print_changes(const tv_memory_advice *advice, uint64_t available) {
    char text[32];
    if (advice->count)
        printf("what would take less:\n");
    for (uint32_t i = 0; i < advice->count; i++)
        printf("  %-58s %12s%s\n", advice->changes[i].keys,
               tv_format_bytes(advice->changes[i].bytes, text, sizeof text),
               advice->changes[i].bytes <= available ? "  fits" : "");
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
    char groups[48] = "";
    if (options->groups > 1)
        snprintf(groups, sizeof groups, " in %" PRIu64 " groups", options->groups);
    printf("step       %" PRIu64 " x %" PRIu64 " tokens, %" PRIu64 " micro-batches%s%s\n", options->batch,
           options->tokens, options->grad_accum, groups, options->recompute ? ", blocks computed again" : "");
    printf("device     %s\n", tv_device_caps(device)->name);
    print_row("parameters", bytes->model.parameters);
    if (bytes->model.masters)
        print_row("fp32 masters", bytes->model.masters);
    print_row("gradients", bytes->model.gradients);
    if (bytes->sums)
        print_row("sums of groups' gradients", bytes->sums);
    if (bytes->errors)
        print_row("errors of rounded groups", bytes->errors);
    if (bytes->exchange)
        print_row("exchange between ranks", bytes->exchange);
    print_row("optimizer moments", bytes->model.moments);
    if (bytes->tables)
        print_row("tables of positions", bytes->tables);
    print_row(bytes->shared ? "activations, shared in turn" : "activations", bytes->activations);
    if (bytes->muon)
        print_row("Muon's workspace", bytes->muon);
    print_row("batches and results", bytes->buffers);
    for (uint32_t i = 0; i < bytes->more_count; i++)
        print_row(bytes->more[i].name, bytes->more[i].bytes);
    print_row("total", bytes->total);
    print_row("free on the device", tv_device_bytes_available(device));
    printf("bytes      %" PRIu64 "\n", bytes->total);
    const uint64_t available = tv_device_bytes_available(device);
    tv_memory_advice advice;
    if (bytes->total <= available) {
        printf("it fits\n");
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_memory_advise(list, tv_device_caps(device), options, bytes_of_more(bytes),
                                         bytes->roles, available, &advice));
    print_changes(&advice, available);
    return refuse(device, bytes, &advice);
}

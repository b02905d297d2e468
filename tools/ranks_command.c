/* Ranks around a command: see ranks_command.h. */
#include "tools/ranks_command.h"

#include <stdio.h>

static tv_status parse(const tv_ranks_command *command, tv_ranks *ranks, int argc, char **argv, char *number,
                       uint64_t size, bool *done) {
    tv_common_options *common = command->line->common;
    tv_device_options device;
    TV_RETURN_IF_FAILED(tv_options_parse(command->line, argc, argv, done));
    tv_ranks_hush(ranks);
    if (*done)
        return TV_OK;
    TV_RETURN_IF_FAILED(
        tv_rank_device(ranks, &(tv_device_options){common->device, common->tier}, number, size, &device));
    common->device = device.select;
    return TV_OK;
}

tv_status tv_ranks_measure(tv_ranks *ranks, const tv_ranks_measuring *m, bool json) {
    const tv_ranks_since begin = tv_ranks_now(ranks);
    TV_RETURN_IF_FAILED(tv_ranks_compare_files(ranks, m->settings, &m->files));
    TV_RETURN_IF_FAILED(m->measure(m->context));
    TV_RETURN_IF_FAILED(tv_ranks_say_waits(ranks, begin));
    if (!tv_ranks_leads(ranks))
        return TV_OK;
    if (json)
        return m->print_json(m->context);
    m->print_text(m->context);
    return TV_OK;
}

tv_status tv_ranks_command_run(const tv_ranks_command *command, int argc, char **argv) {
    tv_ranks *ranks;
    char number[16], who[64];
    bool done = false;
    tv_status status = tv_ranks_start(&ranks);
    if (status != TV_OK)
        return tv_launcher_fail(status);
    status = tv_ranks_agree(ranks, parse(command, ranks, argc, argv, number, sizeof number, &done));
    if (status == TV_OK && !done)
        status = command->run(command->context, ranks);
    snprintf(who, sizeof who, "trivium %s", command->line->command);
    return tv_ranks_end(&ranks, status, who);
}

/* Where reward and reference come from: see sources.h. */
#include "stages/ppo/sources.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/files.h"
#include "base/visible.h"
#include "reward/checks.h"

enum { SHOWN_BYTES = 120 };

static tv_status keep_text(const char *given, const cJSON *root, const char *key, const char *where,
                           char **kept) {
    const char *text = given;
    if (!text && root)
        TV_RETURN_IF_FAILED(tv_json_string(root, key, where, NULL, &text));
    *kept = text ? tv_format("%s", text) : NULL;
    return !text || *kept ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
}

/* A directory is data: what it says is not run because it says so. */
static tv_status allow_command(const tv_ppo_options *options, const char *command, const char *where) {
    if (options->allow_command)
        return options->allow_command(options->allow_context, command, where);
    return tv_fail(TV_E_USAGE,
                   "%s names a program that scores, \"%.*s\", which nobody here asked for; it was not run",
                   where, SHOWN_BYTES, command);
}

tv_status tv_ppo_sources_find(const tv_ppo_options *o, const tv_run *run, const cJSON *state,
                              const char *where, tv_ppo_sources *s) {
    const bool given = o->reward || o->reward_command || o->check;
    TV_RETURN_IF_FAILED(keep_text(o->reward, given ? NULL : state, "reward", where, &s->reward));
    TV_RETURN_IF_FAILED(
        keep_text(o->reward_command, given ? NULL : state, "reward_cmd", where, &s->reward_command));
    TV_RETURN_IF_FAILED(keep_text(o->check, given ? NULL : state, "check", where, &s->check));
    TV_RETURN_IF_FAILED(keep_text(o->reference, state, "reference", where, &s->reference));
    if (!s->reference)
        TV_RETURN_IF_FAILED(keep_text(run->init, NULL, "reference", where, &s->reference));
    return s->reward_command && !given && !o->run.dry_run ? allow_command(o, s->reward_command, where)
                                                          : TV_OK;
}

bool tv_ppo_sources_add(const tv_ppo_sources *s, cJSON *state) {
    return (!s->reference || tv_json_set_string(state, "reference", s->reference)) &&
           (!s->check || tv_json_set_string(state, "check", s->check)) &&
           (!s->reward || tv_json_set_string(state, "reward", s->reward)) &&
           (!s->reward_command || tv_json_set_string(state, "reward_cmd", s->reward_command));
}

tv_status tv_ppo_sources_add_inputs(const tv_ppo_sources *s, tv_run *run) {
    if (s->reward)
        TV_RETURN_IF_FAILED(tv_inputs_add_model(&run->now.inputs, "reward", s->reward));
    return s->reference ? tv_inputs_add_model(&run->now.inputs, "reference", s->reference) : TV_OK;
}

bool tv_ppo_sources_have_answers(const tv_ppo_sources *s) {
    tv_check check;
    return s->check && tv_check_parse(s->check, &check) == TV_OK && tv_check_has_reference(&check);
}

void tv_ppo_sources_print(const tv_ppo_sources *s, const tv_ppo_options *options) {
    char shown[4096];
    if (s->reward_command)
        printf("reward     the program %s%s\n", tv_visible_line(s->reward_command, shown, sizeof shown),
               options->reward_command ? "" : " (only the checkpoint names it: it runs only when allowed)");
}

void tv_ppo_sources_free(tv_ppo_sources *s) {
    free(s->reward);
    free(s->reward_command);
    free(s->check);
    free(s->reference);
    *s = (tv_ppo_sources){0};
}

/* Ends of answers in the files that are saved: see answer_ends.h. */
#include "run/answer_ends.h"

#include "base/log.h"
#include "text/tokenizer_json.h"

static tv_status say(const tv_run *run, uint32_t end) {
    tv_text name = {0};
    tv_status status = tv_tokenizer_decode(run->tokenizer, &end, 1, false, &name);
    if (status == TV_OK)
        tv_info("answers end with %.*s: the saved config.json, generation_config.json and "
                "tokenizer_config.json say so "
                "to other programs",
                (int)tv_min_u64(name.size, 60), (const char *)name.data);
    tv_text_free(&name);
    return status;
}

tv_status tv_run_save_ends(tv_run *run, const tv_answer_ends *ends) {
    tv_model_config config = run->list->config;
    const uint32_t tokens[] = {ends->document, ends->turn}; /* the last becomes the first */
    bool changes = false, turns = ends->turn != TV_NO_TOKEN;
    for (int i = 0; i < 2; i++)
        if (tokens[i] != TV_NO_TOKEN && !tv_model_config_ends(&config, tokens[i])) {
            tv_model_config_end_with(&config, tokens[i]);
            changes = true;
        }
    if (turns && config.eos_token_id != (int64_t)ends->turn) {
        tv_model_config_end_with(&config, ends->turn);
        changes = true;
    }
    if (turns && tv_tokenizer_info_of(run->tokenizer)->eos != ends->turn)
        TV_RETURN_IF_FAILED(say(run, ends->turn));
    if (turns) {
        TV_RETURN_IF_FAILED(tv_tokenizer_set_builtin_template(run->tokenizer));
        TV_RETURN_IF_FAILED(tv_tokenizer_set_eos(run->tokenizer, ends->turn));
    }
    if (!changes)
        return TV_OK;
    tv_parameter_list *list = NULL;
    TV_RETURN_IF_FAILED(tv_parameter_list_create_like(run->list, &config, &list));
    tv_parameter_list_destroy(&run->own_list);
    run->list = run->own_list = list;
    return TV_OK;
}

/* Ends of answers in the files that are saved: see answer_ends.h. */
#include "run/answer_ends.h"

#include <stdlib.h>

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

/* Rows of a head nearer than this share of their length give about the same logits whatever is before them.
 */
static const double near = 0.01;

static bool alike_rows(const float *a, const float *b, uint64_t columns) {
    double apart = 0, length = 0;
    for (uint64_t i = 0; i < columns; i++) {
        apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        length += (double)a[i] * a[i];
    }
    return apart <= near * near * length;
}

/* Tokens whose row of the head is about that of `token`, itself included. */
static tv_status count_alike(const tv_model_directory *source, uint32_t head, uint32_t token,
                             uint64_t *alike) {
    const tv_parameter *p = &tv_model_directory_parameters(source)->items[head];
    uint64_t most = tv_parameter_piece_rows(p), columns = p->shape[1];
    tv_status status;
    *alike = 0;
    float *own = malloc(columns * sizeof *own), *rows = malloc(most * columns * sizeof *rows);
    if (!own || !rows)
        TV_TRY(tv_fail(TV_E_MEMORY, "out of host memory for rows of the head"));
    TV_TRY(tv_model_directory_read_rows(source, head, token, 1, TV_F32, own));
    for (uint64_t first = 0; first < p->shape[0]; first += most) {
        uint64_t count = tv_min_u64(most, p->shape[0] - first);
        TV_TRY(tv_model_directory_read_rows(source, head, first, count, TV_F32, rows));
        for (uint64_t r = 0; r < count; r++)
            *alike += alike_rows(own, rows + r * columns, columns);
    }
    status = TV_OK;
done:
    free(own);
    free(rows);
    return status;
}

/* Tokens that a base model never saw often share one row of its head; while the head is frozen, no adapter
 * can raise one of them above the others, and answers do not end. */
static tv_status warn_of_untaught(const tv_run *run, uint32_t end) {
    if (end == TV_NO_TOKEN || !run->source)
        return TV_OK;
    const tv_parameter_list *list = tv_model_directory_parameters(run->source);
    uint32_t head = tv_parameter_head(list), chosen = tv_parameter_head(run->list);
    if (head == TV_NO_PARAMETER || chosen == TV_NO_PARAMETER || run->list->items[chosen].trainable ||
        end >= list->items[head].shape[0])
        return TV_OK;
    uint64_t alike;
    TV_RETURN_IF_FAILED(count_alike(run->source, head, end, &alike));
    if (alike > 1)
        tv_warn(
            "answers end with token %u, whose row of the head, which is not trained, is about that of %llu "
            "other tokens that the model never learned: it cannot be told from them, and answers will "
            "hardly end; train all weights, or give the model another eos_token that it knows",
            (unsigned)end, (unsigned long long)(alike - 1));
    return TV_OK;
}

tv_status tv_run_save_ends(tv_run *run, const tv_answer_ends *ends) {
    TV_RETURN_IF_FAILED(warn_of_untaught(run, ends->turn != TV_NO_TOKEN ? ends->turn : ends->document));
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

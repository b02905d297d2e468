/* Weights into a model: see load.h. */
#include "formats/load.h"

#include "formats/checksums.h"

typedef struct directory_source {
    const tv_model_directory *directory;
    const tv_parameter_list *list; /* of the model that is filled */
    uint64_t seed;                 /* of a head that is drawn */
    bool with_head;
} directory_source;

static tv_status read_parameter(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                                tv_dtype dtype, void *out) {
    const directory_source *source = context;
    return tv_model_directory_read_rows(source->directory, index, first_row, rows, dtype, out);
}

static tv_status read_body(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out) {
    const directory_source *source = context;
    const tv_parameter *p = &source->list->items[index];
    const tv_parameter_list *found = tv_model_directory_parameters(source->directory);
    uint32_t there = tv_parameter_in(found, p, &source->list->adapter);
    bool head = p->role == TV_PARAMETER_HEAD_WEIGHT || p->role == TV_PARAMETER_SCORE_WEIGHT;
    if (there != TV_NO_PARAMETER && (source->with_head || !head))
        return tv_model_directory_read_rows(source->directory, there, first_row, rows, dtype, out);
    return tv_parameter_initialise_as(source->list, index, source->seed, first_row, rows, dtype, out);
}

/* Of a directory, and of the base of an adapter. */
static tv_status check_weights(const tv_model_directory *directory) {
    const tv_model_directory *base = tv_model_directory_base(directory);
    if (base)
        TV_RETURN_IF_FAILED(tv_checksums_check_weights(tv_model_directory_path(base)));
    return tv_checksums_check_weights(tv_model_directory_path(directory));
}

tv_status tv_model_load(tv_model *model, const tv_model_directory *directory) {
    TV_RETURN_IF_FAILED(check_weights(directory));
    return tv_model_fill(model, read_parameter,
                         &(directory_source){directory, tv_model_list(model), 0, true});
}

tv_status tv_model_load_or_draw(tv_model *model, const tv_model_directory *directory, uint64_t seed) {
    TV_RETURN_IF_FAILED(check_weights(directory));
    return tv_model_fill(model, read_body, &(directory_source){directory, tv_model_list(model), seed, true});
}

tv_status tv_model_load_body(tv_model *model, const tv_model_directory *directory, uint64_t seed) {
    const tv_parameter_list *list = tv_model_list(model);
    if (!tv_model_config_same_body(&list->config, &tv_model_directory_parameters(directory)->config))
        return tv_fail(TV_E_CONFIG,
                       "%s: expected the sizes and switches of the model that starts from it, found others; "
                       "only the head may differ",
                       tv_model_directory_path(directory));
    TV_RETURN_IF_FAILED(check_weights(directory));
    return tv_model_fill(model, read_body, &(directory_source){directory, list, seed, false});
}

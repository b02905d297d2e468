/* Adapters and their bases: see adapter_base.h. */
#include "formats/adapter_base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "formats/directory_own.h"

enum { ROWS = 2, COLUMNS = 4, OF_MATRIX = ROWS * COLUMNS };

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for values of an adapter's base");
}

/* ---- values ---- */

typedef struct sample {
    float *values;
    uint64_t count;
    tv_dtype stored; /* of its types the one that rounds most */
} sample;

static bool is_sampled(const tv_parameter *p) {
    return p->rank == 2 && p->layer != TV_NO_LAYER && !tv_parameter_is_of_adapter(p);
}

/* The most that rounding to a type changes weights by, as a share of their size: half the last of 8 bits of a
 * bf16, of 11 of an f16, of which small ones have less; blocks may have been ones of 4 bits, which differ by
 * 6 to 9 % from values of a normal distribution. */
static double rounding_of(tv_dtype stored) {
    switch (stored) {
    case TV_BF16:
        return 0.002;
    case TV_F16:
        return 0.0005;
    case TV_Q8_0:
        return 0.12;
    case TV_Q4_0:
        return 0.15;
    default:
        return 0;
    }
}

static tv_status sample_matrix(const tv_model_directory *base, uint32_t index, sample *s) {
    const tv_parameter *p = &tv_model_directory_parameters(base)->items[index];
    tv_dtype stored = tv_model_directory_dtype(base, index);
    tv_status status = TV_OK;
    float *row = malloc(p->shape[1] * sizeof *row);
    if (!row)
        return no_memory();
    if (rounding_of(stored) > rounding_of(s->stored))
        s->stored = stored;
    for (uint64_t r = 0; r < ROWS; r++) {
        uint64_t at = p->shape[0] / (2 * ROWS) * (2 * r + 1);
        TV_TRY(tv_model_directory_read_rows(base, index, at, 1, TV_F32, row));
        for (uint64_t c = 0; c < COLUMNS; c++)
            s->values[s->count++] = row[p->shape[1] / (2 * COLUMNS) * (2 * c + 1)];
    }
done:
    free(row);
    return status;
}

/* The caller frees values, also on failure. */
static tv_status take_sample(const tv_model_directory *base, sample *s) {
    const tv_parameter_list *list = tv_model_directory_parameters(base);
    *s = (sample){.values = calloc((uint64_t)list->count * OF_MATRIX + 1, sizeof *s->values),
                  .stored = TV_F32};
    if (!s->values)
        return no_memory();
    for (uint32_t i = 0; i < list->count; i++)
        if (is_sampled(&list->items[i]))
            TV_RETURN_IF_FAILED(sample_matrix(base, i, s));
    return TV_OK;
}

tv_status tv_adapter_base_describe(const tv_model_directory *base, char **text) {
    sample s;
    cJSON *root = cJSON_CreateObject(), *values = NULL;
    tv_status status;
    *text = NULL;
    TV_TRY(take_sample(base, &s));
    bool built = root && tv_json_set_string(root, "stored", tv_dtype_name(s.stored)) &&
                 (values = cJSON_AddArrayToObject(root, "values")) != NULL;
    for (uint64_t i = 0; built && i < s.count; i++)
        built = cJSON_AddItemToArray(values, cJSON_CreateNumber((double)s.values[i]));
    status = built ? tv_json_print_line(root, text) : no_memory();
done:
    free(s.values);
    cJSON_Delete(root);
    return status;
}

/* ---- comparing ---- */

/* The values and type of the file; `expected`: how many there are to be. */
static tv_status read_file(const cJSON *root, const char *where, uint64_t expected, sample *s) {
    static const tv_dtype types[] = {TV_F32, TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};
    const cJSON *values = tv_json_get(root, "values"), *item;
    const char *stored;
    bool known = false;
    TV_RETURN_IF_FAILED(tv_json_string(root, "stored", where, "", &stored));
    for (size_t i = 0; i < TV_COUNT(types); i++)
        if (strcmp(stored, tv_dtype_name(types[i])) == 0) {
            s->stored = types[i];
            known = true;
        }
    uint64_t found = cJSON_IsArray(values) ? (uint64_t)cJSON_GetArraySize(values) : 0;
    if (!known || found != expected)
        return tv_fail(TV_E_DATA,
                       "%s: expected \"stored\", a type of weights, and %llu \"values\", as many as the base "
                       "has places for, found \"%.20s\" and %llu; it is an adapter for another model, or the "
                       "file is damaged",
                       where, (unsigned long long)expected, stored, (unsigned long long)found);
    s->values = calloc(expected + 1, sizeof *s->values);
    if (!s->values)
        return no_memory();
    cJSON_ArrayForEach(item, values) {
        if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= 3.4e38))
            return tv_fail(TV_E_DATA, "%s: values[%llu]: expected a number that a weight can be, found %s",
                           where, (unsigned long long)s->count, tv_json_kind(item));
        s->values[s->count++] = (float)item->valuedouble;
    }
    return TV_OK;
}

/* |a - b| as a share of |a|. */
static double distance(const sample *a, const sample *b) {
    double apart = 0, size = 0;
    for (uint64_t i = 0; i < a->count; i++) {
        double off = (double)a->values[i] - (double)b->values[i];
        apart += off * off;
        size += (double)a->values[i] * (double)a->values[i];
    }
    return apart > 0 ? sqrt(apart / size) : 0;
}

static tv_status compare(const tv_model_directory *d, const sample *made, const sample *now) {
    double off = distance(made, now);
    bool blocks = tv_dtype_is_blocks(made->stored) || tv_dtype_is_blocks(now->stored);
    double allowed =
        blocks || made->stored != now->stored ? rounding_of(made->stored) + rounding_of(now->stored) : 0;
    if (!(off <= allowed))
        return tv_fail(TV_E_DATA,
                       "%s: expected the weights that this adapter was made over, found others in %s (off by "
                       "%.2g of their size in what %s keeps of them); an adapter fits its own base alone",
                       d->path, d->base->path, off, TV_ADAPTER_BASE_NAME);
    if (off > 0)
        tv_info(
            "%s: it was made over weights of %s, and %s holds %s, which differ by %.2g of their size: the "
            "same model as far as rounding tells",
            d->path, tv_dtype_name(made->stored), d->base->path, tv_dtype_name(now->stored), off);
    return TV_OK;
}

/* ---- adapters that say a name alone ---- */

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static tv_status check_name(const tv_model_directory *d) {
    const char *named = tv_peft_base(d->peft), *there = d->base->path;
    char *real = NULL;
    if (!named || strcmp(last_part(named), last_part(there)) == 0)
        return TV_OK;
    bool same = tv_path_exists(named) && tv_real_path(named, &real) == TV_OK && strcmp(real, there) == 0;
    free(real);
    if (!same)
        tv_warn(
            "%s: it names \"%.200s\" as its base and lies over %s, and nothing in it tells whether that is "
            "the same model; over another one it makes no sense",
            d->path, named, there);
    return TV_OK;
}

tv_status tv_adapter_base_check(const tv_model_directory *d) {
    sample made = {0}, now = {0};
    cJSON *root = NULL;
    tv_status status;
    if (!d->base)
        return TV_OK;
    char *path = tv_format("%s/%s", d->path, TV_ADAPTER_BASE_NAME);
    if (!path)
        return no_memory();
    const char *text = d->list->adapter.base_values;
    if (!text) {
        status = check_name(d);
        goto done;
    }
    TV_TRY(tv_json_parse(text, strlen(text), path, &root));
    TV_TRY(take_sample(d->base, &now));
    TV_TRY(read_file(root, path, now.count, &made));
    TV_TRY(compare(d, &made, &now));
done:
    cJSON_Delete(root);
    free(made.values);
    free(now.values);
    free(path);
    return status;
}

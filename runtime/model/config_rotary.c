/* Rotary positions in config.json: see config_keys.h.
 *
 * Older files: rope_theta and rope_scaling {"type" or "rope_type", ...}, and rope_local_base_freq for local
 * layers. Newer ones: rope_parameters with all of it, and where layers differ an object in it for each type
 * of layer. Meanings are those of transformers' modeling_rope_utils.py. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "model/config_keys.h"

/* In the order of tv_rotary_kind. */
static const char *const kind_names[] = {"default", "linear", "llama3", "yarn"};
static const char *const part_names[] = {"full_attention", "sliding_attention"};

/* Numbers of a kind: absent ones are the fallback, or an error where that is NAN. */
typedef struct number_key {
    const char *key;
    size_t offset;  /* of a double in tv_rotary_scaling */
    unsigned kinds; /* bits of tv_rotary_kind */
    double fallback, above, maximum;
} number_key;
#define NUMBER(field) offsetof(tv_rotary_scaling, field)
#define KIND(name)    (1U << TV_ROTARY_##name)
static const number_key numbers[] = {
    {"factor", NUMBER(factor), KIND(LINEAR) | KIND(LLAMA3) | KIND(YARN), NAN, 0, 1e6},
    {"low_freq_factor", NUMBER(low_factor), KIND(LLAMA3), NAN, 0, 1e6},
    {"high_freq_factor", NUMBER(high_factor), KIND(LLAMA3), NAN, 0, 1e6},
    {"beta_slow", NUMBER(slow_rotations), KIND(YARN), 1, 0, 1e6},
    {"beta_fast", NUMBER(fast_rotations), KIND(YARN), 32, 0, 1e6},
    {"original_max_position_embeddings", NUMBER(original_positions), KIND(LLAMA3) | KIND(YARN), NAN, 0,
     INT32_MAX},
    {"attention_factor", NUMBER(attention_factor), KIND(YARN), NAN, 0, 1e6},
};
enum { FACTOR = 0, LOW_FACTOR = 1, HIGH_FACTOR = 2, ORIGINAL = 5, ATTENTION = 6 };

static double *number_slot(tv_rotary_scaling *scaling, const number_key *number) {
    return (double *)((char *)scaling + number->offset);
}

static bool has_number(const tv_rotary_scaling *scaling, const number_key *number) {
    return number->kinds >> scaling->kind & 1;
}

uint64_t tv_rotary_keys(const tv_family *family, const char *keys[TV_PART_KEYS]) {
    uint64_t count = 0;
    if (family->defaults.positions != TV_POSITIONS_ROTARY)
        return 0;
    keys[count++] = "rope_theta";
    keys[count++] = "rope_scaling";
    keys[count++] = "rope_parameters";
    keys[count++] = "original_max_position_embeddings";
    if (family->has_local_rotary)
        keys[count++] = "rope_local_base_freq";
    return count;
}

static tv_status read_kind(const cJSON *rope, const char *inside, tv_rotary_scaling *scaling) {
    const char *type = NULL, *old_type = NULL;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_string(rope, "type", inside, NULL, &old_type)));
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_string(rope, "rope_type", inside, old_type, &type)));
    if (type && old_type && strcmp(type, old_type) != 0)
        return tv_fail(TV_E_CONFIG, "%s: \"rope_type\" says \"%s\", but \"type\" says \"%s\"", inside, type,
                       old_type);
    if (!type && cJSON_IsNumber(tv_json_get(rope, "factor")))
        return tv_fail(TV_E_CONFIG, "%s: found a \"factor\" without a \"rope_type\"", inside);
    for (int i = 0; i < (int)TV_COUNT(kind_names); i++)
        if (!type || strcmp(type, kind_names[i]) == 0) {
            scaling->kind = (tv_rotary_kind)i;
            return TV_OK;
        }
    return tv_fail(
        TV_E_CONFIG,
        "%s: expected the rope type \"default\", \"linear\", \"llama3\" or \"yarn\", found \"%s\"; "
        "other positions cannot be computed",
        inside, type);
}

/* YaRN's factor of attention's temperature as its paper suggests, or with both of DeepSeek's scales. */
static tv_status derive_attention(const cJSON *rope, const char *inside, tv_rotary_scaling *scaling) {
    double scale = 0, all = 0;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(rope, "mscale", inside, 0, &scale)));
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(rope, "mscale_all_dim", inside, 0, &all)));
    double growth = scaling->factor > 1 ? 0.1 * log(scaling->factor) : 0;
    bool both = fabs(scale) > 0 && fabs(all) > 0;
    scaling->attention_factor = both ? (growth * scale + 1) / (growth * all + 1) : growth + 1;
    return TV_OK;
}

/* One object of keys. `given` is the original length where the file states it outside. */
static tv_status read_scaling(const cJSON *rope, const char *inside, const tv_model_config *config,
                              double given, tv_rotary_scaling *scaling) {
    double theta = scaling->theta, partial = 1;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(rope, "rope_theta", inside, theta, &theta)));
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(rope, "partial_rotary_factor", inside, 1, &partial)));
    if (!(fabs(partial - 1) <= 0))
        return tv_fail(TV_E_CONFIG, "%s: expected 1 for \"partial_rotary_factor\", found %g", inside,
                       partial);
    tv_rotary_scaling read = {.theta = theta};
    TV_RETURN_IF_FAILED(read_kind(rope, inside, &read));
    for (uint64_t i = 0; i < TV_COUNT(numbers); i++) {
        if (!has_number(&read, &numbers[i]))
            continue;
        double *slot = number_slot(&read, &numbers[i]), fallback = numbers[i].fallback;
        if (i == ORIGINAL)
            fallback = given > 0 ? given : (double)config->max_positions;
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(rope, numbers[i].key, inside, fallback, slot)));
        if (i == ORIGINAL && given > 0)
            *slot = given;
        if (i == ATTENTION && isnan(*slot))
            TV_RETURN_IF_FAILED(derive_attention(rope, inside, &read));
        if (isnan(*slot))
            return tv_fail(TV_E_CONFIG, "%s: expected \"%s\" for the rope type \"%s\", found none", inside,
                           numbers[i].key, kind_names[read.kind]);
    }
    if (read.kind == TV_ROTARY_YARN) {
        bool truncate = true;
        TV_RETURN_IF_FAILED(tv_as_config(tv_json_bool(rope, "truncate", inside, true, &truncate)));
        read.exact_range = !truncate;
    }
    *scaling = read;
    return TV_OK;
}

/* An object for each type of layer, in rope_parameters. */
static tv_status read_parts(const cJSON *rope, const char *inside, double given, tv_model_config *config) {
    tv_rotary_scaling *const parts[] = {&config->rotary, &config->rotary_local};
    for (int i = 0; i < 2; i++) {
        const cJSON *part = tv_json_get(rope, part_names[i]);
        if (!part || cJSON_IsNull(part))
            continue;
        char deeper[320];
        snprintf(deeper, sizeof deeper, "%s: %s", inside, part_names[i]);
        if (!cJSON_IsObject(part))
            return tv_fail(TV_E_CONFIG, "%s: expected an object or null", deeper);
        TV_RETURN_IF_FAILED(read_scaling(part, deeper, config, given, parts[i]));
    }
    return TV_OK;
}

tv_status tv_rotary_read(const cJSON *root, const char *where, const tv_family *family,
                         tv_model_config *config) {
    static const char *const keys[] = {"rope_parameters", "rope_scaling"};
    if (family->defaults.positions != TV_POSITIONS_ROTARY)
        return TV_OK;
    double *theta = &config->rotary.theta, *local_theta = &config->rotary_local.theta, given = 0;
    TV_RETURN_IF_FAILED(tv_as_config(tv_json_number(root, "rope_theta", where, *theta, theta)));
    TV_RETURN_IF_FAILED(
        tv_as_config(tv_json_number(root, "original_max_position_embeddings", where, 0, &given)));
    if (family->has_local_rotary)
        TV_RETURN_IF_FAILED(
            tv_as_config(tv_json_number(root, "rope_local_base_freq", where, *local_theta, local_theta)));
    for (int i = 0; i < 2; i++) {
        const cJSON *rope = tv_json_get(root, keys[i]);
        if (!rope || cJSON_IsNull(rope))
            continue;
        char inside[256];
        snprintf(inside, sizeof inside, "%s: %s", where, keys[i]);
        if (!cJSON_IsObject(rope))
            return tv_fail(TV_E_CONFIG, "%s: expected an object or null for \"%s\"", where, keys[i]);
        bool in_parts = tv_json_get(rope, part_names[0]) || tv_json_get(rope, part_names[1]);
        if (in_parts && !family->has_local_rotary)
            return tv_fail(TV_E_CONFIG, "%s: positions for each type of layer cannot be read for a %s",
                           inside, family->name);
        TV_RETURN_IF_FAILED(in_parts ? read_parts(rope, inside, given, config)
                                     : read_scaling(rope, inside, config, given, &config->rotary));
    }
    if (!family->has_local_rotary)
        config->rotary_local = config->rotary;
    return TV_OK;
}

static tv_status check_scaling(const tv_rotary_scaling *scaling, const char *where, const char *theta_key) {
    if ((unsigned)scaling->kind >= TV_COUNT(kind_names))
        return tv_fail(TV_E_CONFIG, "%s: unknown kind of rotary positions %d", where, (int)scaling->kind);
    TV_RETURN_IF_FAILED(tv_check_range(where, theta_key, scaling->theta, 1, 1e12));
    tv_rotary_scaling copy = *scaling;
    for (uint64_t i = 0; i < TV_COUNT(numbers); i++)
        if (has_number(scaling, &numbers[i]))
            TV_RETURN_IF_FAILED(tv_check_range(where, numbers[i].key, *number_slot(&copy, &numbers[i]),
                                               numbers[i].above, numbers[i].maximum));
    if (scaling->kind == TV_ROTARY_LLAMA3 && !(scaling->high_factor > scaling->low_factor))
        return tv_fail(TV_E_CONFIG,
                       "%s: expected \"high_freq_factor\" above \"low_freq_factor\", found %g and %g", where,
                       scaling->high_factor, scaling->low_factor);
    return TV_OK;
}

tv_status tv_rotary_check(const tv_model_config *config, const char *where) {
    TV_RETURN_IF_FAILED(check_scaling(&config->rotary, where, "rope_theta"));
    return check_scaling(&config->rotary_local, where, "rope_local_base_freq");
}

bool tv_rotary_same(const tv_rotary_scaling *a, const tv_rotary_scaling *b) {
    tv_rotary_scaling one = *a, other = *b;
    bool same = a->kind == b->kind && !(fabs(a->theta - b->theta) > 0) && a->exact_range == b->exact_range;
    for (uint64_t i = 0; i < TV_COUNT(numbers) && same; i++)
        same = !has_number(a, &numbers[i]) ||
               !(fabs(*number_slot(&one, &numbers[i]) - *number_slot(&other, &numbers[i])) > 0);
    return same;
}

static bool write_scaling(cJSON *object, const tv_rotary_scaling *scaling) {
    tv_rotary_scaling copy = *scaling;
    bool done = object && tv_json_set_string(object, "rope_type", kind_names[scaling->kind]);
    for (uint64_t i = 0; i < TV_COUNT(numbers) && done; i++)
        if (has_number(scaling, &numbers[i]))
            done = tv_json_set_number(object, numbers[i].key, *number_slot(&copy, &numbers[i]));
    if (done && scaling->kind == TV_ROTARY_YARN && scaling->exact_range)
        done = tv_json_set_bool(object, "truncate", false);
    return done;
}

/* The older spelling, which newer transformers still read and older ones alone know; but for local layers
 * with a scaling of their own, which have none in it. */
bool tv_rotary_write(cJSON *root, const tv_family *family, const tv_model_config *config) {
    if (family->defaults.positions != TV_POSITIONS_ROTARY)
        return true;
    bool done = tv_json_set_number(root, "rope_theta", config->rotary.theta);
    if (family->has_local_rotary)
        done = done && tv_json_set_number(root, "rope_local_base_freq", config->rotary_local.theta);
    if (family->has_local_rotary && config->rotary_local.kind != TV_ROTARY_PLAIN) {
        const tv_rotary_scaling *const parts[] = {&config->rotary, &config->rotary_local};
        cJSON *rope = done ? cJSON_AddObjectToObject(root, "rope_parameters") : NULL;
        for (int i = 0; i < 2 && rope; i++) {
            cJSON *part = cJSON_AddObjectToObject(rope, part_names[i]);
            done = done && write_scaling(part, parts[i]) &&
                   tv_json_set_number(part, "rope_theta", parts[i]->theta);
        }
        return done && rope;
    }
    if (config->rotary.kind != TV_ROTARY_PLAIN)
        done = done && write_scaling(cJSON_AddObjectToObject(root, "rope_scaling"), &config->rotary);
    return done;
}

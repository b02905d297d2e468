/* Build tool: checks every compiled shader against its row of kernels.def and writes them all as one C
 * source.
 *
 * Usage: embed_shaders SPIRV-DIR OUTPUT.c
 * Checked: bindings 0..n-1 of set 0 are storage buffers and no others exist, their NonWritable and
 * NonReadable decorations equal the declared access, the push-constant block has the struct's size, the local
 * size is the declared one. Any difference fails the build. Reads just the SPIR-V that this takes (SPIR-V
 * specification 1.6, section 2.3 and 3.42).
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "push_constants.h"
#include "vk/pipeline.h"

typedef struct row {
    const char *kernel, *variant;
    uint32_t local_size, push_bytes, binding_count;
    const tv_access *access;
    tv_tier tier; /* above fp32 a shader may be absent */
} row;

#define TV_KERNEL(name, push, flops, bytes, ...)                                                             \
    static const tv_access access_##name[] = {__VA_ARGS__};                                                  \
    enum { push_bytes_##name = sizeof(push) };
#define TV_VARIANT(kernel, variant, source, defines, local_size)
#include "kernels/kernels.def"
#undef TV_KERNEL
#undef TV_VARIANT

static const row rows[] = {
#define TV_KERNEL(name, push, flops, bytes, ...)
#define TV_VARIANT(kernel, variant, source, defines, local_size)                                             \
    TV_TIER_VARIANT(TV_TIER_FP32, kernel, variant, source, defines, local_size)
#define TV_TIER_VARIANT(tier, kernel, variant, source, defines, local_size)                                  \
    {#kernel,                                                                                                \
     #variant,                                                                                               \
     local_size,                                                                                             \
     push_bytes_##kernel,                                                                                    \
     sizeof access_##kernel / sizeof *access_##kernel,                                                       \
     access_##kernel,                                                                                        \
     tier},
#include "kernels/kernels.def"
#undef TV_KERNEL
#undef TV_VARIANT
};

/* SPIR-V numbers that are read here. */
enum {
    OP_EXECUTION_MODE = 16,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_VARIABLE = 59,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    MODE_LOCAL_SIZE = 17,
    DECORATION_NON_WRITABLE = 24,
    DECORATION_NON_READABLE = 25,
    DECORATION_BINDING = 33,
    DECORATION_DESCRIPTOR_SET = 34,
    DECORATION_OFFSET = 35,
    STORAGE_UNIFORM_CONSTANT = 0,
    STORAGE_PUSH_CONSTANT = 9,
    STORAGE_STORAGE_BUFFER = 12,
    MAX_IDS = 1 << 16,
    MAX_MEMBERS = 64,
};

typedef struct id_info {
    uint16_t op;
    uint8_t storage;
    bool has_binding, non_writable, non_readable;
    uint32_t binding, set, pointee, width;
    uint32_t member_count;
    uint32_t members[MAX_MEMBERS];
    uint32_t offsets[MAX_MEMBERS];
    bool member_non_writable, member_non_readable;
} id_info;

static int fail(const row *r, const char *what, uint32_t expected, uint32_t found) {
    fprintf(stderr, "kernels.def: %s.%s: %s: the row says %u, the shader %u\n", r->kernel, r->variant, what,
            expected, found);
    return 1;
}

static uint32_t *read_words(const char *path, uint64_t *count) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    uint32_t *words = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        words = size > 20 && size % 4 == 0 ? malloc((size_t)size) : NULL;
        *count = (uint64_t)size / 4;
        if (words && fread(words, 4, *count, file) != *count) {
            free(words);
            words = NULL;
        }
    }
    fclose(file);
    return words;
}

static void decorate(id_info *info, uint32_t decoration, uint32_t value) {
    if (decoration == DECORATION_BINDING) {
        info->has_binding = true;
        info->binding = value;
    } else if (decoration == DECORATION_DESCRIPTOR_SET) {
        info->set = value;
    } else if (decoration == DECORATION_NON_WRITABLE) {
        info->non_writable = true;
    } else if (decoration == DECORATION_NON_READABLE) {
        info->non_readable = true;
    }
}

/* Fills `ids` and the local size; false on a module that is not as glslang writes it. */
static bool parse(const uint32_t *words, uint64_t count, id_info *ids, uint32_t *local_size) {
    if (words[0] != 0x07230203u || words[3] > MAX_IDS)
        return false;
    for (uint64_t i = 5; i < count;) {
        uint32_t op = words[i] & 0xffffu, length = words[i] >> 16;
        const uint32_t *o = &words[i];
        if (length == 0 || i + length > count)
            return false;
        switch (op) {
        case OP_EXECUTION_MODE:
            if (o[2] == MODE_LOCAL_SIZE)
                *local_size = o[3] * o[4] * o[5];
            break;
        case OP_TYPE_INT:
        case OP_TYPE_FLOAT:
            ids[o[1]].op = (uint16_t)op;
            ids[o[1]].width = o[2];
            break;
        case OP_TYPE_STRUCT:
            ids[o[1]].op = (uint16_t)op;
            for (uint32_t m = 0; m + 2 < length && m < MAX_MEMBERS; m++)
                ids[o[1]].members[ids[o[1]].member_count++] = o[m + 2];
            break;
        case OP_TYPE_POINTER:
            ids[o[1]].op = (uint16_t)op;
            ids[o[1]].storage = (uint8_t)o[2];
            ids[o[1]].pointee = o[3];
            break;
        case OP_VARIABLE:
            ids[o[2]].op = (uint16_t)op;
            ids[o[2]].storage = (uint8_t)o[3];
            ids[o[2]].pointee = o[1];
            break;
        case OP_DECORATE:
            decorate(&ids[o[1]], o[2], length > 3 ? o[3] : 0);
            break;
        case OP_MEMBER_DECORATE:
            if (o[3] == DECORATION_OFFSET && o[2] < MAX_MEMBERS)
                ids[o[1]].offsets[o[2]] = o[4];
            /* glslang puts a buffer's readonly and writeonly on its members. */
            if (o[3] == DECORATION_NON_WRITABLE)
                ids[o[1]].member_non_writable = true;
            if (o[3] == DECORATION_NON_READABLE)
                ids[o[1]].member_non_readable = true;
            break;
        default:
            break;
        }
        i += length;
    }
    return true;
}

static uint32_t struct_bytes(const id_info *ids, uint32_t type) {
    const id_info *info = &ids[type];
    if (info->op != OP_TYPE_STRUCT)
        return info->width / 8;
    uint32_t bytes = 0;
    for (uint32_t m = 0; m < info->member_count; m++) {
        uint32_t end = info->offsets[m] + struct_bytes(ids, info->members[m]);
        bytes = end > bytes ? end : bytes;
    }
    return bytes;
}

static int check(const row *r, const uint32_t *words, uint64_t count, id_info *ids) {
    memset(ids, 0, sizeof *ids * MAX_IDS);
    uint32_t local_size = 0, bound = 0, push_bytes = 0;
    if (!parse(words, count, ids, &local_size)) {
        fprintf(stderr, "%s.%s: not a SPIR-V module as expected\n", r->kernel, r->variant);
        return 1;
    }
    for (uint32_t id = 0; id < words[3]; id++) {
        if (ids[id].op != OP_VARIABLE)
            continue;
        const id_info *block = &ids[ids[ids[id].pointee].pointee];
        if (ids[id].storage == STORAGE_PUSH_CONSTANT)
            push_bytes = struct_bytes(ids, ids[ids[id].pointee].pointee);
        if (!ids[id].has_binding)
            continue;
        if (ids[id].set != 0)
            return fail(r, "descriptor set", 0, ids[id].set);
        uint32_t binding = ids[id].binding;
        if (binding >= r->binding_count)
            return fail(r, "number of bindings", r->binding_count, binding + 1);
        bool texels = r->access[binding] == TV_TEXELS;
        uint32_t storage = texels ? STORAGE_UNIFORM_CONSTANT : STORAGE_STORAGE_BUFFER;
        if (ids[id].storage != storage)
            return fail(r, "storage class of a binding", storage, ids[id].storage);
        bound |= 1u << binding;
        if (texels)
            continue;
        bool non_writable = ids[id].non_writable || block->member_non_writable;
        bool non_readable = ids[id].non_readable || block->member_non_readable;
        uint32_t access = (non_readable ? 0 : (uint32_t)TV_READ) | (non_writable ? 0 : (uint32_t)TV_WRITE);
        if (access != (uint32_t)r->access[binding]) {
            fprintf(stderr, "binding %u: ", binding);
            return fail(r, "access (1 read, 2 write, 3 both)", (uint32_t)r->access[binding], access);
        }
    }
    uint32_t expected = (1u << r->binding_count) - 1;
    if (bound != expected)
        return fail(r, "set of bindings", expected, bound);
    if (push_bytes != r->push_bytes)
        return fail(r, "push-constant bytes", r->push_bytes, push_bytes);
    if (r->local_size && local_size != r->local_size)
        return fail(r, "local size", r->local_size, local_size);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: embed_shaders SPIRV-DIR OUTPUT.c\n");
        return 2;
    }
    FILE *out = fopen(argv[2], "w");
    id_info *ids = malloc(sizeof *ids * MAX_IDS);
    int failures = 0;
    if (!out || !ids) {
        fprintf(stderr, "cannot write %s\n", argv[2]);
        if (out)
            fclose(out);
        free(ids);
        return 1;
    }
    fprintf(out, "/* Generated by tools/build/embed_shaders.c from the compiled shaders. */\n#include "
                 "\"kernels/registry.h\"\n\n");
    size_t row_count = sizeof rows / sizeof *rows;
    for (size_t i = 0; i < row_count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.%s.spv", argv[1], rows[i].kernel, rows[i].variant);
        uint64_t count = 0;
        uint32_t *words = read_words(path, &count);
        if (!words && rows[i].tier != TV_TIER_FP32) {
            fprintf(
                out,
                "#define shader_%zu_count 0\nstatic const uint32_t shader_%zu[1]; /* %s.%s: not built */\n",
                i, i, rows[i].kernel, rows[i].variant);
            continue;
        }
        if (!words) {
            fprintf(stderr, "cannot read %s\n", path);
            failures++;
            continue;
        }
        failures += check(&rows[i], words, count, ids);
        fprintf(out, "static const uint32_t shader_%zu[] = { /* %s.%s */", i, rows[i].kernel,
                rows[i].variant);
        for (uint64_t w = 0; w < count; w++)
            fprintf(out, "%s0x%x,", w % 12 == 0 ? "\n" : "", words[w]);
        fprintf(out, "\n};\n#define shader_%zu_count (sizeof shader_%zu / 4)\n", i, i);
        free(words);
    }
    fprintf(out, "\nconst tv_spirv tv_embedded_shaders[] = {\n");
    for (size_t i = 0; i < row_count; i++)
        fprintf(out, "    {shader_%zu, shader_%zu_count},\n", i, i);
    fprintf(out, "};\n");
    bool written = fclose(out) == 0;
    free(ids);
    if (failures || !written)
        remove(argv[2]);
    return failures || !written ? 1 : 0;
}

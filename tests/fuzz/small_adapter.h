/* A Llama of one layer and an adapter of rank 2 over its q, made once, for fuzz targets that give one of the
 * adapter's files. */
#ifndef TV_TESTS_FUZZ_SMALL_ADAPTER_H
#define TV_TESTS_FUZZ_SMALL_ADAPTER_H

#include "base/bytes.h"
#include "base/files.h"
#include "formats/peft.h"
#include "fuzz/small_directory.h"

static char tv_fuzz_directory[] = "/tmp/trivium-fuzz-adapter-XXXXXX";
static char *tv_fuzz_paths[3]; /* the base, the adapter, the file that is given */

static inline void tv_fuzz_clean(void) {
    (void)tv_remove_tree(tv_fuzz_directory);
    for (int i = 0; i < 3; i++)
        free(tv_fuzz_paths[i]);
}

static inline void tv_fuzz_write_model(const char *path, const tv_model_config *config,
                                       const tv_adapter *over) {
    tv_parameter_list *list = NULL;
    if (!path || tv_make_dirs(path) != TV_OK ||
        tv_parameter_list_create_chosen(config, &(tv_parameter_choice){.adapter = over}, &list) != TV_OK ||
        tv_model_directory_write(path, list, tv_fuzz_zeros, list) != TV_OK)
        abort();
    tv_parameter_list_destroy(&list);
}

static inline const char *tv_fuzz_base(void) {
    return tv_fuzz_paths[0];
}

static inline const char *tv_fuzz_adapter(void) {
    return tv_fuzz_paths[1];
}

/* The path of one of the adapter's files, always the same; makes both models at the first call. */
static inline const char *tv_fuzz_adapter_file(const char *name) {
    static const char *const names[] = {"q_proj"};
    tv_adapter over = {.rank = 2, .alpha = 4};
    tv_model_config config = tv_fuzz_config();
    if (tv_fuzz_paths[2])
        return tv_fuzz_paths[2];
    if (!mkdtemp(tv_fuzz_directory) || tv_peft_targets(&config, "fuzz", names, 1, &over) != TV_OK)
        abort();
    atexit(tv_fuzz_clean);
    tv_fuzz_paths[0] = tv_format("%s/base", tv_fuzz_directory);
    tv_fuzz_paths[1] = tv_format("%s/adapter", tv_fuzz_directory);
    tv_fuzz_paths[2] = tv_format("%s/adapter/%s", tv_fuzz_directory, name);
    tv_fuzz_write_model(tv_fuzz_paths[0], &config, NULL);
    tv_fuzz_write_model(tv_fuzz_paths[1], &config, &over);
    return tv_fuzz_paths[2];
}

#endif

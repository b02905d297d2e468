/* What a driver's compiler says of the pipelines that it made: statistics and assembly.
 *
 * Promise: of a device that tv_device_open_hollow opened, every pipeline is reported, in the order in which
 * they were made; where the driver lacks VK_KHR_pipeline_executable_properties a report has neither
 * statistics nor assembly. Drivers name what they tell as they like: statistics.c has the one table from
 * their names to common terms, by what Mesa 25 and 26 say.
 */
#ifndef TV_VK_STATISTICS_H
#define TV_VK_STATISTICS_H

#include "vk/device.h"
#include "vk/pipeline.h"

/* The common terms. Registers are those of one invocation, of 32 bits; subgroups are those that a processor
 * holds at once (AMD: of a SIMD; NVIDIA: of an SM); cycles are the compiler's estimate for one subgroup. */
typedef enum tv_term {
    TV_TERM_REGISTERS,
    TV_TERM_SCALAR_REGISTERS, /* shared by the lanes of a subgroup */
    TV_TERM_SPILLS,           /* registers, or stores and loads of them, as the driver counts */
    TV_TERM_SCRATCH_BYTES,
    TV_TERM_SHARED_BYTES,
    TV_TERM_SUBGROUPS,
    TV_TERM_CODE_BYTES,
    TV_TERM_INSTRUCTIONS,
    TV_TERM_CYCLES,
    TV_TERM_VECTOR_ALU, /* instructions of a unit, from here on */
    TV_TERM_SCALAR_ALU,
    TV_TERM_PAIRED_ALU, /* two operations in one */
    TV_TERM_MEMORY,
    TV_TERM_SCALAR_MEMORY,
    TV_TERM_BRANCHES,
    TV_TERM_COUNT
} tv_term;

/* Its name in JSON, "shared_bytes". */
const char *tv_term_name(tv_term term);

typedef struct tv_statistic {
    char *name;
    double value;
} tv_statistic;

typedef struct tv_pipeline_report {
    const tv_program *program;
    uint32_t specialization[TV_MAX_SPECIALIZATION], specialization_count;
    uint32_t subgroup; /* lanes that it was compiled for; 0: not told */
    tv_statistic *statistics;
    uint32_t statistic_count;
    char *assembly;     /* NULL: not told */
    const char *driver; /* the device's */
} tv_pipeline_report;

/* A sum over the statistics of a term; *told is false where there is none. */
double tv_pipeline_report_term(const tv_pipeline_report *report, tv_term term, bool *told);
/* Matrix instructions in an assembly of AMD's, NVIDIA's or Apple's names. */
uint64_t tv_count_matrix_instructions(const char *assembly);

/* Makes a pipeline that no recording asked for. */
tv_status tv_pipeline_make(tv_device *device, const tv_program *program, const uint32_t *specialization,
                           uint32_t specialization_count);

uint64_t tv_pipeline_count(const tv_device *device);
/* Of all pipelines, tv_pipeline_count of them, the first made first. Free with tv_pipeline_reports_free. */
tv_status tv_pipeline_reports_read(tv_device *device, tv_pipeline_report **reports);
void tv_pipeline_reports_free(tv_pipeline_report **reports, uint64_t count);

#endif

/* The table from drivers' names of statistics to common terms, on lists that drivers gave (some zeros made
 * numbers): what each is in common terms was read off by hand. Breaks that it noticed: a scale of 1 for
 * Turnip's registers, spills set instead of summed, names compared without their driver, HMMA not counted. */
#include "support/support.h"

#include "base/bytes.h"
#include "vk/statistics.h"

typedef struct told {
    const char *name;
    double value;
} told;

static double term_of(const char *driver, const told *list, tv_term term) {
    tv_statistic statistics[32];
    tv_pipeline_report report = {.driver = driver, .statistics = statistics};
    for (; list[report.statistic_count].name; report.statistic_count++)
        statistics[report.statistic_count] = (tv_statistic){
            (char *)(uintptr_t)list[report.statistic_count].name, list[report.statistic_count].value};
    bool is_told;
    double value = tv_pipeline_report_term(&report, term, &is_told);
    return is_told ? value : -1;
}

typedef struct expectation {
    tv_term term;
    double value; /* -1: not told */
} expectation;

static void check(const char *driver, const told *list, const expectation *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double value = term_of(driver, list, expected[i].term);
        if (!(value == expected[i].value))
            fail_msg("%s: %s is %g, expected %g", driver, tv_term_name(expected[i].term), value,
                     expected[i].value);
    }
}

/* matmul.nt on navi31; the spills are made up, for the kernel has none. */
static const told radv[] = {{"Driver pipeline hash", 1.2844931031487418e19},
                            {"SGPRs", 108},
                            {"VGPRs", 36},
                            {"Spilled SGPRs", 2},
                            {"Spilled VGPRs", 5},
                            {"Code size", 5812},
                            {"LDS size", 9216},
                            {"Scratch size", 64},
                            {"Subgroups per SIMD", 28},
                            {"Combined inputs", 0},
                            {"Combined outputs", 0},
                            {"Hash", 1103989460},
                            {"Instructions", 1131},
                            {"Copies", 195},
                            {"Branches", 85},
                            {"Latency", 14712},
                            {"Inverse Throughput", 1488},
                            {"VMEM Clause", 58},
                            {"SMEM Clause", 92},
                            {"Pre-Sched SGPRs", 31},
                            {"Pre-Sched VGPRs", 37},
                            {"VALU", 342},
                            {"SALU", 257},
                            {"VMEM", 59},
                            {"SMEM", 123},
                            {"VOPD", 11},
                            {NULL, 0}};
static const told nvk[] = {{"Instruction count", 1117},
                           {"Static cycle count", 31451},
                           {"Max warps/SM", 64},
                           {"Spills to memory", 3},
                           {"Fills from memory", 4},
                           {"Spills to reg", 50},
                           {"Fills from reg", 60},
                           {"Code size", 17872},
                           {"Number of GPRs", 32},
                           {"SLM size", 16},
                           {NULL, 0}};
static const told honeykrisp[] = {{"Instructions", 715},
                                  {"ALU", 383},
                                  {"FSCIB", 384},
                                  {"IC", 296},
                                  {"Code size", 4844},
                                  {"GPRs", 79},
                                  {"Uniforms", 490},
                                  {"Scratch", 32},
                                  {"Threads", 1024},
                                  {"Loops", 3},
                                  {"Spills", 1},
                                  {"Fills", 2},
                                  {"Preamble instructions", 205},
                                  {NULL, 0}};
static const told turnip[] = {{"Max Waves Per Core", 12},
                              {"Instruction Count", 1354},
                              {"Code size", 1728},
                              {"NOPs Count", 581},
                              {"MOV Count", 63},
                              {"COV Count", 4},
                              {"Registers used", 16},
                              {"Half-registers used", 8},
                              {"Instructions with SS sync bit", 50},
                              {"Estimated cycles stalled on SY", 1654},
                              {"cat0 instructions", 683},
                              {"cat1 instructions", 67},
                              {"cat2 instructions", 362},
                              {"cat3 instructions", 162},
                              {"cat4 instructions", 9},
                              {"cat5 instructions", 26},
                              {"cat6 instructions", 50},
                              {"cat7 instructions", 4},
                              {"STP Count", 5},
                              {"LDP Count", 6},
                              {NULL, 0}};

static void drivers_speak_one_language(void **state) {
    (void)state;
    const expectation of_radv[] = {
        {TV_TERM_REGISTERS, 36},     {TV_TERM_SCALAR_REGISTERS, 108}, {TV_TERM_SPILLS, 7},
        {TV_TERM_SCRATCH_BYTES, 64}, {TV_TERM_SHARED_BYTES, 9216},    {TV_TERM_SUBGROUPS, 28},
        {TV_TERM_CODE_BYTES, 5812},  {TV_TERM_INSTRUCTIONS, 1131},    {TV_TERM_CYCLES, 14712},
        {TV_TERM_VECTOR_ALU, 342},   {TV_TERM_SCALAR_ALU, 257},       {TV_TERM_PAIRED_ALU, 11},
        {TV_TERM_MEMORY, 59},        {TV_TERM_SCALAR_MEMORY, 123},    {TV_TERM_BRANCHES, 85}};
    check("radv Mesa 26.2.6-1", radv, of_radv, TV_COUNT(of_radv));
    const expectation of_nvk[] = {
        {TV_TERM_REGISTERS, 32}, {TV_TERM_SPILLS, 7},         {TV_TERM_SCRATCH_BYTES, 16},
        {TV_TERM_SUBGROUPS, 64}, {TV_TERM_CODE_BYTES, 17872}, {TV_TERM_INSTRUCTIONS, 1117},
        {TV_TERM_CYCLES, 31451}, {TV_TERM_SHARED_BYTES, -1},  {TV_TERM_VECTOR_ALU, -1}};
    check("NVK Mesa 26.2.6-1", nvk, of_nvk, TV_COUNT(of_nvk));
    const expectation of_honeykrisp[] = {
        {TV_TERM_REGISTERS, 39.5},   {TV_TERM_SCALAR_REGISTERS, 245}, {TV_TERM_SPILLS, 3},
        {TV_TERM_SCRATCH_BYTES, 32}, {TV_TERM_SUBGROUPS, 32},         {TV_TERM_CODE_BYTES, 4844},
        {TV_TERM_INSTRUCTIONS, 715}, {TV_TERM_CYCLES, 383},           {TV_TERM_SHARED_BYTES, -1}};
    check("Honeykrisp Mesa 26.2.6-1", honeykrisp, of_honeykrisp, TV_COUNT(of_honeykrisp));
    const expectation of_turnip[] = {
        {TV_TERM_REGISTERS, 64},      {TV_TERM_SPILLS, 11},      {TV_TERM_SUBGROUPS, 12},
        {TV_TERM_CODE_BYTES, 6912},   {TV_TERM_VECTOR_ALU, 600}, {TV_TERM_MEMORY, 76},
        {TV_TERM_INSTRUCTIONS, 1354}, {TV_TERM_CYCLES, -1},      {TV_TERM_SCRATCH_BYTES, -1}};
    check("turnip Mesa driver Mesa 26.2.6-1", turnip, of_turnip, TV_COUNT(of_turnip));
    /* Names mean what their own driver means. */
    const expectation of_stranger[] = {{TV_TERM_REGISTERS, -1}, {TV_TERM_INSTRUCTIONS, -1}};
    check("a stranger's 1.0", radv, of_stranger, TV_COUNT(of_stranger));
}

static void matrix_instructions_are_counted(void **state) {
    (void)state;
    assert_int_equal(
        tv_count_matrix_instructions("\tv_wmma_f32_16x16x16_f16 v[8:15], v[0:7], v[0:7], v[8:15]\n"
                                     "\tv_fma_f32 v0, v1, v2, v3\n"
                                     "\tv_mfma_f32_32x32x8_f16 a[0:15], v[0:1], v[2:3], a[0:15]\n"),
        2);
    assert_int_equal(tv_count_matrix_instructions("r4..8 = hmma.m16n8k16.f32 r0..4 r8..10 r4..8\n"
                                                  "r1 = ffma r2 r3 r4\n"
                                                  "r4..8 = imma.m16n8k32.s8 r0..4 r8..10 r4..8"),
                     2);
    assert_int_equal(tv_count_matrix_instructions(""), 0);
    assert_int_equal(tv_count_matrix_instructions(NULL), 0);
}

static void every_term_has_a_name(void **state) {
    (void)state;
    for (int a = 0; a < TV_TERM_COUNT; a++) {
        assert_true(tv_term_name((tv_term)a)[0] != '\0');
        for (int b = 0; b < a; b++)
            assert_string_not_equal(tv_term_name((tv_term)a), tv_term_name((tv_term)b));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drivers_speak_one_language),
        cmocka_unit_test(matrix_instructions_are_counted),
        cmocka_unit_test(every_term_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What the matrix-unit kernels of attention share (tiers cm-f16, cm-bf16): rows of the result to subgroups, and strips of shared memory.
 *
 * A workgroup is TV_ATTENTION_SUBGROUPS subgroups, each of which owns 16 rows of the result. Where an element of a matrix lies in a
 * subgroup is the device's own affair, so whatever is done by rows and columns goes through the subgroup's strip; what a row is
 * multiplied with is loaded as a matrix of equal columns (stride 0).
 *
 * Both operands of a product are read along the sum's dimension, 8 to 16 neighbours a lane in one load; so what is summed over rows
 * lies turned in shared memory. Rows there have 8 elements to spare, so that neighbours lie in different banks.
 *
 * The including shader has included matrix.glsl and declares the push constants `p` and STRIP_COLUMNS (32, or 16).
 */
#ifndef TV_ATTENTION_STRIPS_GLSL
#define TV_ATTENTION_STRIPS_GLSL

#include "sizes.h"

layout(local_size_x_id = 4) in;
layout(constant_id = 4) const uint INVOCATIONS = 128; /* TV_ATTENTION_SUBGROUPS times the device's lanes */
layout(constant_id = 5) const uint D = 64;            /* head size, a multiple of 4 */
layout(constant_id = 6) const uint TYPES = 0;         /* bit i: what the shader numbers so is T in memory, else float */
const bool ROLLED = (TYPES >> 31) != 0; /* loops over matrices stay loops: on CPUs, unrolled ones take LLVM minutes */

const uint M = TV_MATRIX_M, N = TV_MATRIX_N, K = TV_MATRIX_K, LANES = TV_MATRIX_LANES, SUBGROUPS = TV_ATTENTION_SUBGROUPS;
const uint ROWS = 16;                  /* of a subgroup */
const uint WIDTH = (D + 15) / 16 * 16; /* D with the channels that are 0 */
const uint ROW_TILES = ROWS / M;
/* What lanes do with a strip: lane % 16 is the row (with fewer lanes, several of them), and the lanes of a row share its quads. */
const uint STRIP_PITCH = STRIP_COLUMNS / 4 + 1; /* in uvec4: float, or twice as many T and some to spare */
const uint ROW_LANES = LANES > ROWS ? LANES / ROWS : 1;
const uint LANE_ROWS = LANES > ROWS ? 1 : ROWS / LANES;
const uint STRIP_QUADS = STRIP_COLUMNS / 4 / ROW_LANES;

const float log2_e = 1.4426950408889634;
const float ln_2 = 0.6931471805599453;

/* A count of matrices that a driver knows, and unrolls over, unless ROLLED. */
#define EACH(count) ((count) - (ROLLED ? p.window >> 31 : 0))

#ifndef STRIPS
#define STRIPS SUBGROUPS
#endif
shared uvec4 strip[STRIPS * ROWS * STRIP_PITCH];

uint strip_base() {
    return gl_SubgroupID * ROWS * STRIP_PITCH;
}

bool is_t(uint source) {
    return (TYPES >> source & 1) != 0;
}

uvec2 tile_t(uint source, uvec4 bits) {
    return is_t(source) ? bits.xy : tv_pack4(uintBitsToFloat(bits));
}

/* Rows a, b, c, d of four channels as four channels of four rows. */
void turn(uvec2 a, uvec2 b, uvec2 c, uvec2 d, out uvec2 turned[4]) {
    turned[0] = uvec2(a.x & 0xffff | b.x << 16, c.x & 0xffff | d.x << 16);
    turned[1] = uvec2(a.x >> 16 | b.x & 0xffff0000, c.x >> 16 | d.x & 0xffff0000);
    turned[2] = uvec2(a.y & 0xffff | b.y << 16, c.y & 0xffff | d.y << 16);
    turned[3] = uvec2(a.y >> 16 | b.y & 0xffff0000, c.y >> 16 | d.y & 0xffff0000);
}

uint strip_row(uint i) {
    return gl_SubgroupInvocationID % ROWS + i * LANES;
}
uint strip_quad(uint q) {
    return gl_SubgroupInvocationID / ROWS * STRIP_QUADS + q;
}

#endif

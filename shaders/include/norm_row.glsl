/* One row of a norm on a CPU, which a subgroup alone keeps in its registers: what norm_forward.comp does with whole vec4s, and products whose rows
 * are normed by the workgroup that finishes them (matmul_texels.comp), to the same bits.
 *
 * Whoever includes this declares samplerBuffers `residual`, `gain` and `shift`, constants NORM_EACH (vec4s of a lane, at most 8), NORM_RESIDUAL
 * and NORM_SHIFT (bool: whether they are there) and NORM_RMS (bool); and as macros, by the vec4 in (rows, C / 4),
 *   NORM_INPUT(at)   what is normed, before the residual
 *   NORM_SUM(at)     where it goes with the residual
 *   NORM_OUTPUT(at)  where the normed row goes
 */
#ifndef TV_NORM_ROW_GLSL
#define TV_NORM_ROW_GLSL

float tv_norm_sum_of(vec4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

/* Gives mean (0 for RMS) and rstd. */
vec2 tv_norm_row(uint row, uint channels, float eps, float gain_offset) {
    const uint lanes = gl_WorkGroupSize.x;
    uint lane = gl_SubgroupInvocationID, width = channels / 4, base = row * width;
    float inverse_channels = 1.0 / float(channels);

    /* Sum for the mean, or sum of squares for RMS. */
    vec4 own[8], total = vec4(0.0);
    [[unroll]] for (uint i = 0; i < NORM_EACH; i++) {
        uint c = lane + i * lanes, at = base + min(c, width - 1);
        own[i] = NORM_INPUT(at);
        if (NORM_RESIDUAL) {
            own[i] += texelFetch(residual, int(at));
            if (c < width)
                NORM_SUM(at) = own[i];
        }
        vec4 v = c < width ? own[i] : vec4(0.0);
        total += NORM_RMS ? v * v : v;
    }
    float reduced = subgroupAdd(tv_norm_sum_of(total)) * inverse_channels;
    float mean = 0.0, variance = reduced;
    if (!NORM_RMS) {
        mean = reduced;
        vec4 squares = vec4(0.0);
        [[unroll]] for (uint i = 0; i < NORM_EACH; i++) {
            vec4 difference = lane + i * lanes < width ? own[i] - mean : vec4(0.0);
            squares += difference * difference;
        }
        variance = subgroupAdd(tv_norm_sum_of(squares)) * inverse_channels;
    }
    /* Not inversesqrt: some drivers take the processor's estimate of 12 bits. */
    float rstd = 1.0 / sqrt(variance + eps);

    [[unroll]] for (uint i = 0; i < NORM_EACH; i++) {
        uint c = lane + i * lanes;
        if (c < width) {
            vec4 value = (own[i] - mean) * rstd * (texelFetch(gain, int(c)) + gain_offset);
            NORM_OUTPUT(base + c) = NORM_SHIFT ? value + texelFetch(shift, int(c)) : value;
        }
    }
    return vec2(mean, rstd);
}

#endif

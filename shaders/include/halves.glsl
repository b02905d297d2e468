/* Halves in memory, two to a word, as every device reads and writes them: f16 or bf16, by the number of tv_dtype. Rounded to nearest even;
 * what is over the range of f16 becomes infinite. (packHalf2x16 rounds as the driver likes, often towards 0, where nothing overflows.)
 */
#ifndef TV_HALVES_GLSL
#define TV_HALVES_GLSL

#define TV_TYPE_F16  1
#define TV_TYPE_BF16 2

/* IEEE half of a float's bits. */
uint tv_to_half(uint bits) {
    uint sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return sign | 0x7e00u;
    if (magnitude >= 0x477ff000u)
        return sign | 0x7c00u;
    /* Below the smallest normal half, adding 0.5 rounds at the subnormal's last bit. */
    if (magnitude < 0x38800000u)
        return sign | floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000u;
    return sign | magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u) >> 13;
}

uint tv_to_bfloat16(uint bits) {
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return bits >> 16 | 0x40u;
    return bits + 0x7fffu + (bits >> 16 & 1u) >> 16;
}

uint tv_pack_two(vec2 v, uint type) {
    uvec2 bits = floatBitsToUint(v);
    if (type == TV_TYPE_BF16)
        return tv_to_bfloat16(bits.x) | tv_to_bfloat16(bits.y) << 16;
    return tv_to_half(bits.x) | tv_to_half(bits.y) << 16;
}

vec2 tv_unpack_two(uint word, uint type) {
    if (type == TV_TYPE_BF16)
        return vec2(uintBitsToFloat(word << 16), uintBitsToFloat(word & 0xffff0000u));
    return unpackHalf2x16(word);
}

#endif

/* Weights of any type in memory, as floats: rows of 32-bit words, as base/dtype.h lays them out. No 16-bit or 8-bit feature
 * of a device is asked for.
 *
 * -DTV_WEIGHT=<value of tv_dtype>, absent: f32. Whoever includes this declares the binding as `TV_WEIGHT_WORD b[]`. A row is
 * named by the word at which it begins, and its elements in all by `columns`. Scales times quants are exact in fp32, so a
 * product reads what the host's conversion gives, to the bit.
 */
#ifndef TV_WEIGHTS_GLSL
#define TV_WEIGHTS_GLSL

#include "types.glsl"

#define TV_WEIGHT_F32  0
#define TV_WEIGHT_F16  1
#define TV_WEIGHT_BF16 2
#define TV_WEIGHT_Q8_0 7
#define TV_WEIGHT_Q4_0 8
#ifndef TV_WEIGHT
#define TV_WEIGHT TV_WEIGHT_F32
#endif

/* TV_WEIGHT_EACH: elements of a word. */
#if TV_WEIGHT == TV_WEIGHT_F32
#define TV_WEIGHT_WORD TV_PARAM
#define TV_WEIGHT_EACH 1
#else
#define TV_WEIGHT_WORD uint
#if TV_WEIGHT == TV_WEIGHT_Q8_0
#define TV_WEIGHT_EACH 4
#elif TV_WEIGHT == TV_WEIGHT_Q4_0
#define TV_WEIGHT_EACH 8
#else
#define TV_WEIGHT_EACH 2
#endif
#endif
#define TV_WEIGHT_BLOCK 32

#endif

/* The second part, behind the declaration of `b`: #define TV_WEIGHT_FUNCTIONS and include once more. */
#if defined(TV_WEIGHT_FUNCTIONS) && !defined(TV_WEIGHT_FUNCTIONS_DONE)
#define TV_WEIGHT_FUNCTIONS_DONE

uint tv_weight_row_words(uint columns) {
#if TV_WEIGHT == TV_WEIGHT_Q8_0 || TV_WEIGHT == TV_WEIGHT_Q4_0
    return columns / TV_WEIGHT_EACH + (columns / TV_WEIGHT_BLOCK + 1) / 2;
#else
    return (columns + TV_WEIGHT_EACH - 1) / TV_WEIGHT_EACH;
#endif
}

/* The half in the low 16 bits. Subnormal ones by hand: devices may flush them, and small weights have such scales. */
float tv_half(uint bits) {
    float small = float(bits & 0x3ffu) * uintBitsToFloat(0x33800000u);
    return (bits & 0x7c00u) != 0 ? unpackHalf2x16(bits & 0xffffu).x : (bits & 0x8000u) != 0 ? -small : small;
}

/* Of the block of `column`; 1 for types without. */
float tv_weight_scale(uint row, uint columns, uint column) {
#if TV_WEIGHT == TV_WEIGHT_Q8_0 || TV_WEIGHT == TV_WEIGHT_Q4_0
    uint block = column / TV_WEIGHT_BLOCK;
    return tv_half(b[row + columns / TV_WEIGHT_EACH + block / 2] >> 16 * (block % 2));
#else
    return 1.0;
#endif
}

/* Value number `e` of a word, before its scale. */
float tv_weight_of_word(TV_WEIGHT_WORD word, uint e) {
#if TV_WEIGHT == TV_WEIGHT_F32
    return float(word);
#elif TV_WEIGHT == TV_WEIGHT_F16
    return tv_half(word >> 16 * e);
#elif TV_WEIGHT == TV_WEIGHT_BF16
    return uintBitsToFloat(e == 0 ? word << 16 : word & 0xffff0000u);
#elif TV_WEIGHT == TV_WEIGHT_Q8_0
    return float(bitfieldExtract(int(word), int(8 * e), 8));
#else /* low nibbles first, then the high ones */
    return float(int(bitfieldExtract(word, int(8 * (e % 4) + 4 * (e / 4)), 4)) - 8);
#endif
}

/* The word of a row that column is in. */
uint tv_weight_word_of(uint column) {
#if TV_WEIGHT == TV_WEIGHT_Q4_0
    return column / TV_WEIGHT_BLOCK * 4 + column % 16 / 4;
#else
    return column / TV_WEIGHT_EACH;
#endif
}

uint tv_weight_place(uint column) {
#if TV_WEIGHT == TV_WEIGHT_Q4_0
    return column % 4 + column % TV_WEIGHT_BLOCK / 16 * 4;
#else
    return column % TV_WEIGHT_EACH;
#endif
}

/* The words of a row that hold values. */
uint tv_weight_words(uint columns) {
    return (columns + TV_WEIGHT_EACH - 1) / TV_WEIGHT_EACH;
}

float tv_weight(uint row, uint columns, uint column) {
    float value = tv_weight_of_word(b[row + tv_weight_word_of(column)], tv_weight_place(column));
#if TV_WEIGHT == TV_WEIGHT_Q8_0 || TV_WEIGHT == TV_WEIGHT_Q4_0
    value *= tv_weight_scale(row, columns, column);
#endif
    return value;
}

/* Columns first .. first + 7, where first is a multiple of 8; beyond the last column the last word is read again. */
void tv_weight_eight(uint row, uint columns, uint first, out float values[8]) {
#if TV_WEIGHT == TV_WEIGHT_F32
    for (uint i = 0; i < 8; i++)
        values[i] = float(b[row + min(first + i, columns - 1)]);
#elif TV_WEIGHT == TV_WEIGHT_Q4_0
    float scale = tv_weight_scale(row, columns, first);
    uint at = row + tv_weight_word_of(first), high = first % TV_WEIGHT_BLOCK / 16;
    uint words[2] = uint[2](b[at] >> 4 * high, b[at + 1] >> 4 * high);
    for (uint i = 0; i < 8; i++)
        values[i] = scale * tv_weight_of_word(words[i / 4], i % 4);
#else
    float scale = tv_weight_scale(row, columns, first);
    uint at = first / TV_WEIGHT_EACH, last = tv_weight_words(columns) - 1;
    for (uint w = 0; w < 8 / TV_WEIGHT_EACH; w++) {
        uint word = b[row + min(at + w, last)];
        for (uint e = 0; e < TV_WEIGHT_EACH; e++)
            values[w * TV_WEIGHT_EACH + e] = scale * tv_weight_of_word(word, e);
    }
#endif
}

#endif

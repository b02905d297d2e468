/* Compiles where the compiler knows cooperative matrices of bf16: see cmake/shaders.cmake. */
#version 460
#extension GL_GOOGLE_include_directive : require
#define TV_MATRIX_BF16
#include "matrix.glsl"

layout(local_size_x = 32) in;
shared uvec2 tile[64];
layout(std430, binding = 0) buffer C {
    float c[];
};

void main() {
    tile[gl_LocalInvocationIndex] = tv_pack4(vec4(1.0));
    barrier();
    TV_MATRIX_A a;
    TV_MATRIX_B b;
    coopMatLoad(a, tile, 0, TV_MATRIX_K / 4, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b, tile, 0, TV_MATRIX_K / 4, gl_CooperativeMatrixLayoutColumnMajor);
    TV_MATRIX_C sum = coopMatMulAdd(a, b, TV_MATRIX_C(0.0));
    coopMatStore(sum, c, 0, TV_MATRIX_N, gl_CooperativeMatrixLayoutRowMajor);
}

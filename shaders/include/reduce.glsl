/* Sums and maxima over a workgroup, the same bits on every run of a device.
 *
 * Needs GL_KHR_shader_subgroup_arithmetic and a one-dimensional workgroup. Where the workgroup is one subgroup, as the launchers choose on CPUs,
 * no barrier is executed: they are expensive there.
 */
#ifndef TV_REDUCE_GLSL
#define TV_REDUCE_GLSL

/* Subgroups of a workgroup: 1,024 invocations in subgroups of 4 lanes is the most that any device has. */
shared float tv_reduce_partial[256];

float tv_group_sum(float value) {
    float sum = subgroupAdd(value);
    if (gl_NumSubgroups == 1)
        return sum;
    barrier();
    if (subgroupElect())
        tv_reduce_partial[gl_SubgroupID] = sum;
    barrier();
    sum = 0.0;
    for (uint i = 0; i < gl_NumSubgroups; i++)
        sum += tv_reduce_partial[i];
    return sum;
}

float tv_group_max(float value) {
    float largest = subgroupMax(value);
    if (gl_NumSubgroups == 1)
        return largest;
    barrier();
    if (subgroupElect())
        tv_reduce_partial[gl_SubgroupID] = largest;
    barrier();
    largest = tv_reduce_partial[0];
    for (uint i = 1; i < gl_NumSubgroups; i++)
        largest = max(largest, tv_reduce_partial[i]);
    return largest;
}

#endif

/* Marks of what the host does while a trace is taken (trace.h): submissions and waits by themselves, and what
 * callers name. They cost nothing otherwise. Marks of one thread nest or follow each other, as calls do.
 */
#ifndef TV_VK_MARKS_H
#define TV_VK_MARKS_H

#include "vk/device.h"

/* The time; 0 when no trace is taken. */
double tv_mark_begin(const tv_device *device);
/* Marks what began at `begin`; nothing where that is 0. The texts are copied. Without memory the trace goes
 * without the mark, and says so at its end. */
void tv_mark_end(tv_device *device, double begin, const char *category, const char *name);

#endif

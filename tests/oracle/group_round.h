/* Double-precision reference of gradients that are rounded to bf16 with the error kept. */
#ifndef TV_ORACLE_GROUP_ROUND_H
#define TV_ORACLE_GROUP_ROUND_H

/* The nearest value with 8 significant bits, of two as near the even one; none below 2^-133, what is over the
 * largest, (2 - 2^-7) 2^127, by half a step or more is infinite. */
double oracle_bfloat16(double x);

/* One element: what `group` + scale * *error gives, as fp32 and then rounded; *error becomes what that lacks,
 * rounded too, or 0 where there is no such number. */
double oracle_group_round(float group, double *error, double scale);

#endif

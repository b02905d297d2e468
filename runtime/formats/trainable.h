/* Patterns that say which parameters of a model are trained: the setting train.trainable.
 *
 * A pattern is a comma-separated list; a parameter is trained when one item names it:
 *   all              every parameter
 *   lora             none of the base: adapters alone
 *   layers.20-       the layers from 20 on; layers.4, layers.2-5 and layers.-3 likewise
 *   a name           an operation ("qkv", "mlp in"), a role ("norm1 gain"), a list name, a published name
 *                    ("model.layers.3.mlp.down_proj.weight") or whole words of one between its dots
 *                    ("o_proj", "mlp.down_proj"); * stands for any characters
 * A score head is new where it is trained at all, and always is.
 */
#ifndef TV_FORMATS_TRAINABLE_H
#define TV_FORMATS_TRAINABLE_H

#include "model/parameters.h"

/* Sets trainable[list->count]. TV_E_CONFIG, beginning with `where`, for an item that names nothing (the
 * sentence lists what could be named) or only a part of a parameter, such as q_proj of the fused qkv. */
tv_status tv_trainable_parse(const char *pattern, const char *where, const tv_parameter_list *list,
                             bool *trainable);

#endif

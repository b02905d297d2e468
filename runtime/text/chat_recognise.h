/* What a Jinja chat template renders, as far as chat_template.h knows such templates.
 *
 * Promise: any bytes are taken; nothing is executed. A template is known when, its comments, blanks and
 * quoting aside, it writes the turns of ChatML or Llama 3 exactly, and nothing that we would leave out.
 */
#ifndef TV_TEXT_CHAT_RECOGNISE_H
#define TV_TEXT_CHAT_RECOGNISE_H

#include "text/chat_template.h"

/* Sets kind, begins, preamble and system. *why is NULL when the template is known, else what is missing or
 * too much in it. */
tv_status tv_chat_recognise(const char *jinja, tv_chat_template *chat, const char **why);

#endif

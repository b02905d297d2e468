/* Words of commands that a sentence gives for copying. */
#ifndef TV_BASE_SHELL_WORD_H
#define TV_BASE_SHELL_WORD_H

/* `word` as a POSIX shell reads it back: as it stands, or in single quotes where it needs them. The caller
 * frees; NULL when memory is out. */
char *tv_shell_word(const char *word);

#endif

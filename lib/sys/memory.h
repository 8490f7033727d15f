/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a program does when there is no memory for JSON.
 */
#ifndef NOF1_SYS_MEMORY_H
#define NOF1_SYS_MEMORY_H

/* From now on the process ends (75, with a line in the log) when jansson finds no memory: it would
 * go on with values that lack members, and its tokenizer writes out of bounds. Every program
 * restarts from what is durable. Call before any JSON is made. */
void nof1_json_memory(void);

#endif

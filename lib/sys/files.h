/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Small files: read whole with a limit, replaced atomically, private keys only when private.
 */
#ifndef NOF1_SYS_FILES_H
#define NOF1_SYS_FILES_H

#include <sys/types.h>

#include <nof1/slice.h>

/* Append the whole regular file to `out`. Errors: NOF1_E_INPUT when it is missing, unreadable, not
 * a regular file or larger than limit bytes; NOF1_E_NO_MEMORY. */
nof1_rc nof1_file_read(struct nof1_buffer *out, const char *path, size_t limit,
                       struct nof1_error *error);
/* Replace `path`: a temporary file beside it, fsync, rename, fsync of the folder. After a crash the
 * old or the new content is there, never a mixture. Errors: NOF1_E_IO. */
nof1_rc nof1_file_write(const char *path, struct nof1_slice bytes, mode_t mode,
                        struct nof1_error *error);
/* A private key file may be readable by its owner only, who is this user or root.
 * Errors: NOF1_E_CONFIG with the chmod that helps; NOF1_E_INPUT when it is missing. */
nof1_rc nof1_file_private(const char *path, struct nof1_error *error);
/* Make a folder (mode 0700) unless it is there. Errors: NOF1_E_IO. */
nof1_rc nof1_file_folder(const char *path, struct nof1_error *error);
/* Take the lock of a folder for the life of the process (flock on FOLDER/NAME), so that two daemons
 * never share a store. *fd is the caller's to close. Errors: NOF1_E_CONFIG when another process has
 * it; NOF1_E_IO. */
nof1_rc nof1_file_lock(int *fd, const char *folder, const char *name, struct nof1_error *error);

#endif

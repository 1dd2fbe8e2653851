/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROA_STORE_GC_H
#define PROA_STORE_GC_H

struct store;

/*
 * Removes blobs, layers and EROFS files that no image in the index refers to, and the temporary
 * directories of dead processes. Does nothing while somebody holds a pin, or when a manifest cannot
 * be read. @ret_layers (may be NULL) gets the diffIDs of the layers removed. Takes the lock itself.
 */
void store_gc(struct store *s, char ***ret_layers);

#endif

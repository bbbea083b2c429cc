#pragma once
/*
 * Nodes of the tree from what the database has: leaves, and the complete nodes of every eighth
 * level. A node between them is computed of the at most TREE_RUN_MAX below it. Pure; memory is the
 * caller's.
 */

#include "avanta/audit_log_internal.pb-c.h"

#include "libcommon/base/arena.h"
#include "libcommon/io/merkle.h"

#define TREE_LEVEL_STEP 8
#define TREE_RUN_MAX    256 /* stored nodes of one complete node of the next stored level */

/* The runs of stored nodes that these complete nodes are made of, none twice, as the parameters of
 * the statement proof_nodes. NULL: the arena is full. */
Avanta__AuditLog__ProofTiles *
nodes_wanted(const struct merkle_node *nodes, size_t count, struct arena *arena);
/* Fills in the hashes from the statement's rows. False: one is missing, the database is damaged. */
bool nodes_fill(struct merkle_node *nodes,
                size_t count,
                Avanta__AuditLog__ProofNode *const *rows,
                size_t row_count) MUST_CHECK;

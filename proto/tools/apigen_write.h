#pragma once
/* The writers: each puts one output, of checked declarations, into `file`. `argument` is the
 * service's name for operations, the version for OpenAPI and otherwise unused. */

#include "proto/tools/apigen_read.h"

void gen_write_methods_header(const struct gen *gen, FILE *file, const char *argument);
void gen_write_methods_table(const struct gen *gen, FILE *file, const char *argument);
void gen_write_ops_header(const struct gen *gen, FILE *file, const char *argument);
void gen_write_ops_table(const struct gen *gen, FILE *file, const char *argument);
void gen_write_openapi(const struct gen *gen, FILE *file, const char *argument);
void gen_write_markdown(const struct gen *gen, FILE *file, const char *argument);
void gen_write_errors(const struct gen *gen, FILE *file, const char *argument);
void gen_write_events(const struct gen *gen, FILE *file, const char *argument);
void gen_write_permissions(const struct gen *gen, FILE *file, const char *argument);
/* Text inside a Markdown table: a bar would end the cell. */
void gen_put_cell(FILE *file, const char *text);

#include "proto/tools/apigen_write.h"
void gen_write_openapi(const struct gen *gen, FILE *file, const char *argument)
{
    (void)gen; (void)file; (void)argument;
}
void gen_write_markdown(const struct gen *gen, FILE *file, const char *argument)
{
    (void)gen; (void)file; (void)argument;
}

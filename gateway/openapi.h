#pragma once
/* The OpenAPI document, made from the declarations at build time and embedded. NUL-ended, constant.
 */

#include <stddef.h>

extern const char openapi_json[];
extern const size_t openapi_json_bytes; /* without the NUL */

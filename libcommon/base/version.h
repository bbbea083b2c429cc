#pragma once
/* The version of every program, of the API document and of --version. */

#define AVANTA_VERSION "0.1.0"
